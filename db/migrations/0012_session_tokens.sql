-- Sessions by device, refresh tokens and API tokens. Reasons: docs/adr/0007.

-- Devices ---------------------------------------------------------------------------------------------------------------

-- What people call a session: one device from login to logout, through all the tokens it is given. app.sessions has the
-- tokens of those that were active of late, refresh_tokens what a device gets new ones for; all end with their device.
CREATE TABLE app.devices (
    id uuid CONSTRAINT devices_pkey PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid NOT NULL CONSTRAINT devices_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ip_address inet,
    user_agent text,
    salt bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
        CONSTRAINT devices_salt_size CHECK (octet_length(salt) = 32)
);
CREATE INDEX devices_user_id_idx ON app.devices (user_id);
COMMENT ON COLUMN app.devices.salt IS 'what the successors of its tokens are derived with; worth nothing without a token';

INSERT INTO app.devices (id, user_id, created_at, expires_at, ip_address, user_agent)
    SELECT id, user_id, created_at, expires_at, ip_address, user_agent FROM app.sessions;
ALTER TABLE app.sessions ADD device_id uuid;
UPDATE app.sessions SET device_id = id;
CREATE OR REPLACE VIEW app.live_sessions AS
    SELECT token_hash, user_id, device_id AS session_id, expires_at, access_version FROM app.sessions
    WHERE expires_at > now();
ALTER TABLE app.sessions
    ALTER device_id SET NOT NULL,
    ADD CONSTRAINT sessions_device_id_fkey FOREIGN KEY (device_id) REFERENCES app.devices (id) ON DELETE CASCADE,
    DROP id,
    DROP ip_address,
    DROP user_agent;
CREATE INDEX sessions_device_id_idx ON app.sessions (device_id);

-- Refresh tokens ----------------------------------------------------------------------------------------------------------

-- The tokens of a family, which is a device, follow each other. Kept until they expire, so that one that comes back is
-- known.
CREATE TABLE app.refresh_token_lineage (
    token_id uuid CONSTRAINT refresh_token_lineage_pkey PRIMARY KEY
        CONSTRAINT refresh_token_lineage_token_id_fkey REFERENCES refresh_tokens (id) ON DELETE CASCADE,
    family_id uuid NOT NULL,
    parent_id uuid CONSTRAINT refresh_token_lineage_parent_id_key UNIQUE,
    used_at timestamptz,
    family_expires_at timestamptz NOT NULL,
    reason text CONSTRAINT refresh_token_lineage_reason_known CHECK (reason IN ('used', 'reused', 'ended'))
);
CREATE INDEX refresh_token_lineage_family_id_idx ON app.refresh_token_lineage (family_id);
COMMENT ON COLUMN app.refresh_token_lineage.reason IS 'why the token was revoked';

CREATE FUNCTION app.end_family() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.refresh_token_lineage SET reason = 'ended' WHERE family_id = OLD.id AND reason IS NULL;
    UPDATE public.refresh_tokens t SET revoked = true FROM app.refresh_token_lineage l
        WHERE l.family_id = OLD.id AND t.id = l.token_id AND NOT t.revoked;
    DELETE FROM public.refresh_tokens WHERE user_id = OLD.user_id AND expires_at <= now();
    RETURN NULL;
END;
$$;
CREATE TRIGGER devices_end_family AFTER DELETE ON app.devices FOR EACH ROW EXECUTE FUNCTION app.end_family();

