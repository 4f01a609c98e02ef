-- What is gone is shown as it was to who sees all entries about it, and to nobody else: who sees only that it was deleted
-- would take its last state for an earlier one.
CREATE FUNCTION app.sees_gone(organization uuid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(organization = ANY (app.uuids('app.open')), false) OR app.rights_in(organization) & 8192 <> 0; -- audit.view

-- One row as it was, given as it is now; NULL when it was not there.
CREATE OR REPLACE FUNCTION app.state_of(type text, entity uuid, current jsonb, at timestamptz, seen pg_snapshot) RETURNS jsonb
    LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN s.state ? 'id' AND (current IS NOT NULL OR app.sees_gone(e.organization)) THEN s.state END
    FROM (SELECT min(a.seq) AS seq, (array_agg(a.action ORDER BY a.seq))[1] AS first, min(a.organization_id::text)::uuid AS organization,
                 app.merge(a.old_values ORDER BY a.seq DESC) AS before
          FROM public.audit_logs a
          WHERE a.entity_type = type AND a.entity_id = entity AND a.created_at > at AND NOT pg_visible_in_snapshot(a.xid, seen)
            AND coalesce(a.new_values, a.old_values) IS NOT NULL) AS e
    CROSS JOIN LATERAL (
        SELECT CASE e.first WHEN 'create' THEN NULL
                            WHEN 'update' THEN coalesce(current, '{}') || e.before
                                               || coalesce(app.updated_before(type, entity, e.seq), '{}')
                            WHEN 'delete' THEN coalesce(current, '{}') || e.before
                            ELSE current END AS state) AS s
$$;

-- The rows of an organization as they were: those that have not changed since, and the others set back. Plain SQL, so that
-- the planner puts the filters of a list into both.
CREATE OR REPLACE FUNCTION app.tasks_as_of(organization uuid, at timestamptz, seen pg_snapshot) RETURNS SETOF tasks
    LANGUAGE sql STABLE AS $$
    WITH later AS MATERIALIZED (SELECT * FROM app.later(organization, 'tasks', at, seen))
    SELECT t.* FROM public.tasks t
    WHERE t.organization_id = organization AND NOT EXISTS (SELECT FROM later l WHERE l.entity_id = t.id)
    UNION ALL
    SELECT r.* FROM later l LEFT JOIN public.tasks t ON t.id = l.entity_id
    CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(t), '{}') || l.before AS state) AS s
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.tasks, s.state) AS r
    WHERE l.first <> 'create' AND s.state ? 'id' AND (t.id IS NOT NULL OR app.sees_gone(organization))
$$;
CREATE OR REPLACE FUNCTION app.projects_as_of(organization uuid, at timestamptz, seen pg_snapshot) RETURNS SETOF projects
    LANGUAGE sql STABLE AS $$
    WITH later AS MATERIALIZED (SELECT * FROM app.later(organization, 'projects', at, seen))
    SELECT t.* FROM public.projects t
    WHERE t.organization_id = organization AND NOT EXISTS (SELECT FROM later l WHERE l.entity_id = t.id)
    UNION ALL
    SELECT r.* FROM later l LEFT JOIN public.projects t ON t.id = l.entity_id
    CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(t), '{}') || l.before AS state) AS s
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.projects, s.state) AS r
    WHERE l.first <> 'create' AND s.state ? 'id' AND (t.id IS NOT NULL OR app.sees_gone(organization))
$$;
CREATE OR REPLACE FUNCTION app.members_as_of(organization uuid, at timestamptz, seen pg_snapshot) RETURNS SETOF user_organizations
    LANGUAGE sql STABLE AS $$
    WITH later AS MATERIALIZED (SELECT * FROM app.later(organization, 'user_organizations', at, seen))
    SELECT t.* FROM public.user_organizations t
    WHERE t.organization_id = organization AND NOT EXISTS (SELECT FROM later l WHERE l.entity_id = t.id)
    UNION ALL
    SELECT r.* FROM later l LEFT JOIN public.user_organizations t ON t.id = l.entity_id
    CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(t), '{}') || l.before AS state) AS s
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.user_organizations, s.state) AS r
    WHERE l.first <> 'create' AND s.state ? 'id' AND (t.id IS NOT NULL OR app.sees_gone(organization))
$$;

GRANT EXECUTE ON FUNCTION app.sees_gone TO cairn_app;
REVOKE EXECUTE ON FUNCTION app.sees_gone FROM PUBLIC;
