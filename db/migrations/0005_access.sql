-- Who may touch what. The runtime role cairn_app owns nothing; row-level security shows it the rows of the organizations
-- that the actor (app.user_id) is a member of. No actor: no row read, no row written. Rules of roles are the business of
-- the statements that do the work; this is the wall behind them. Reasons and figures: docs/adr/0002.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_app') THEN
        CREATE ROLE cairn_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- made meanwhile by the migration of another database
END;
$$;
-- Where there is one login for everything, it serves requests after SET ROLE cairn_app. A role without INHERIT stands
-- between the two, so that the owner may become cairn_app without being subject to its policies.
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'cairn_app', 'MEMBER') THEN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_login') THEN
            CREATE ROLE cairn_login NOLOGIN NOINHERIT;
        END IF;
        GRANT cairn_app TO cairn_login;
        EXECUTE format('GRANT cairn_login TO %I', current_user);
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END;
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT USAGE ON SCHEMA public, app TO cairn_app;

-- Sessions -------------------------------------------------------------------------------------------------------------

-- The authority for a session's validity. token_hash is the SHA-256 of the token.
CREATE TABLE app.sessions (
    token_hash bytea PRIMARY KEY CONSTRAINT sessions_token_hash_size CHECK (octet_length(token_hash) = 32),
    id uuid NOT NULL UNIQUE DEFAULT uuid_generate_v4(),
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ip_address inet,
    user_agent text
);
CREATE INDEX sessions_user_id_idx ON app.sessions (user_id);

-- Sessions and refresh tokens end with a user's status or password, so that the check of each request is one probe of
-- one index, with no look at users.
CREATE FUNCTION app.end_sessions() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.sessions WHERE user_id = NEW.id;
    UPDATE public.refresh_tokens SET revoked = true WHERE user_id = NEW.id AND NOT revoked;
    RETURN NULL;
END;
$$;
CREATE TRIGGER users_end_sessions AFTER UPDATE OF status, password_hash ON users
    FOR EACH ROW WHEN (NEW.status <> 'active' OR NEW.password_hash <> OLD.password_hash)
    EXECUTE FUNCTION app.end_sessions();

-- A session of a user who is not active could not end with the status: none may begin.
CREATE FUNCTION app.begin_session() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM public.users WHERE id = NEW.user_id AND status = 'active' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'only an active user has sessions' USING ERRCODE = 'check_violation',
            CONSTRAINT = TG_TABLE_NAME || '_user_id_active', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER sessions_user_id_active BEFORE INSERT ON app.sessions
    FOR EACH ROW EXECUTE FUNCTION app.begin_session();
CREATE TRIGGER refresh_tokens_user_id_active BEFORE INSERT ON refresh_tokens
    FOR EACH ROW EXECUTE FUNCTION app.begin_session();

-- Views with the owner's rights: the only things that cairn_app can ask before it has an actor.

-- The first statement of every request:
--   SELECT user_id, session_id, set_config('app.user_id', user_id::text, true) FROM app.live_sessions WHERE token_hash = $1
CREATE VIEW app.live_sessions AS
    SELECT token_hash, user_id, id AS session_id, expires_at FROM app.sessions WHERE expires_at > now();

-- Whose a refresh token is, live or not: rotation and the detection of reuse go on as that user.
CREATE VIEW app.refresh_token_owners AS
    SELECT token_hash, user_id FROM refresh_tokens;

CREATE FUNCTION app.credentials(email text) RETURNS TABLE (id uuid, password_hash text, status user_status)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.id, u.password_hash, u.status FROM public.users u WHERE lower(u.email) = lower(credentials.email);
    END;

-- The user to invite into an organization, who need not be known to the actor otherwise.
CREATE FUNCTION app.user_by_email(email text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.id FROM public.users u WHERE lower(u.email) = lower(user_by_email.email) AND app.actor() IS NOT NULL;
    END;

-- The actor's memberships in organizations that are not deleted. The sub-select reads the setting once, not once per row
-- where a small table is scanned: a quarter of PostgreSQL's cost of a task by id.
CREATE VIEW app.memberships AS
    SELECT organization_id, role, app.role_rank(role) AS rank, permissions
    FROM user_organizations
    WHERE user_id = (SELECT app.actor()) AND organization_deleted_at IS NULL;

-- Everybody who shares an organization with the actor, once for each organization shared.
CREATE VIEW app.colleagues AS
    SELECT c.user_id, c.organization_id
    FROM app.memberships m JOIN user_organizations c ON c.organization_id = m.organization_id;

-- Whether the organization was created in this very transaction and has nobody yet: its creator becomes its owner.
CREATE FUNCTION app.is_founding(organization_id uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM public.organizations o
                       WHERE o.id = is_founding.organization_id AND o.xmin = pg_current_xact_id_if_assigned()::xid)
           AND NOT EXISTS (SELECT FROM public.user_organizations m WHERE m.organization_id = is_founding.organization_id);
    END;

-- Policies -------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name regclass;
BEGIN
    FOREACH name IN ARRAY '{users, user_profiles, organizations, user_organizations, projects, tasks, audit_logs,
                            refresh_tokens, app.sessions}'::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        -- The views and functions above, the audit trigger and migrations work as the owner.
        EXECUTE format('CREATE POLICY owner ON %s TO current_user USING (true)', name);
    END LOOP;
END;
$$;

