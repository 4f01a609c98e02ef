-- The live feed reads the record forward (see 0020 for positions). One look finds out for all readers of a server in which
-- organizations there is something new; the entries are then read in the readers' own names. Reasons: docs/adr/0009.

-- Of these organizations, those with entries of transactions from `since` on and below `before`.
CREATE FUNCTION app.organizations_changed(organizations uuid[], since xid8, before xid8) RETURNS uuid[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT array_agg(o.id) FROM unnest(organizations) AS o (id)
        WHERE since < before
          AND EXISTS (SELECT FROM public.audit_logs a
                      WHERE a.organization_id = o.id AND a.xid >= since AND a.xid < before);
    END;

-- As in 0007; also, where there are private projects, the entries of what is gone by now, if it was in sight.
DROP POLICY member ON audit_logs;
CREATE POLICY member ON audit_logs FOR SELECT TO cairn_app USING (
    coalesce(organization_id = ANY ((SELECT app.uuids('app.open'))::uuid[]), false)
    OR organization_id IS NULL AND (user_id = app.actor() OR entity_type = 'users' AND entity_id = app.actor())
    OR coalesce(organization_id = ANY ((SELECT app.uuids('app.closed'))::uuid[]), false)
       AND (app.rights_in(organization_id) & 8192 <> 0 -- audit.view
            OR CASE entity_type
                   WHEN 'tasks' THEN EXISTS (SELECT FROM tasks t WHERE t.id = entity_id)
                       OR action = 'delete' AND app.shows_task(organization_id, (old_values ->> 'project_id')::uuid)
                   WHEN 'projects' THEN EXISTS (SELECT FROM projects p WHERE p.id = entity_id)
                       OR action = 'delete' AND old_values ->> 'visibility' = 'organization'
                   WHEN 'project_members' THEN EXISTS (SELECT FROM project_members m WHERE m.id = entity_id)
                       OR action = 'delete' AND app.shows_task(organization_id, (old_values ->> 'project_id')::uuid)
                   ELSE true END));

-- What goes out of somebody's sight, or comes into it, by a change of something else leaves no entry of its own. Whoever
-- does not see everything there gets a new access version, at which a feed tells its reader to look again.
CREATE FUNCTION app.sight_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.renew_access(ARRAY(SELECT m.user_id FROM public.user_organizations m
                                   WHERE m.organization_id = NEW.organization_id AND NOT m.open));
    RETURN NULL;
END;
$$;
CREATE TRIGGER projects_sight_changed AFTER UPDATE OF visibility ON projects
    FOR EACH ROW WHEN (NEW.visibility <> OLD.visibility) EXECUTE FUNCTION app.sight_changed();
CREATE TRIGGER tasks_sight_changed AFTER UPDATE OF project_id ON tasks
    FOR EACH ROW WHEN (NEW.project_id <> OLD.project_id) EXECUTE FUNCTION app.sight_changed();

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.organizations_changed TO cairn_app;
