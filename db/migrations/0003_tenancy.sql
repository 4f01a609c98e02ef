-- Which organization a row belongs to, enforced by keys. Access to it is in 0005.

-- Enum order is the order of declaration, which says nothing about power: roles are compared by rank only.
-- Not STRICT: PostgreSQL could not put the body in place of the call, which would take thirty times as long.
CREATE FUNCTION app.role_rank(role organization_role) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE role WHEN 'owner' THEN 4 WHEN 'admin' THEN 3 WHEN 'manager' THEN 2 WHEN 'member' THEN 1 END;

-- Tasks carry their organization, so that a policy, an index or a key need not visit the project.
ALTER TABLE tasks ADD organization_id uuid NOT NULL;

ALTER TABLE projects ADD CONSTRAINT projects_id_organization_id_key UNIQUE (id, organization_id);
ALTER TABLE tasks
    ADD FOREIGN KEY (project_id, organization_id) REFERENCES projects (id, organization_id) ON DELETE CASCADE,
    -- Only a member can be assigned; who leaves the organization leaves its tasks unassigned.
    ADD CONSTRAINT tasks_assignee_is_member FOREIGN KEY (organization_id, assigned_to)
        REFERENCES user_organizations (organization_id, user_id) ON DELETE SET NULL (assigned_to);

-- Imports recognise by these what they brought before.
CREATE UNIQUE INDEX projects_external_id_key ON projects (organization_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX tasks_external_id_key ON tasks (organization_id, external_id) WHERE external_id IS NOT NULL;

-- With the caller's rights: a project that the caller cannot see gives no organization, and the write fails.
CREATE FUNCTION app.inherit_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.organization_id = (SELECT organization_id FROM public.projects WHERE id = NEW.project_id);
    RETURN NEW;
END;
$$;
CREATE TRIGGER tasks_organization_of_insert BEFORE INSERT ON tasks
    FOR EACH ROW WHEN (NEW.organization_id IS NULL) EXECUTE FUNCTION app.inherit_organization();
CREATE TRIGGER tasks_organization_of_move BEFORE UPDATE OF project_id ON tasks
    FOR EACH ROW WHEN (NEW.project_id IS DISTINCT FROM OLD.project_id) EXECUTE FUNCTION app.inherit_organization();

-- Every policy asks for the actor's memberships in organizations that are not deleted, and must find them in one index.
ALTER TABLE user_organizations ADD organization_deleted_at timestamptz;
COMMENT ON COLUMN user_organizations.organization_deleted_at IS 'copy of organizations.deleted_at';
CREATE INDEX user_organizations_live_idx ON user_organizations (user_id, organization_id) INCLUDE (role)
    WHERE organization_deleted_at IS NULL;

CREATE FUNCTION app.pass_on_deletion() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.user_organizations SET organization_deleted_at = NEW.deleted_at WHERE organization_id = NEW.id;
    RETURN NULL;
END;
$$;
CREATE TRIGGER organizations_deletion AFTER UPDATE OF deleted_at ON organizations
    FOR EACH ROW WHEN (NEW.deleted_at IS DISTINCT FROM OLD.deleted_at) EXECUTE FUNCTION app.pass_on_deletion();

-- Membership writes of one organization take turns: two owners who demote each other at once would leave none. This needs
-- READ COMMITTED, as the server uses, or SERIALIZABLE: REPEATABLE READ would look at the owners of before its turn.
CREATE FUNCTION app.lock_organization() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    membership public.user_organizations := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    SELECT deleted_at INTO membership.organization_deleted_at
        FROM public.organizations WHERE id = membership.organization_id FOR NO KEY UPDATE;
    RETURN membership;
END;
$$;
CREATE TRIGGER user_organizations_take_turns BEFORE INSERT OR DELETE OR UPDATE OF role ON user_organizations
    FOR EACH ROW EXECUTE FUNCTION app.lock_organization();

CREATE FUNCTION app.require_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM public.organizations WHERE id = OLD.organization_id AND deleted_at IS NULL)
       AND NOT EXISTS (SELECT FROM public.user_organizations
                       WHERE organization_id = OLD.organization_id AND role = 'owner') THEN
        RAISE EXCEPTION 'an organization must keep an owner' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'user_organizations_last_owner', TABLE = 'user_organizations', SCHEMA = 'public';
    END IF;
    RETURN NULL;
END;
$$;
-- Deferred: ownership may pass from one member to another in either order.
CREATE CONSTRAINT TRIGGER user_organizations_last_owner
    AFTER UPDATE OF role, organization_id OR DELETE ON user_organizations
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION app.require_owner();
