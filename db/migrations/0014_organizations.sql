-- One rule decides each permission, and can be asked why. Project roles as they work in private projects. Organizations
-- that are not active, deleted, restored and purged.

-- The rule --------------------------------------------------------------------------------------------------------------

-- What decides about one permission: a denial beats a grant, a grant beats the role, the role beats the role in the
-- project. A NULL role counts for nothing. Everything that decides about rights is made of this.
CREATE FUNCTION app.rule(permission app.permissions, role organization_role, permissions jsonb, project_role project_role)
    RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN permissions ? ('-' || (permission).name) THEN 'denied'
                WHEN permissions ? (permission).name THEN 'granted'
                WHEN role = ANY ((permission).roles) THEN 'role'
                WHEN project_role::text = ANY ((permission).project_roles) THEN 'project_role'
                ELSE 'none' END;
CREATE FUNCTION app.rights_by_rule(role organization_role, permissions jsonb, project_role project_role) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT coalesce(bit_or(p.bit), 0) FROM app.permissions p
            WHERE app.rule(p, role, permissions, project_role) IN ('granted', 'role', 'project_role'));
CREATE OR REPLACE FUNCTION app.rights_of(role organization_role, permissions jsonb) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN app.rights_by_rule(role, permissions, NULL);
CREATE OR REPLACE FUNCTION app.denied_by(permissions jsonb) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT coalesce(bit_or(p.bit), 0) FROM app.permissions p
            WHERE app.rule(p, NULL, permissions, NULL) = 'denied');

-- In a private project that is not open to the member, the role in the organization counts for nothing: a viewer there
-- views, whatever else the member may do elsewhere.
CREATE FUNCTION app.rights_in_project(member user_organizations, visibility project_visibility, project_role project_role)
    RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN (member).denied = -1 THEN (member).rights
                ELSE app.rights_by_rule(CASE WHEN (member).open OR visibility = 'organization' THEN (member).role END,
                                        (member).permissions, project_role) END;

-- Why somebody may do something in an organization, or in one of its projects, or may not. As the caller: no row for a
-- project that the caller does not see.
CREATE FUNCTION app.explain_permission(person uuid, organization uuid, permission text, project uuid)
    RETURNS TABLE (allowed boolean, rule text, role organization_role, project_role project_role)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT d.rule IN ('granted', 'role', 'project_role'), d.rule, m.role, i.role
        FROM app.permissions p
        LEFT JOIN user_organizations m ON m.user_id = person AND m.organization_id = organization
        LEFT JOIN projects r ON r.id = project AND r.organization_id = organization
        LEFT JOIN project_members i ON i.project_id = r.id AND i.user_id = person
        CROSS JOIN LATERAL (SELECT coalesce(r.visibility = 'private', false) AND NOT m.open AS closed) AS c
        CROSS JOIN LATERAL (
            SELECT CASE WHEN m.id IS NULL THEN 'not_a_member'
                        WHEN NOT m.active OR m.denied = -1 AND m.rights & p.bit = 0 THEN 'organization_inactive'
                        WHEN c.closed AND i.id IS NULL THEN 'private_project'
                        ELSE app.rule(p, CASE WHEN NOT c.closed THEN m.role END, m.permissions, i.role)
                   END AS rule) AS d
        WHERE p.name = permission AND (project IS NULL OR r.id IS NOT NULL);
    END;

-- Access, with project roles as above -------------------------------------------------------------------------------------