-- The first of a family, or the successor of `parent`.
CREATE FUNCTION app.add_refresh_token(device uuid, parent uuid, hash text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH token AS (
            INSERT INTO public.refresh_tokens (user_id, token_hash, expires_at)
            SELECT d.user_id, hash, d.expires_at FROM app.devices d WHERE d.id = device AND d.user_id = app.actor()
            RETURNING id, expires_at)
        INSERT INTO app.refresh_token_lineage (token_id, family_id, parent_id, family_expires_at)
            SELECT token.id, device, parent, token.expires_at FROM token;
    END;

-- What presenting a refresh token comes to; the transaction goes on as its user. No row: nothing, there is no such token
-- or its device is logged out. `rotated`: it is used now, once and by whoever came first. `repeated`: it was used
-- within `grace` and its successor was not: the reply was lost, or another tab was faster. `reused`: anything else can
-- only be a stolen token, whoever the thief is, and the device is logged out.
-- Locks are taken in the order in which a suspension takes them: user, device, tokens.
CREATE FUNCTION app.use_refresh_token(hash text, grace interval)
    RETURNS TABLE (user_id uuid, device_id uuid, token_id uuid, salt bytea, expires_at timestamptz, rotated boolean,
                   reused boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    family uuid;
BEGIN
    SELECT t.user_id, t.id, l.family_id INTO user_id, token_id, family
        FROM public.refresh_tokens t JOIN app.refresh_token_lineage l ON l.token_id = t.id WHERE t.token_hash = hash;
    PERFORM FROM public.users u WHERE u.id = use_refresh_token.user_id FOR SHARE;
    SELECT d.id, d.salt, d.expires_at INTO device_id, salt, expires_at
        FROM app.devices d WHERE d.id = family AND d.expires_at > now() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM set_config('app.user_id', user_id::text, true), set_config('app.system', '', true);

    UPDATE public.refresh_tokens t SET revoked = true WHERE t.id = use_refresh_token.token_id AND NOT t.revoked;
    rotated = FOUND;
    IF rotated THEN
        UPDATE app.refresh_token_lineage l SET used_at = clock_timestamp(), reason = 'used'
            WHERE l.token_id = use_refresh_token.token_id;
    END IF;
    reused = NOT rotated AND NOT EXISTS (
        SELECT FROM app.refresh_token_lineage l
        JOIN app.refresh_token_lineage s ON s.parent_id = l.token_id
        JOIN public.refresh_tokens t ON t.id = s.token_id AND NOT t.revoked
        WHERE l.token_id = use_refresh_token.token_id AND l.used_at > clock_timestamp() - grace);
    IF reused THEN
        UPDATE app.refresh_token_lineage l SET reason = 'reused' WHERE l.token_id = use_refresh_token.token_id;
        DELETE FROM app.devices d WHERE d.id = use_refresh_token.device_id;
        PERFORM app.record('logout', 'sessions', device_id, '{"reason": "refresh_token_reused"}');
    END IF;
    RETURN NEXT;
END;
$$;

-- API tokens --------------------------------------------------------------------------------------------------------------

CREATE TYPE app.api_scope AS ENUM ('read', 'write_tasks', 'write_projects', 'write_members', 'write_organizations');

-- What a person lets a program do in their name. Nothing of one ever changes but access_version: see app.renew_access().
CREATE TABLE app.api_tokens (
    id uuid CONSTRAINT api_tokens_pkey PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid NOT NULL CONSTRAINT api_tokens_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    organization_id uuid CONSTRAINT api_tokens_organization_id_fkey REFERENCES organizations (id) ON DELETE CASCADE,
    name varchar(100) NOT NULL CONSTRAINT api_tokens_name_text CHECK (name ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    scopes app.api_scope[] NOT NULL CONSTRAINT api_tokens_scopes_some CHECK (cardinality(scopes) > 0),
    token_hash bytea NOT NULL CONSTRAINT api_tokens_token_hash_key UNIQUE
        CONSTRAINT api_tokens_token_hash_size CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    access_version bigint NOT NULL DEFAULT 1,
    version bigint NOT NULL DEFAULT 1
);
CREATE INDEX api_tokens_user_id_idx ON app.api_tokens (user_id, created_at, id);
CREATE INDEX api_tokens_organization_id_idx ON app.api_tokens (organization_id);
COMMENT ON COLUMN app.api_tokens.organization_id IS 'the only organization it reaches; NULL: all of its owner''s';
CREATE TRIGGER api_tokens_user_id_active BEFORE INSERT ON app.api_tokens
    FOR EACH ROW EXECUTE FUNCTION app.begin_session();

-- Where from each was used, the empty address being a unix socket. Apart from the tokens, whose every change is on the record.
CREATE TABLE app.api_token_uses (
    token_id uuid NOT NULL CONSTRAINT api_token_uses_token_id_fkey REFERENCES app.api_tokens (id) ON DELETE CASCADE,
    address text NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT api_token_uses_pkey PRIMARY KEY (token_id, address)
);

CREATE VIEW app.live_api_tokens AS
    SELECT token_hash, user_id, id AS token_id, organization_id, expires_at, access_version FROM app.api_tokens
    WHERE expires_at > now();

-- What scopes leave of a person's rights: task.edit needs write_tasks, and so on. What is seen is not narrowed to less
-- than its owner sees.
CREATE FUNCTION app.rights_of_scopes(scopes app.api_scope[]) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT coalesce(bit_or(p.bit), 0) FROM app.permissions p
            WHERE CASE p.name WHEN 'project.view_private' THEN true
                              WHEN 'audit.view' THEN 'read' = ANY (scopes)
                              ELSE 'write_' || split_part(p.name, '.', 1) || 's' = ANY (scopes::text[]) END);

-- Of the token that acts in this transaction, if one does: the only organization it reaches, and what it leaves of rights.
--   app.token_id, app.token_organization, app.token_rights
CREATE FUNCTION app.token_organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.token_organization', true), '')::uuid;
CREATE FUNCTION app.token_rights() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(nullif(current_setting('app.token_rights', true), '')::bigint, -1);

CREATE OR REPLACE VIEW app.memberships AS
    SELECT organization_id, role, app.role_rank(role) AS rank, permissions, rights & app.token_rights() AS rights
    FROM user_organizations
    WHERE user_id = (SELECT app.actor()) AND active
      AND organization_id = coalesce(app.token_organization(), organization_id);

-- What is left of somebody's access in one organization, if `within` names it, and of the rights in `mask`.
CREATE FUNCTION app.narrowed(access app.access, within uuid, mask bigint) RETURNS app.access
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT o.ids, o.bits, c.ids, c.bits, p.ids, p.bits
        FROM (SELECT array_agg(u.id ORDER BY u.n) ::text AS ids, array_agg(u.bits & mask ORDER BY u.n) ::text AS bits
              FROM ROWS FROM (unnest((access).open::uuid[]), unnest((access).rights::bigint[]))
                   WITH ORDINALITY AS u (id, bits, n)
              WHERE u.id = coalesce(within, u.id)) AS o,
             (SELECT array_agg(u.id ORDER BY u.n) ::text AS ids, array_agg(u.bits & mask ORDER BY u.n) ::text AS bits
              FROM ROWS FROM (unnest((access).closed::uuid[]), unnest((access).closed_rights::bigint[]))
                   WITH ORDINALITY AS u (id, bits, n)
              WHERE u.id = coalesce(within, u.id)) AS c,
             (SELECT array_agg(u.id ORDER BY u.n) ::text AS ids, array_agg(u.bits & mask ORDER BY u.n) ::text AS bits
              FROM ROWS FROM (unnest((access).projects::uuid[]), unnest((access).project_rights::bigint[]))
                   WITH ORDINALITY AS u (id, bits, n)
              JOIN public.projects p ON p.id = u.id AND p.organization_id = coalesce(within, p.organization_id)) AS p;
    END;
CREATE OR REPLACE FUNCTION app.learn_access() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT set_config('app.open', coalesce(a.open, ''), true), set_config('app.rights', coalesce(a.rights, ''), true),
               set_config('app.closed', coalesce(a.closed, ''), true),
               set_config('app.closed_rights', coalesce(a.closed_rights, ''), true),
               set_config('app.projects', coalesce(a.projects, ''), true),
               set_config('app.project_rights', coalesce(a.project_rights, ''), true)
        FROM app.narrowed(app.access_of(app.actor()), app.token_organization(), app.token_rights()) AS a;
    END;

-- Only who knows a token's hash can ask.
DROP FUNCTION app.session_access(bytea);
CREATE FUNCTION app.session_access(hash bytea)
    RETURNS TABLE (user_id uuid, session_id uuid, created_at timestamptz, access_version bigint, open text, rights text,
                   closed text, closed_rights text, projects text, project_rights text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT s.user_id, s.device_id, s.created_at, s.access_version, (a).open, (a).rights, (a).closed, (a).closed_rights,
               (a).projects, (a).project_rights
        FROM (SELECT s.user_id, s.device_id, s.created_at, s.access_version, app.access_of(s.user_id) AS a
              FROM app.sessions s WHERE s.token_hash = hash AND s.expires_at > now()) AS s;
    END;
CREATE FUNCTION app.api_token_access(hash bytea)
    RETURNS TABLE (user_id uuid, access_version bigint, open text, rights text, closed text, closed_rights text,
                   projects text, project_rights text, organization_id uuid, token_rights bigint, scopes app.api_scope[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT t.user_id, t.access_version, (a).open, (a).rights, (a).closed, (a).closed_rights, (a).projects,
               (a).project_rights, t.organization_id, t.mask, t.scopes
        FROM (SELECT t.*, m.mask, app.narrowed(app.access_of(t.user_id), t.organization_id, m.mask) AS a
              FROM app.api_tokens t, LATERAL (SELECT app.rights_of_scopes(t.scopes) AS mask) AS m
              WHERE t.token_hash = hash AND t.expires_at > now()) AS t;
    END;

CREATE OR REPLACE FUNCTION app.renew_access(users uuid[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        UPDATE app.sessions SET access_version = access_version + 1 WHERE user_id = ANY (users);
        UPDATE app.api_tokens SET access_version = access_version + 1 WHERE user_id = ANY (users);
    END;

-- With the status or the password of its owner everything ends that acts in the owner's name.
CREATE OR REPLACE FUNCTION app.end_sessions() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.devices WHERE user_id = NEW.id;
    DELETE FROM app.api_tokens WHERE user_id = NEW.id;
    RETURN NULL;
END;
$$;

-- The record --------------------------------------------------------------------------------------------------------------

-- As in 0007; also says which API token acted (metadata.token), and keeps the tokens' hashes off the record.
CREATE OR REPLACE FUNCTION audit_trigger_function() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    before pg_catalog.jsonb;
    after pg_catalog.jsonb;
    entity pg_catalog.jsonb;
    change public.audit_action := 'update';
    organization pg_catalog.uuid;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
        RETURN NULL; -- update_updated_at_column() saw no change
    END IF;
    IF concat(current_setting('app.user_id', true), current_setting('app.system', true)) = '' THEN
        RAISE EXCEPTION 'a change needs an actor' USING ERRCODE = 'CA001',
            HINT = 'set app.user_id or app.system in this transaction', TABLE = TG_TABLE_NAME;
    END IF;

    IF TG_OP = 'INSERT' THEN
        change = 'create';
        after = to_jsonb(NEW) - '{password_hash,token_hash,access_version}'::pg_catalog.text[];
        entity = after;
    ELSIF TG_OP = 'DELETE' THEN
        change = 'delete';
        before = to_jsonb(OLD) - '{password_hash,token_hash,access_version}'::pg_catalog.text[];
        entity = before;
    ELSE
        entity = to_jsonb(NEW);
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, entity -> o.key) INTO before, after
            FROM jsonb_each(to_jsonb(OLD)) AS o
            WHERE o.value <> entity -> o.key AND o.key <> 'updated_at';
        IF TG_TABLE_NAME = 'users' THEN
            IF after ? 'password_hash' THEN
                before = before || '{"password_hash": "[changed]"}';
                after = after || '{"password_hash": "[changed]"}';
            END IF;
            IF current_setting('app.audit_action', true) = 'login' THEN
                change = 'login';
            END IF;
        END IF;
    END IF;
    organization = entity ->> CASE TG_TABLE_NAME WHEN 'organizations' THEN 'id' ELSE 'organization_id' END;

    INSERT INTO public.audit_logs (id, user_id, organization_id, entity_type, entity_id, action, old_values, new_values,
                                   ip_address, user_agent, metadata, created_at)
    VALUES (app.new_id(),
            nullif(current_setting('app.user_id', true), '')::pg_catalog.uuid,
            -- What is deleted may go with its organization.
            CASE change WHEN 'delete' THEN (SELECT id FROM public.organizations WHERE id = organization)
                        ELSE organization END,
            TG_TABLE_NAME,
            (entity ->> 'id')::pg_catalog.uuid,
            change, before, after,
            nullif(current_setting('app.ip', true), '')::pg_catalog.inet,
            nullif(current_setting('app.user_agent', true), ''),
            jsonb_strip_nulls(jsonb_build_object(
                'request_id', nullif(current_setting('app.request_id', true), ''),
                'actor', nullif(current_setting('app.system', true), ''),
                'token', nullif(current_setting('app.token_id', true), ''),
                'org', organization,
                'txid', txid_current())),
            clock_timestamp());
    RETURN NULL;
END;
$$;
CREATE TRIGGER audit_api_tokens AFTER INSERT OR DELETE ON app.api_tokens
    FOR EACH ROW EXECUTE FUNCTION audit_trigger_function();

CREATE OR REPLACE FUNCTION app.record(action audit_action, entity_type text, entity_id uuid, metadata jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF action NOT IN ('login', 'logout') OR entity_type NOT IN ('users', 'sessions', 'api_tokens') THEN
        RAISE EXCEPTION 'only logins and logouts are recorded without a change' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO public.audit_logs (user_id, entity_type, entity_id, action, ip_address, user_agent, metadata, created_at)
    VALUES (app.actor(), entity_type, entity_id, action,
            nullif(current_setting('app.ip', true), '')::inet,
            nullif(current_setting('app.user_agent', true), ''),
            metadata || jsonb_strip_nulls(jsonb_build_object(
                'request_id', nullif(current_setting('app.request_id', true), ''),
                'actor', nullif(current_setting('app.system', true), ''),
                'token', nullif(current_setting('app.token_id', true), ''),
                'txid', txid_current())),
            clock_timestamp());
END;
$$;

-- Remembers that the acting token was used now, and records the first time from each address.
CREATE FUNCTION app.note_use() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    token uuid := current_setting('app.token_id');
    used_from text := coalesce(current_setting('app.ip', true), '');
BEGIN
    UPDATE app.api_token_uses SET last_used_at = clock_timestamp() WHERE token_id = token AND address = used_from;
    IF NOT FOUND THEN
        INSERT INTO app.api_token_uses (token_id, address) VALUES (token, used_from)
            ON CONFLICT ON CONSTRAINT api_token_uses_pkey DO NOTHING;
        IF FOUND THEN
            PERFORM app.record('login', 'api_tokens', token, '{"reason": "new_address"}');
        END IF;
    END IF;
END;
$$;

-- Policies and privileges -------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name regclass;
BEGIN
    FOREACH name IN ARRAY '{app.devices, app.refresh_token_lineage, app.api_tokens, app.api_token_uses}'::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %s TO current_user USING (true)', name);
    END LOOP;
END;
$$;
CREATE POLICY self ON app.devices TO cairn_app USING (user_id = app.actor());
CREATE POLICY self ON app.api_tokens TO cairn_app USING (user_id = app.actor());
CREATE POLICY self ON app.api_token_uses FOR SELECT TO cairn_app
    USING (EXISTS (SELECT FROM app.api_tokens t WHERE t.id = token_id));
-- A token that is bound to an organization cannot make another.
ALTER POLICY founder ON organizations
    WITH CHECK (app.actor() IS NOT NULL AND deleted_at IS NULL AND app.token_organization() IS NULL);

DROP VIEW app.refresh_token_owners;
REVOKE ALL ON refresh_tokens FROM cairn_app;
GRANT SELECT (id, user_id, created_at, expires_at, ip_address, user_agent),
      INSERT (id, user_id, expires_at, ip_address, user_agent), DELETE
    ON app.devices TO cairn_app;
GRANT SELECT (device_id), INSERT (device_id), UPDATE (expires_at) ON app.sessions TO cairn_app;
GRANT SELECT (id, user_id, organization_id, name, scopes, created_at, expires_at),
      INSERT (id, user_id, organization_id, name, scopes, token_hash, expires_at), DELETE
    ON app.api_tokens TO cairn_app;
GRANT SELECT ON app.api_token_uses, app.live_api_tokens TO cairn_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.add_refresh_token, app.use_refresh_token, app.session_access, app.api_token_access,
                          app.token_organization, app.token_rights, app.note_use
    TO cairn_app;
