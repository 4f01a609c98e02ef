-- Roles on the server: an administrator (users.role = 'admin') manages accounts and organizations, a manager sees them,
-- and neither is a member of anything by that. What was refused is on the record; a slug that was given up is kept.

-- Roles -----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION app.server_rank(role user_role) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE role WHEN 'admin' THEN 2 WHEN 'manager' THEN 1 ELSE 0 END;

-- The actor's at this moment. API tokens have none.
CREATE FUNCTION app.own_server_rank() RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(max(app.server_rank(u.role)), 0) FROM public.users u
        WHERE u.id = app.actor() AND u.status = 'active' AND coalesce(current_setting('app.token_id', true), '') = '';
    END;

-- Servers remember the role with the rest: see 0007.
DROP FUNCTION app.session_access(bytea);
CREATE FUNCTION app.session_access(hash bytea)
    RETURNS TABLE (user_id uuid, session_id uuid, created_at timestamptz, access_version bigint, server_rank integer,
                   open text, rights text, closed text, closed_rights text, projects text, project_rights text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT s.user_id, s.device_id, s.created_at, s.access_version, app.server_rank(u.role), (a).open, (a).rights,
               (a).closed, (a).closed_rights, (a).projects, (a).project_rights
        FROM (SELECT s.user_id, s.device_id, s.created_at, s.access_version, app.access_of(s.user_id) AS a
              FROM app.sessions s WHERE s.token_hash = hash AND s.expires_at > now()) AS s
        JOIN public.users u ON u.id = s.user_id;
    END;
CREATE FUNCTION app.server_role_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.renew_access(ARRAY[NEW.id]);
    RETURN NULL;
END;
$$;
CREATE TRIGGER users_role_changed AFTER UPDATE OF role ON users
    FOR EACH ROW WHEN (NEW.role <> OLD.role) EXECUTE FUNCTION app.server_role_changed();

-- What changes administrators takes turns, or two who demote each other would leave none; and an administrator who is one
-- no longer by the time it is their turn does nothing more.
CREATE FUNCTION app.take_administrators_turn() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT pg_advisory_xact_lock(hashtextextended('cairn administrators', 0));
    END;
CREATE FUNCTION app.administer() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.take_administrators_turn();
    IF app.own_server_rank() < 2 THEN
        RAISE EXCEPTION 'only an administrator of the server does this' USING ERRCODE = 'insufficient_privilege',
            CONSTRAINT = 'users_role_admin', TABLE = 'users', SCHEMA = 'public';
    END IF;
END;
$$;
CREATE INDEX users_administrators_idx ON users (id) WHERE role = 'admin' AND status = 'active';
CREATE FUNCTION app.require_administrator() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.take_administrators_turn();
    IF NOT EXISTS (SELECT FROM public.users WHERE role = 'admin' AND status = 'active') THEN
        RAISE EXCEPTION 'a server must keep an administrator' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'users_last_admin', TABLE = 'users', SCHEMA = 'public';
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER users_last_admin AFTER UPDATE OF role, status ON users
    FOR EACH ROW WHEN (OLD.role = 'admin' AND OLD.status = 'active' AND (NEW.role <> 'admin' OR NEW.status <> 'active'))
    EXECUTE FUNCTION app.require_administrator();

-- What they see -----------------------------------------------------------------------------------------------------------
-- Views with the owner's rights, empty for everybody else.

CREATE VIEW app.server_users AS
    SELECT u.id, u.email, u.first_name, u.last_name, u.role, u.status, u.email_verified, u.last_login_at, u.created_at,
           u.updated_at, u.version,
           (SELECT count(*) FROM app.devices d WHERE d.user_id = u.id AND d.expires_at > now()) AS sessions,
           (SELECT count(*) FROM app.api_tokens t WHERE t.user_id = u.id AND t.expires_at > now()) AS api_tokens,
           EXISTS (SELECT FROM app.second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) AS second_factor
    FROM users u WHERE (SELECT app.own_server_rank()) >= 1;

CREATE VIEW app.server_memberships AS
    SELECT m.user_id, u.email, u.first_name, u.last_name, m.organization_id, o.name, o.slug, o.status, m.role, m.joined_at
    FROM user_organizations m JOIN organizations o ON o.id = m.organization_id JOIN users u ON u.id = m.user_id
    WHERE (SELECT app.own_server_rank()) >= 1;

CREATE VIEW app.server_organizations AS
    SELECT o.id, o.name, o.slug, o.status, o.created_at, o.updated_at, o.deleted_at, o.version,
           (SELECT count(*) FROM user_organizations m WHERE m.organization_id = o.id) AS members,
           (SELECT count(*) FROM projects p WHERE p.organization_id = o.id) AS projects
    FROM organizations o WHERE (SELECT app.own_server_rank()) >= 1;

-- By the beginning of the address, in the order of bytes.
CREATE INDEX users_email_bytes_idx ON users (email COLLATE "C", id);
CREATE INDEX organizations_created_at_id_idx ON organizations (created_at, id);
CREATE INDEX organizations_name_id_idx ON organizations (name, id);

-- What they do ------------------------------------------------------------------------------------------------------------
-- The functions up to the next heading are for the owner: operators use them from the command line. Requests come to
-- them through those after it, as an administrator.

-- NULL leaves it as it is. False when there is nobody like that, or not at that version. An account that was given up stays
-- as it is.
CREATE FUNCTION app.set_standing(person uuid, new_role user_role, new_status user_status, expected bigint)
    RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.users u SET role = coalesce(new_role, u.role), status = coalesce(new_status, u.status)
        WHERE u.id = person AND u.status <> 'inactive' AND u.version = coalesce(expected, u.version);
    RETURN FOUND;
END;
$$;
-- Nobody knows a password that fits; whoever reads the mail that follows sets one.
CREATE FUNCTION app.make_user(id uuid, email text, first_name text, last_name text, role user_role, verified boolean)
    RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        INSERT INTO public.users (id, email, password_hash, first_name, last_name, role, email_verified)
        VALUES (make_user.id, make_user.email, '!', make_user.first_name, make_user.last_name, make_user.role,
                make_user.verified);
        INSERT INTO public.user_profiles (user_id) VALUES (make_user.id);
    END;
CREATE FUNCTION app.post_reset(person uuid, token_hash bytea, subject text, body text, good_for interval) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    address text;
BEGIN
    SELECT u.email INTO address FROM public.users u WHERE u.id = person AND u.status = 'active' FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM app.put_mail_token(person, 'reset', token_hash, address, good_for);
    PERFORM app.post_mail('reset', address, subject, body, good_for);
    PERFORM app.note_event(person, 'password_reset_requested');
    RETURN true;
END;
$$;
CREATE FUNCTION app.end_access(person uuid) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM public.users u WHERE u.id = person FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM app.devices WHERE user_id = person;
    DELETE FROM app.api_tokens WHERE user_id = person;
    PERFORM app.note_event(person, 'sessions_ended');
    RETURN true;
END;
$$;
-- An organization that its owners made inactive is theirs to bring back.
CREATE FUNCTION app.set_suspension(organization uuid, suspended boolean, expected bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.organizations o
        SET status = CASE WHEN suspended THEN 'suspended' ELSE 'active' END::public.organization_status
        WHERE o.id = organization AND (suspended OR o.status <> 'inactive') AND o.version = coalesce(expected, o.version);
    RETURN FOUND;
END;
$$;

-- For requests ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION app.administer_user(person uuid, new_role user_role, new_status user_status, expected bigint)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.administer();
    IF person = app.actor() THEN
        RAISE EXCEPTION 'nobody changes their own standing' USING ERRCODE = 'insufficient_privilege',
            CONSTRAINT = 'users_role_own', TABLE = 'users', SCHEMA = 'public';
    END IF;
    RETURN app.set_standing(person, new_role, new_status, expected);
END;
$$;
CREATE FUNCTION app.administer_new_user(id uuid, email text, first_name text, last_name text, role user_role,
                                        verified boolean)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.administer();
    PERFORM app.make_user(id, email, first_name, last_name, role, verified);
END;
$$;
CREATE FUNCTION app.administer_reset(person uuid, token_hash bytea, subject text, body text, good_for interval)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.administer();
    RETURN app.post_reset(person, token_hash, subject, body, good_for);
END;
$$;
CREATE FUNCTION app.administer_sessions(person uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.administer();
    RETURN app.end_access(person);
END;
$$;
CREATE FUNCTION app.administer_organization(organization uuid, suspended boolean, expected bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.administer();
    RETURN app.set_suspension(organization, suspended, expected);
END;
$$;

-- What was refused ----------------------------------------------------------------------------------------------------------

-- Once a minute for each person and operation is enough to know it, and no loop fills the record.
CREATE TABLE app.denials (
    user_id uuid NOT NULL CONSTRAINT denials_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    operation text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT denials_pkey PRIMARY KEY (user_id, operation)
);
COMMENT ON COLUMN app.denials.recorded_at IS 'the last time';

-- By whom a request was that its token, still good, did not suffice for. The transaction goes on as that person.
CREATE FUNCTION app.record_denial(hash bytea, operation text, reason text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person uuid;
    token uuid;
BEGIN
    SELECT s.user_id INTO person FROM app.live_sessions s WHERE s.token_hash = hash;
    IF NOT FOUND THEN
        SELECT t.user_id, t.token_id INTO person, token FROM app.live_api_tokens t WHERE t.token_hash = hash;
    END IF;
    IF person IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO app.denials AS d (user_id, operation) VALUES (person, record_denial.operation)
        ON CONFLICT ON CONSTRAINT denials_pkey DO UPDATE SET recorded_at = clock_timestamp()
        WHERE d.recorded_at < clock_timestamp() - interval '1 minute';
    IF FOUND THEN
        PERFORM set_config('app.user_id', person::text, true), set_config('app.system', '', true),
                set_config('app.token_id', coalesce(token::text, ''), true);
        PERFORM app.record('login', 'users', person,
                           jsonb_build_object('outcome', 'denied', 'operation', record_denial.operation,
                                              'reason', record_denial.reason));
    END IF;
END;
$$;

-- Slugs -------------------------------------------------------------------------------------------------------------------

-- What an organization was called before: links to it must not lead to another at once.
CREATE TABLE app.former_slugs (
    slug varchar(200) CONSTRAINT former_slugs_pkey PRIMARY KEY,
    organization_id uuid NOT NULL CONSTRAINT former_slugs_organization_id_fkey
        REFERENCES organizations (id) ON DELETE CASCADE,
    kept_until timestamptz NOT NULL
);
CREATE INDEX former_slugs_organization_id_idx ON app.former_slugs (organization_id);

-- After the row, because by then whoever had the slug before is done: the unique index has waited for them.
CREATE FUNCTION app.keep_slug() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.slug = OLD.slug THEN
            RETURN NULL;
        END IF;
        INSERT INTO app.former_slugs (slug, organization_id, kept_until)
        VALUES (OLD.slug, OLD.id, clock_timestamp() + app.deletion_grace())
        ON CONFLICT ON CONSTRAINT former_slugs_pkey
            DO UPDATE SET organization_id = excluded.organization_id, kept_until = excluded.kept_until;
    END IF;
    DELETE FROM app.former_slugs f
        WHERE f.slug = NEW.slug AND (f.organization_id = NEW.id OR f.kept_until <= clock_timestamp());
    IF EXISTS (SELECT FROM app.former_slugs f WHERE f.slug = NEW.slug) THEN
        RAISE EXCEPTION 'the slug is kept for another organization' USING ERRCODE = 'unique_violation',
            CONSTRAINT = 'organizations_slug_key', TABLE = 'organizations', SCHEMA = 'public';
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER organizations_keep_slug AFTER INSERT OR UPDATE OF slug ON organizations
    FOR EACH ROW EXECUTE FUNCTION app.keep_slug();

-- Policies and privileges ---------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name regclass;
BEGIN
    FOREACH name IN ARRAY '{app.denials, app.former_slugs}'::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %s TO current_user USING (true)', name);
    END LOOP;
END;
$$;
GRANT SELECT ON app.server_users, app.server_memberships, app.server_organizations TO cairn_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.server_rank, app.own_server_rank, app.session_access, app.administer_user,
                          app.administer_new_user, app.administer_reset, app.administer_sessions,
                          app.administer_organization, app.record_denial
    TO cairn_app;