-- app.project_rights now holds what being a member of the project changes (as bits to flip) about the rights that the
-- organization gives: more of them in an ordinary project, often fewer in a private one.
CREATE OR REPLACE FUNCTION app.access_of(person uuid) RETURNS app.access
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT m.open, m.rights, m.closed, m.closed_rights, p.projects, p.project_rights
        FROM (SELECT array_agg(organization_id ORDER BY organization_id) FILTER (WHERE open) ::text AS open,
                     array_agg(rights ORDER BY organization_id) FILTER (WHERE open) ::text AS rights,
                     array_agg(organization_id ORDER BY organization_id) FILTER (WHERE NOT open) ::text AS closed,
                     array_agg(rights ORDER BY organization_id) FILTER (WHERE NOT open) ::text AS closed_rights
              FROM public.user_organizations WHERE user_id = person AND active) AS m,
             (SELECT array_agg(p.project_id ORDER BY p.project_id) ::text AS projects,
                     array_agg(o.rights # app.rights_in_project(o, r.visibility, p.role) ORDER BY p.project_id) ::text
                         AS project_rights
              FROM public.project_members p
              JOIN public.user_organizations o ON o.user_id = p.user_id AND o.organization_id = p.organization_id AND o.active
              JOIN public.projects r ON r.id = p.project_id
              WHERE p.user_id = person) AS p;
    END;
CREATE OR REPLACE FUNCTION app.rights_in(organization_id uuid, project_id uuid) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce((app.bits('app.rights'))[array_position(app.uuids('app.open'), organization_id)],
                    (app.bits('app.closed_rights'))[array_position(app.uuids('app.closed'), organization_id)], 0)
           # coalesce((app.bits('app.project_rights'))[array_position(app.uuids('app.projects'), project_id)], 0);
CREATE OR REPLACE FUNCTION app.enter_private_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF app.actor() IS NOT NULL AND NOT coalesce(NEW.id = ANY (app.uuids('app.projects')), false) THEN
        PERFORM set_config('app.projects', (app.uuids('app.projects') || NEW.id)::text, true),
                set_config('app.project_rights',
                           (app.bits('app.project_rights')
                            || (app.project_rights_of('lead') & ~app.rights_in(NEW.organization_id)))::text, true);
    END IF;
    RETURN NEW;
END;
$$;

-- Who is assigned a task sees it ------------------------------------------------------------------------------------------

CREATE FUNCTION app.sees_project(person uuid, project uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM public.projects p
                       JOIN public.user_organizations m ON m.organization_id = p.organization_id AND m.user_id = person
                       WHERE p.id = project
                         AND (p.visibility = 'organization' OR m.open
                              OR EXISTS (SELECT FROM public.project_members i
                                         WHERE i.project_id = p.id AND i.user_id = person)));
    END;
-- Tasks in private projects whose assignee does not see them any more become unassigned, as when somebody leaves the
-- organization. NULL: whichever project, whoever is assigned.
CREATE FUNCTION app.unassign_hidden(organization uuid, project uuid, person uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        UPDATE public.tasks t SET assigned_to = NULL
        FROM public.projects p
        WHERE p.organization_id = organization AND p.visibility = 'private' AND p.id = coalesce(project, p.id)
          AND t.project_id = p.id AND t.assigned_to = coalesce(person, t.assigned_to)
          AND NOT app.sees_project(t.assigned_to, p.id);
    END;

CREATE FUNCTION app.visibility_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.renew_access(ARRAY(SELECT user_id FROM public.project_members WHERE project_id = NEW.id));
    IF NEW.visibility = 'private' THEN
        PERFORM app.unassign_hidden(NEW.organization_id, NEW.id, NULL);
    END IF;
    RETURN NULL;
END;
$$;
-- After projects_close_organization, which takes in a lead.
CREATE TRIGGER projects_visibility_changed AFTER UPDATE OF visibility ON projects
    FOR EACH ROW WHEN (NEW.visibility <> OLD.visibility) EXECUTE FUNCTION app.visibility_changed();

CREATE FUNCTION app.sight_lost() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.unassign_hidden(OLD.organization_id,
                                CASE TG_TABLE_NAME WHEN 'project_members' THEN (to_jsonb(OLD) ->> 'project_id')::uuid END,
                                OLD.user_id);
    RETURN NULL;
END;
$$;
CREATE TRIGGER project_members_sight_lost AFTER DELETE ON project_members
    FOR EACH ROW EXECUTE FUNCTION app.sight_lost();
CREATE TRIGGER user_organizations_sight_lost AFTER UPDATE OF role, permissions ON user_organizations
    FOR EACH ROW WHEN (OLD.open AND NOT NEW.open) EXECUTE FUNCTION app.sight_lost();

-- Nothing is denied to an owner: an organization whose only owner may not manage it could not be helped.
ALTER TABLE user_organizations ADD CONSTRAINT user_organizations_owner_undenied
    CHECK (role <> 'owner' OR permissions = '[]' OR app.denied_by(permissions) = 0);

-- The life of an organization ---------------------------------------------------------------------------------------------

-- An organization that is not active is read by its owners, all of it, and written by nobody.
CREATE OR REPLACE FUNCTION app.derive_access() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    organization public.organizations;
BEGIN
    SELECT * INTO organization FROM public.organizations WHERE id = NEW.organization_id FOR NO KEY UPDATE;
    NEW.active = organization.deleted_at IS NULL AND (organization.status = 'active' OR NEW.role = 'owner');
    NEW.rights = CASE WHEN organization.status = 'active' THEN app.rights_of(NEW.role, NEW.permissions)
                      WHEN NEW.role = 'owner' THEN app.permission('audit.view') | app.permission('project.view_private')
                      ELSE 0 END;
    NEW.denied = CASE WHEN organization.status = 'active' THEN app.denied_by(NEW.permissions) ELSE -1 END;
    NEW.open = NOT organization.private_projects OR NEW.rights & app.permission('project.view_private') <> 0;
    RETURN NEW;
END;
$$;

CREATE FUNCTION app.check_suspension() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF app.actor() IS NOT NULL AND NOT EXISTS (SELECT FROM public.users WHERE id = app.actor() AND role = 'admin') THEN
        RAISE EXCEPTION 'only an administrator of the server suspends an organization or ends that'
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'organizations_status_suspended',
                  TABLE = 'organizations', SCHEMA = 'public';
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER organizations_status_suspended BEFORE UPDATE OF status ON organizations
    FOR EACH ROW WHEN (NEW.status <> OLD.status AND (NEW.status = 'suspended' OR OLD.status = 'suspended'))
    EXECUTE FUNCTION app.check_suspension();

-- How long what was deleted can be brought back. Its slug stays taken for that time.
CREATE FUNCTION app.deletion_grace() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '30 days';

-- What the actor owned and can bring back.
CREATE FUNCTION app.deleted_organizations() RETURNS SETOF organizations
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT o.* FROM public.organizations o JOIN public.user_organizations m ON m.organization_id = o.id
        WHERE m.user_id = app.actor() AND m.role = 'owner' AND o.deleted_at > now() - app.deletion_grace();
    END;
CREATE FUNCTION app.restore_organization(organization uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.organizations o SET deleted_at = NULL
        WHERE o.id = organization AND o.id IN (SELECT d.id FROM app.deleted_organizations() d);
    RETURN FOUND;
END;
$$;

-- What is past that time goes for good, its record apart: entries lose their organization_id, which could refer to nothing,
-- and keep metadata.org. In steps that lock little; true when it is gone. No person does this.
CREATE FUNCTION app.organizations_to_purge() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT id FROM public.organizations WHERE deleted_at <= now() - app.deletion_grace();
    END;
CREATE FUNCTION app.purge_organization(organization uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF app.actor() IS NOT NULL THEN
        RAISE EXCEPTION 'no person purges an organization' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM FROM public.organizations WHERE id = organization AND deleted_at <= now() - app.deletion_grace() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    DELETE FROM public.tasks WHERE id IN (SELECT id FROM public.tasks WHERE organization_id = organization LIMIT 500);
    IF FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM public.projects WHERE organization_id = organization;
    DELETE FROM public.user_organizations WHERE organization_id = organization;
    UPDATE public.audit_logs SET organization_id = NULL
        WHERE id IN (SELECT id FROM public.audit_logs WHERE organization_id = organization LIMIT 5000);
    IF EXISTS (SELECT FROM public.audit_logs WHERE organization_id = organization) THEN
        RETURN false;
    END IF;
    DELETE FROM public.organizations WHERE id = organization;
    RETURN true;
END;
$$;

-- From here to the end of the transaction nobody else changes memberships of the organization, so that who acts is still
-- who they were when the change is decided: two who demote each other do so one after the other. Only for its members.
CREATE FUNCTION app.take_turn(organization uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM public.organizations
        WHERE id = organization AND id IN (SELECT m.organization_id FROM app.memberships m) FOR NO KEY UPDATE;
END;
$$;

-- A membership without what it denies, for who becomes an owner.
CREATE FUNCTION app.undenied(permissions jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN (SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM jsonb_array_elements(permissions) AS e
            WHERE NOT starts_with(e #>> '{}', '-'));

-- Privileges --------------------------------------------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.rule, app.rights_by_rule, app.rights_in_project, app.explain_permission, app.sees_project,
                          app.deletion_grace, app.deleted_organizations, app.restore_organization,
                          app.organizations_to_purge, app.purge_organization, app.take_turn, app.undenied
    TO cairn_app;

-- Memberships of organizations that are not active.
UPDATE user_organizations m SET rights = 0 FROM organizations o WHERE o.id = m.organization_id AND o.status <> 'active';
