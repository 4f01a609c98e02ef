-- What was: states of the past, folded back from those of now by what the record says has changed since.
--
-- The past is given by an instant, and means what had been changed by then, or by a snapshot (pg_current_snapshot() of a
-- reader), and means exactly what that reader saw. Both at once serve every statement: an entry is later than
-- ('-infinity', a snapshot) when the snapshot does not see it, and later than (an instant, '1:1:') when it was made after.
-- Whoever may see a thing now may see what it was; what is gone is seen by who may see its entries.

-- From which transaction on something can have been written after an instant, so that readers need not begin at the
-- beginning. Kept by the servers, once an hour.
CREATE TABLE app.moments (
    at timestamptz CONSTRAINT moments_pkey PRIMARY KEY,
    floor xid8 NOT NULL
);
COMMENT ON COLUMN app.moments.floor IS 'every transaction below it was over by then';
ALTER TABLE app.moments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON app.moments TO current_user USING (true);
-- The snapshot is older than the clock, as it has to be.
CREATE FUNCTION app.note_moment() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        INSERT INTO app.moments (at, floor) VALUES (clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot()))
        ON CONFLICT ON CONSTRAINT moments_pkey DO NOTHING;
    END;
CREATE FUNCTION app.first_later(at timestamptz, seen pg_snapshot) RETURNS xid8
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT greatest(pg_snapshot_xmin(first_later.seen),
                        (SELECT m.floor FROM app.moments m WHERE m.at <= first_later.at ORDER BY m.at DESC LIMIT 1));
    END;

-- When the state that a row had just before an entry was made. Updates leave no updated_at on the record: it is when they
-- were recorded.
CREATE FUNCTION app.updated_before(type text, entity uuid, entry bigint) RETURNS jsonb LANGUAGE sql STABLE
    RETURN (SELECT jsonb_build_object('updated_at', CASE a.action WHEN 'create' THEN a.new_values -> 'updated_at'
                                                         ELSE to_jsonb(a.created_at) END)
            FROM public.audit_logs a
            WHERE a.entity_type = type AND a.entity_id = entity AND a.seq < entry AND a.new_values IS NOT NULL
            ORDER BY a.seq DESC LIMIT 1);

-- What was recorded of an organization's rows of one type later than that: of each, the first entry, what kind it is, and
-- the fields as they were before.
CREATE FUNCTION app.later(organization uuid, type text, at timestamptz, seen pg_snapshot)
    RETURNS TABLE (entity_id uuid, first audit_action, before jsonb) LANGUAGE sql STABLE AS $$
    SELECT e.entity_id, e.first,
           CASE WHEN e.first = 'update' THEN e.before || coalesce(app.updated_before(type, e.entity_id, e.seq), '{}') ELSE e.before END
    FROM (SELECT a.entity_id, min(a.seq) AS seq, (array_agg(a.action ORDER BY a.seq))[1] AS first,
                 app.merge(a.old_values ORDER BY a.seq DESC) AS before
          FROM public.audit_logs a
          WHERE a.organization_id = organization AND a.entity_type = type AND a.xid >= (SELECT app.first_later(at, seen))
            AND a.created_at > at AND NOT pg_visible_in_snapshot(a.xid, seen)
            AND coalesce(a.new_values, a.old_values) IS NOT NULL
          GROUP BY a.entity_id) AS e
$$;

-- One row as it was, given as it is now; NULL when it was not there.
CREATE FUNCTION app.state_of(type text, entity uuid, current jsonb, at timestamptz, seen pg_snapshot) RETURNS jsonb
    LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN s.state ? 'id' THEN s.state END -- all of it is there
    FROM (SELECT min(a.seq) AS seq, (array_agg(a.action ORDER BY a.seq))[1] AS first,
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
CREATE FUNCTION app.tasks_as_of(organization uuid, at timestamptz, seen pg_snapshot) RETURNS SETOF tasks
    LANGUAGE sql STABLE AS $$
    WITH later AS MATERIALIZED (SELECT * FROM app.later(organization, 'tasks', at, seen))
    SELECT t.* FROM public.tasks t
    WHERE t.organization_id = organization AND NOT EXISTS (SELECT FROM later l WHERE l.entity_id = t.id)
    UNION ALL
    SELECT r.* FROM later l LEFT JOIN public.tasks t ON t.id = l.entity_id
    CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(t), '{}') || l.before AS state) AS s
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.tasks, s.state) AS r
    WHERE l.first <> 'create' AND s.state ? 'id' -- all of it is there