-- coalesce() keeps this a filter. As an index condition the planner would AND it with the conditions of the query, taking
-- the two for independent, and read a whole organization to find the tasks of a project.
CREATE POLICY member ON projects TO cairn_app
    USING (coalesce(organization_id = ANY (ARRAY(SELECT organization_id FROM app.memberships)), false));
CREATE POLICY member ON tasks TO cairn_app
    USING (coalesce(organization_id = ANY (ARRAY(SELECT organization_id FROM app.memberships)), false));

CREATE POLICY member ON organizations FOR SELECT TO cairn_app
    USING (id = ANY (ARRAY(SELECT organization_id FROM app.memberships)));
CREATE POLICY admin ON organizations FOR UPDATE TO cairn_app
    USING (id = ANY (ARRAY(SELECT organization_id FROM app.memberships WHERE rank >= 3)))
    WITH CHECK (true);
CREATE POLICY founder ON organizations FOR INSERT TO cairn_app
    WITH CHECK (app.actor() IS NOT NULL AND deleted_at IS NULL);

-- Administrators write memberships, none above their own rank; anybody may leave.
CREATE POLICY member ON user_organizations FOR SELECT TO cairn_app
    USING (user_id = app.actor() OR organization_id = ANY (ARRAY(SELECT organization_id FROM app.memberships)));
CREATE POLICY admin ON user_organizations TO cairn_app
    USING (EXISTS (SELECT FROM app.memberships m WHERE m.organization_id = user_organizations.organization_id
                   AND m.rank >= 3 AND m.rank >= app.role_rank(user_organizations.role)));
CREATE POLICY leaver ON user_organizations FOR DELETE TO cairn_app
    USING (user_id = app.actor());
CREATE POLICY founder ON user_organizations FOR INSERT TO cairn_app
    WITH CHECK (user_id = app.actor() AND role = 'owner' AND app.is_founding(organization_id));

CREATE POLICY self ON users TO cairn_app
    USING (id = app.actor());
CREATE POLICY colleague ON users FOR SELECT TO cairn_app
    USING (EXISTS (SELECT FROM app.colleagues c WHERE c.user_id = users.id));
CREATE POLICY self ON user_profiles TO cairn_app
    USING (user_id = app.actor());
CREATE POLICY colleague ON user_profiles FOR SELECT TO cairn_app
    USING (EXISTS (SELECT FROM app.colleagues c WHERE c.user_id = user_profiles.user_id));

CREATE POLICY self ON refresh_tokens TO cairn_app
    USING (user_id = app.actor());
CREATE POLICY self ON app.sessions TO cairn_app
    USING (user_id = app.actor());

CREATE POLICY member ON audit_logs FOR SELECT TO cairn_app
    USING (coalesce(organization_id = ANY (ARRAY(SELECT organization_id FROM app.memberships)), false)
           OR organization_id IS NULL AND (user_id = app.actor() OR entity_type = 'users' AND entity_id = app.actor()));

-- Privileges -----------------------------------------------------------------------------------------------------------
-- By column where the server owns some: version and updated_at always, keys and password hashes as below.

GRANT SELECT (id, email, first_name, last_name, role, status, email_verified, last_login_at, created_at, updated_at, version),
      INSERT (id, email, password_hash, first_name, last_name, email_verified),
      UPDATE (email, password_hash, first_name, last_name, status, email_verified, last_login_at)
    ON users TO cairn_app;
GRANT SELECT, INSERT,
      UPDATE (avatar_url, bio, phone, company, department, job_title, timezone, preferences)
    ON user_profiles TO cairn_app;
GRANT SELECT,
      INSERT (id, name, slug, description, logo_url, website_url, industry, size, status, settings),
      UPDATE (name, slug, description, logo_url, website_url, industry, size, status, settings, deleted_at)
    ON organizations TO cairn_app;
GRANT SELECT, DELETE,
      INSERT (id, user_id, organization_id, role, permissions, joined_at),
      UPDATE (role, permissions)
    ON user_organizations TO cairn_app;
GRANT SELECT, DELETE,
      INSERT (id, organization_id, name, description, status, priority, start_date, end_date, budget, metadata, created_by,
              created_at, external_id),
      UPDATE (name, description, status, priority, start_date, end_date, budget, metadata, external_id)
    ON projects TO cairn_app;
GRANT SELECT, DELETE,
      INSERT (id, project_id, organization_id, assigned_to, title, description, status, priority, due_date,
              estimated_hours, actual_hours, tags, metadata, created_by, created_at, external_id),
      UPDATE (project_id, assigned_to, title, description, status, priority, due_date, estimated_hours, actual_hours, tags,
              metadata, external_id)
    ON tasks TO cairn_app;
GRANT SELECT ON audit_logs TO cairn_app;
GRANT SELECT, INSERT, DELETE, UPDATE (revoked) ON refresh_tokens TO cairn_app;
GRANT SELECT (id, user_id, created_at, expires_at, ip_address, user_agent),
      INSERT (token_hash, id, user_id, expires_at, ip_address, user_agent), DELETE
    ON app.sessions TO cairn_app;
GRANT SELECT ON app.live_sessions, app.refresh_token_owners, app.memberships, app.colleagues TO cairn_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.actor, app.role_rank, app.are_tags, app.record, app.credentials, app.user_by_email,
                          app.is_founding TO cairn_app;