$$;
CREATE FUNCTION app.projects_as_of(organization uuid, at timestamptz, seen pg_snapshot) RETURNS SETOF projects
    LANGUAGE sql STABLE AS $$
    WITH later AS MATERIALIZED (SELECT * FROM app.later(organization, 'projects', at, seen))
    SELECT t.* FROM public.projects t
    WHERE t.organization_id = organization AND NOT EXISTS (SELECT FROM later l WHERE l.entity_id = t.id)
    UNION ALL
    SELECT r.* FROM later l LEFT JOIN public.projects t ON t.id = l.entity_id
    CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(t), '{}') || l.before AS state) AS s
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.projects, s.state) AS r
    WHERE l.first <> 'create' AND s.state ? 'id' -- all of it is there
$$;
CREATE FUNCTION app.members_as_of(organization uuid, at timestamptz, seen pg_snapshot) RETURNS SETOF user_organizations
    LANGUAGE sql STABLE AS $$
    WITH later AS MATERIALIZED (SELECT * FROM app.later(organization, 'user_organizations', at, seen))
    SELECT t.* FROM public.user_organizations t
    WHERE t.organization_id = organization AND NOT EXISTS (SELECT FROM later l WHERE l.entity_id = t.id)
    UNION ALL
    SELECT r.* FROM later l LEFT JOIN public.user_organizations t ON t.id = l.entity_id
    CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(t), '{}') || l.before AS state) AS s
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.user_organizations, s.state) AS r
    WHERE l.first <> 'create' AND s.state ? 'id' -- all of it is there
$$;

-- Whose a project is, or was.
CREATE FUNCTION app.organization_of(project uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT coalesce((SELECT p.organization_id FROM public.projects p WHERE p.id = organization_of.project),
                        (SELECT a.organization_id FROM public.audit_logs a
                         WHERE a.entity_type = 'projects' AND a.entity_id = organization_of.project LIMIT 1));
    END;

-- People who were members, by name and address as they are now, for a colleague who may not see them otherwise.
CREATE FUNCTION app.person(id uuid) RETURNS TABLE (email text, first_name text, last_name text, status user_status)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.email, u.first_name, u.last_name, u.status FROM public.users u WHERE u.id = person.id;
    END;

-- What has become of a project and what is in it between two points of the past.
CREATE FUNCTION app.project_diff(project uuid, from_at timestamptz, from_seen pg_snapshot, to_at timestamptz,
                                 to_seen pg_snapshot)
    RETURNS TABLE (id uuid, entity_type text, action audit_action, name text, changes jsonb, seq bigint)
    LANGUAGE sql STABLE AS $$
    SELECT e.entity_id, e.entity_type,
           CASE WHEN e.first = 'create' THEN 'create' WHEN e.last = 'delete' THEN 'delete' ELSE 'update' END::audit_action,
           p.whole ->> CASE e.entity_type WHEN 'tasks' THEN 'title' WHEN 'projects' THEN 'name' ELSE 'user_id' END, c.changes, e.seq
    FROM (SELECT a.entity_type, a.entity_id, min(a.seq) AS seq, max(a.seq) AS last_seq,
                 (array_agg(a.action ORDER BY a.seq))[1] AS first, (array_agg(a.action ORDER BY a.seq DESC))[1] AS last,
                 app.merge(a.old_values ORDER BY a.seq DESC) AS before, app.merge(a.new_values ORDER BY a.seq) AS after
          FROM public.audit_logs a
          WHERE a.organization_id = app.organization_of(project) AND a.entity_type IN ('projects', 'project_members', 'tasks')
            AND a.xid >= (SELECT app.first_later(from_at, from_seen))
            AND a.created_at > from_at AND NOT pg_visible_in_snapshot(a.xid, from_seen)
            AND NOT (a.created_at > to_at AND NOT pg_visible_in_snapshot(a.xid, to_seen))
            AND coalesce(a.new_values, a.old_values) IS NOT NULL
          GROUP BY a.entity_type, a.entity_id) AS e
    CROSS JOIN LATERAL (SELECT app.merge(coalesce(h.new_values, h.old_values) ORDER BY h.seq) AS whole
                        FROM public.audit_logs h
                        WHERE h.entity_type = e.entity_type AND h.entity_id = e.entity_id AND h.seq <= e.last_seq) AS p
    CROSS JOIN LATERAL (SELECT app.changes(CASE WHEN e.first <> 'create' THEN e.before END,
                                           CASE WHEN e.last <> 'delete' THEN e.after END) AS changes) AS c
    WHERE CASE e.entity_type WHEN 'projects' THEN e.entity_id = project
               ELSE project::text IN (p.whole ->> 'project_id', e.before ->> 'project_id') END
      AND NOT (e.first = 'create' AND e.last = 'delete') AND c.changes <> '[]'
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.note_moment, app.first_later, app.updated_before, app.later, app.state_of, app.tasks_as_of,
                          app.projects_as_of, app.members_as_of, app.organization_of, app.person, app.project_diff
    TO cairn_app;
