-- What a randomized test against a model has found.

-- As in 0021; besides, an undo that is forced succeeds where a row has its former values already: there is nothing to set back.
CREATE OR REPLACE FUNCTION app.undo_now(organization uuid, change uuid, request text, person uuid, token uuid,
                                        since timestamptz, from_trash boolean, force boolean)
    RETURNS app.undone
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    result app.undone;
    own app.memberships;
    whole boolean;
    name text;
BEGIN
    IF NOT coalesce(app.belongs_to(organization), false) THEN
        RETURN result;
    END IF;
    -- Memberships are changed in turns, and by who the actor is by then.
    PERFORM app.take_turn(organization);
    PERFORM app.learn_access();
    SELECT * INTO own FROM app.memberships m WHERE m.organization_id = undo_now.organization;
    whole = own.rights & 8192 <> 0; -- audit.view

    CREATE TEMP TABLE undo_entries ON COMMIT DROP AS
        SELECT a.id, a.seq, a.xid, a.metadata ->> 'request_id' AS request, a.entity_type, a.entity_id, a.action, a.old_values,
               a.new_values
        FROM public.audit_logs a WHERE false;
    IF change IS NOT NULL THEN
        INSERT INTO undo_entries
        SELECT a.id, a.seq, a.xid, a.metadata ->> 'request_id' AS request, a.entity_type, a.entity_id, a.action, a.old_values,
               a.new_values
        FROM public.audit_logs a
        WHERE a.id = change AND a.organization_id = organization
          AND (whole OR a.user_id = app.actor() OR from_trash AND a.action = 'delete' AND a.entity_type IN ('projects', 'tasks'));
        INSERT INTO undo_entries
        SELECT a.id, a.seq, a.xid, a.metadata ->> 'request_id' AS request, a.entity_type, a.entity_id, a.action, a.old_values,
               a.new_values
        FROM undo_entries e
        JOIN public.audit_logs a ON a.organization_id = organization AND a.xid = e.xid AND a.action = 'delete'
                                AND a.metadata ->> 'request_id' IS NOT DISTINCT FROM e.request -- which may share it
                                AND a.entity_type IN ('project_members', 'tasks')
                                AND a.old_values ->> 'project_id' = e.entity_id::text
        WHERE e.action = 'delete' AND e.entity_type = 'projects';
    ELSIF request IS NOT NULL THEN
        INSERT INTO undo_entries
        SELECT a.id, a.seq, a.xid, a.metadata ->> 'request_id' AS request, a.entity_type, a.entity_id, a.action, a.old_values,
               a.new_values
        FROM public.audit_logs a
        WHERE a.organization_id = organization AND a.metadata ->> 'request_id' = request
          AND (whole OR a.user_id = app.actor());
    ELSE
        INSERT INTO undo_entries
        SELECT a.id, a.seq, a.xid, a.metadata ->> 'request_id' AS request, a.entity_type, a.entity_id, a.action, a.old_values,
               a.new_values
        FROM public.audit_logs a
        WHERE a.organization_id = organization AND a.created_at >= since
          AND (whole OR a.user_id = app.actor())
          AND (person IS NULL OR a.user_id = person) AND (token IS NULL OR a.metadata ->> 'token' = token::text);
    END IF;
    result.found = EXISTS (SELECT FROM undo_entries);
    IF (SELECT count(*) FROM undo_entries) > 100000 THEN
        RAISE EXCEPTION 'too many changes to undo at once' USING ERRCODE = 'check_violation', CONSTRAINT = 'undo_size';
    END IF;

    -- The steps.
    CREATE TEMP TABLE undo_steps ON COMMIT DROP AS
        SELECT e.entity_type, e.entity_id, e.seq, e.action, e.target, e.expected, e.versions, e.first_version, e.broken,
               NULL::jsonb AS found, NULL::uuid AS project_id, false AS blocked, false AS forbidden, '[]'::jsonb AS conflicts
        FROM (
            SELECT g.*, CASE WHEN g.first = 'create' THEN 'delete' WHEN g.last = 'delete' THEN 'create' ELSE 'update' END
                            ::public.audit_action AS action,
                   CASE WHEN g.first = 'create' THEN NULL WHEN g.last = 'delete' THEN app.renewed(g.before, g.last_version)
                        ELSE (SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(g.before) AS f
                              WHERE f.key = ANY (app.editable(g.entity_type)) AND f.value <> g.expected -> f.key) END AS target,
                   b.broken
            FROM (SELECT e.entity_type, e.entity_id, min(e.seq) AS seq, count(*) AS entries,
                         (array_agg(e.action ORDER BY e.seq))[1] AS first,
                         (array_agg(e.action ORDER BY e.seq DESC))[1] AS last,
                         app.merge(e.old_values ORDER BY e.seq DESC) AS before,
                         app.merge(e.new_values ORDER BY e.seq) AS expected,
                         count(DISTINCT coalesce(e.new_values, e.old_values) ->> 'version') AS versions,
                         min((coalesce(e.new_values, e.old_values) ->> 'version')::bigint) AS first_version,
                         max((coalesce(e.new_values, e.old_values) ->> 'version')::bigint) AS last_version
                  FROM undo_entries e
                  WHERE app.editable(e.entity_type) IS NOT NULL AND e.action IN ('create', 'update', 'delete')
                    AND coalesce(e.new_values, e.old_values) IS NOT NULL
                  GROUP BY e.entity_type, e.entity_id) AS g
            -- The fields that somebody else changed between two of them.
            CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(DISTINCT f.key) FILTER (WHERE f.old IS DISTINCT FROM f.before AND f.n > 1), '{}')
                           AS broken
                FROM (SELECT k.key, e.old_values -> k.key AS old, row_number() OVER w AS n,
                             lag(e.new_values -> k.key) OVER w AS before
                      FROM undo_entries e, jsonb_object_keys(coalesce(e.new_values, e.old_values)) AS k (key)
                      WHERE g.entries > 1 AND e.entity_id = g.entity_id AND e.entity_type = g.entity_type
                      WINDOW w AS (PARTITION BY k.key ORDER BY e.seq)) AS f) AS b
            WHERE NOT (g.first = 'create' AND g.last = 'delete')) AS e
        WHERE e.action = 'delete' OR e.target IS NOT NULL;
    CREATE INDEX ON undo_steps (entity_id);
    ANALYZE undo_steps;

    -- The rows as they are, and stay until the end.
    FOREACH name IN ARRAY '{organizations,user_organizations,projects,project_members,tasks}'::text[] LOOP
        IF EXISTS (SELECT FROM undo_steps s WHERE s.entity_type = name) THEN
            EXECUTE format('SELECT count(*) FROM (SELECT FROM public.%I t WHERE t.id IN (
                                SELECT s.entity_id FROM undo_steps s WHERE s.entity_type = %L) FOR UPDATE) AS l', name, name);
            EXECUTE format('UPDATE undo_steps s SET found = to_jsonb(t) FROM public.%I t
                            WHERE s.entity_type = %L AND t.id = s.entity_id', name, name);
        END IF;
    END LOOP;
    UPDATE undo_steps s SET project_id = CASE s.entity_type WHEN 'projects' THEN s.entity_id
                                              ELSE (coalesce(s.found, s.target) ->> 'project_id')::uuid END
        WHERE s.entity_type IN ('projects', 'project_members', 'tasks');

    -- What keeps whole steps from being made.
    UPDATE undo_steps s SET blocked = true, forbidden = true, conflicts = '[{"reason": "forbidden"}]'
        WHERE NOT coalesce(CASE s.entity_type
            WHEN 'tasks' THEN
                app.sees(organization, s.project_id)
                AND app.rights_in(organization, s.project_id)
                    & CASE s.action WHEN 'create' THEN 1 WHEN 'update' THEN 2
                           ELSE CASE WHEN s.found ->> 'created_by' = app.actor()::text THEN 4 | 2 ELSE 4 END END <> 0
            WHEN 'projects' THEN
                app.sees(organization, s.project_id)
                AND CASE s.action WHEN 'create' THEN app.rights_in(organization) & 8
                         WHEN 'update' THEN app.rights_in(organization, s.project_id) & 16
                         ELSE app.rights_in(organization, s.project_id) & 32 END <> 0
            WHEN 'project_members' THEN -- who brings a project back brings its members
                app.sees(organization, s.project_id)
                AND (EXISTS (SELECT FROM undo_steps p WHERE p.entity_id = s.project_id AND p.action = 'create')
                     OR app.rights_in(organization, s.project_id) & 64 <> 0
                        AND ((coalesce(app.project_rights_of(s.target ->> 'role'), 0)
                              | coalesce(app.project_rights_of(s.found ->> 'role'), 0))
                             & ~app.rights_in(organization, s.project_id)) = 0)
            WHEN 'user_organizations' THEN
                own.rights & CASE s.action WHEN 'create' THEN 256 WHEN 'update' THEN 512 ELSE 1024 END <> 0
                AND own.rank >= coalesce(app.role_rank((s.target ->> 'role')::public.organization_role), 0)
                AND own.rank >= coalesce(app.role_rank((s.found ->> 'role')::public.organization_role), 0)
                AND CASE s.action WHEN 'delete' THEN true
                         ELSE (app.rights_of((coalesce(s.found, '{}') || s.target ->> 'role')::public.organization_role,
                                             coalesce(s.found, '{}') || s.target -> 'permissions')
                               & ~(coalesce((s.found ->> 'rights')::bigint, 0) | own.rights)) = 0 END
            WHEN 'organizations' THEN
                own.rights & 2048 <> 0
                AND (NOT s.target ? 'status'
                     OR own.role = 'owner' AND 'suspended' NOT IN (s.target ->> 'status', s.found ->> 'status'))
        END, false);
    UPDATE undo_steps s SET blocked = true, conflicts = jsonb_build_array(jsonb_build_object(
            'reason', CASE s.action WHEN 'create' THEN 'exists' ELSE 'gone' END))
        WHERE NOT s.blocked AND (s.action = 'create') = (s.found IS NOT NULL);
    UPDATE undo_steps s SET blocked = NOT force, conflicts = '[{"reason": "changed"}]'
        WHERE NOT s.blocked AND s.action = 'delete'
          AND ((s.found ->> 'version')::bigint <> (s.expected ->> 'version')::bigint
               OR (s.found ->> 'version')::bigint - s.first_version + 1 <> s.versions);
    UPDATE undo_steps s SET blocked = true, conflicts = '[{"reason": "gone"}]'
        WHERE NOT s.blocked AND s.action = 'create' AND s.entity_type = 'user_organizations'
          -- Who left for good does not come back; who was only ever named, by an import, does.
          AND NOT EXISTS (SELECT FROM public.users u
                          WHERE u.id = (s.target ->> 'user_id')::uuid AND u.email NOT LIKE '%@deleted.invalid');
    UPDATE undo_steps s SET blocked = true, conflicts = '[{"reason": "exists"}]'
        WHERE NOT s.blocked AND s.action = 'create'
          AND (s.entity_type = 'user_organizations'
               AND EXISTS (SELECT FROM public.user_organizations m WHERE m.organization_id = organization
                           AND m.user_id = (s.target ->> 'user_id')::uuid)
               OR s.entity_type = 'project_members'
               AND EXISTS (SELECT FROM public.project_members m WHERE m.project_id = s.project_id
                           AND m.user_id = (s.target ->> 'user_id')::uuid));
    UPDATE undo_steps s SET blocked = true, conflicts = '[{"reason": "gone", "field": "project_id"}]'
        WHERE NOT s.blocked AND s.action = 'create' AND s.entity_type IN ('project_members', 'tasks')
          AND NOT EXISTS (SELECT FROM public.projects p WHERE p.id = s.project_id)
          AND NOT EXISTS (SELECT FROM undo_steps p WHERE p.entity_id = s.project_id AND p.action = 'create' AND NOT p.blocked);
    UPDATE undo_steps s SET blocked = NOT force, conflicts = '[{"reason": "in_use"}]'
        FROM (SELECT c.owner FROM (
                  SELECT t.project_id AS owner, t.id, NULL AS field FROM public.tasks t WHERE t.organization_id = organization
                  UNION ALL
                  SELECT m.project_id, m.id, NULL FROM public.project_members m WHERE m.organization_id = organization
                  UNION ALL
                  SELECT o.id, t.id, 'assigned_to' FROM public.user_organizations o
                  JOIN public.tasks t ON t.organization_id = organization AND t.assigned_to = o.user_id
                  WHERE o.organization_id = organization
                  UNION ALL
                  SELECT o.id, m.id, NULL FROM public.user_organizations o
                  JOIN public.project_members m ON m.organization_id = organization AND m.user_id = o.user_id
                  WHERE o.organization_id = organization) AS c
              WHERE c.owner IN (SELECT d.entity_id FROM undo_steps d WHERE d.action = 'delete')
                AND NOT EXISTS (SELECT FROM undo_steps d WHERE d.entity_id = c.id AND NOT d.blocked
                                AND (d.action = 'delete' OR d.target ? c.field))
              GROUP BY c.owner) AS u
        WHERE u.owner = s.entity_id AND s.action = 'delete' AND NOT s.blocked;

    -- Single fields. What has the value already is left alone.
    UPDATE undo_steps s SET target = c.target, conflicts = c.conflicts
        FROM (SELECT s.entity_type, s.entity_id,
                     coalesce(jsonb_object_agg(f.key, f.value)
                              FILTER (WHERE f.key IS NOT NULL AND (force OR NOT f.clash)), '{}') AS target,
                     coalesce(jsonb_agg(jsonb_build_object('reason', 'changed', 'field', f.key, 'wanted', f.value,
                                                           'expected', s.expected -> f.key, 'found', s.found -> f.key)
                                        ORDER BY f.key) FILTER (WHERE f.clash), '[]') AS conflicts
              FROM undo_steps s
              LEFT JOIN LATERAL (SELECT t.key, t.value, s.found -> t.key <> s.expected -> t.key OR t.key = ANY (s.broken)
                                            AS clash
                                 FROM jsonb_each(s.target) AS t WHERE s.found -> t.key <> t.value) AS f ON true
              WHERE s.action = 'update' AND NOT s.blocked
              GROUP BY s.entity_type, s.entity_id) AS c
        WHERE c.entity_type = s.entity_type AND c.entity_id = s.entity_id;

    -- First what goes, from the leaves on.
    DELETE FROM public.tasks t USING undo_steps s
        WHERE s.entity_type = 'tasks' AND s.action = 'delete' AND NOT s.blocked AND t.id = s.entity_id;
    DELETE FROM public.project_members t USING undo_steps s
        WHERE s.entity_type = 'project_members' AND s.action = 'delete' AND NOT s.blocked AND t.id = s.entity_id;
    DELETE FROM public.projects t USING undo_steps s
        WHERE s.entity_type = 'projects' AND s.action = 'delete' AND NOT s.blocked AND t.id = s.entity_id;
    DELETE FROM public.user_organizations t USING undo_steps s
        WHERE s.entity_type = 'user_organizations' AND s.action = 'delete' AND NOT s.blocked AND t.id = s.entity_id;

    -- Then what comes back, the same row but for what it cannot have any more, and what is set back.
    PERFORM set_config('app.restoring', 'true', true);
    INSERT INTO public.user_organizations
        SELECT r.* FROM undo_steps s CROSS JOIN LATERAL jsonb_populate_record(NULL::public.user_organizations, s.target) AS r
        WHERE s.entity_type = 'user_organizations' AND s.action = 'create' AND NOT s.blocked ORDER BY s.seq;
    UPDATE undo_steps s SET conflicts = s.conflicts || jsonb_build_object('reason', 'taken', 'field', 'external_id',
                                                                          'wanted', s.target -> 'external_id'),
                            target = app.without(s.target, s.action, 'external_id')
        WHERE s.entity_type IN ('projects', 'tasks') AND s.action IN ('create', 'update') AND NOT s.blocked
          AND s.target ->> 'external_id' IS NOT NULL
          AND CASE s.entity_type
                  WHEN 'projects' THEN EXISTS (SELECT FROM public.projects p WHERE p.organization_id = organization
                                               AND p.external_id = s.target ->> 'external_id' AND p.id <> s.entity_id)
                  ELSE EXISTS (SELECT FROM public.tasks t WHERE t.organization_id = organization
                               AND t.external_id = s.target ->> 'external_id' AND t.id <> s.entity_id) END;
    INSERT INTO public.projects
        SELECT r.* FROM undo_steps s CROSS JOIN LATERAL jsonb_populate_record(NULL::public.projects, s.target) AS r
        WHERE s.entity_type = 'projects' AND s.action = 'create' AND NOT s.blocked ORDER BY s.seq;
    UPDATE undo_steps s SET blocked = true, conflicts = '[{"reason": "not_a_member"}]'
        WHERE s.entity_type = 'project_members' AND s.action = 'create' AND NOT s.blocked
          AND NOT EXISTS (SELECT FROM public.user_organizations m WHERE m.organization_id = organization
                          AND m.user_id = (s.target ->> 'user_id')::uuid);
    INSERT INTO public.project_members
        SELECT r.* FROM undo_steps s CROSS JOIN LATERAL jsonb_populate_record(NULL::public.project_members, s.target) AS r
        WHERE s.entity_type = 'project_members' AND s.action = 'create' AND NOT s.blocked ORDER BY s.seq;
    PERFORM set_config('app.restoring', '', true);
    UPDATE undo_steps s SET conflicts = s.conflicts || jsonb_build_object('reason', 'gone', 'field', 'project_id',
                                                                          'wanted', s.target -> 'project_id'),
                            target = s.target - 'project_id'
        WHERE s.entity_type = 'tasks' AND s.action = 'update' AND NOT s.blocked AND s.target ? 'project_id'
          AND NOT (app.sees(organization, (s.target ->> 'project_id')::uuid)
                   AND app.rights_in(organization, (s.target ->> 'project_id')::uuid) & 2 <> 0
                   AND EXISTS (SELECT FROM public.projects p WHERE p.id = (s.target ->> 'project_id')::uuid
                               AND p.organization_id = organization));
    UPDATE public.organizations t
        SET (name, slug, description, logo_url, website_url, industry, size, status, settings) =
            (SELECT r.name, r.slug, r.description, r.logo_url, r.website_url, r.industry, r.size, r.status, r.settings
             FROM jsonb_populate_record(t, s.target) AS r)
        FROM undo_steps s
        WHERE s.entity_type = 'organizations' AND s.action = 'update' AND NOT s.blocked AND s.target <> '{}'
          AND t.id = s.entity_id;
    UPDATE public.user_organizations t
        SET (role, permissions) = (SELECT r.role, r.permissions FROM jsonb_populate_record(t, s.target) AS r)
        FROM undo_steps s
        WHERE s.entity_type = 'user_organizations' AND s.action = 'update' AND NOT s.blocked AND s.target <> '{}'
          AND t.id = s.entity_id;
    UPDATE public.projects t
        SET (name, description, status, priority, visibility, start_date, end_date, budget, metadata, external_id) =
            (SELECT r.name, r.description, r.status, r.priority, r.visibility, r.start_date, r.end_date, r.budget, r.metadata,
                    r.external_id
             FROM jsonb_populate_record(t, s.target) AS r)
        FROM undo_steps s
        WHERE s.entity_type = 'projects' AND s.action = 'update' AND NOT s.blocked AND s.target <> '{}' AND t.id = s.entity_id;
    UPDATE public.project_members t SET role = (s.target ->> 'role')::public.project_role
        FROM undo_steps s
        WHERE s.entity_type = 'project_members' AND s.action = 'update' AND NOT s.blocked AND s.target <> '{}'
          AND t.id = s.entity_id;
    -- Tasks last: what they may refer to is as it will be.
    UPDATE undo_steps s SET conflicts = s.conflicts || jsonb_build_object('reason', 'not_a_member', 'field', 'assigned_to',
                                                                          'wanted', s.target -> 'assigned_to'),
                            target = app.without(s.target, s.action, 'assigned_to')
        WHERE s.entity_type = 'tasks' AND s.action IN ('create', 'update') AND NOT s.blocked
          AND s.target ->> 'assigned_to' IS NOT NULL
          AND NOT EXISTS (SELECT FROM public.projects p
                          JOIN public.user_organizations m ON m.organization_id = p.organization_id
                                                          AND m.user_id = (s.target ->> 'assigned_to')::uuid
                          WHERE p.id = coalesce((s.target ->> 'project_id')::uuid, s.project_id)
                            AND (p.visibility = 'organization' OR app.sees_project(m.user_id, p.id)));
    INSERT INTO public.tasks
        SELECT r.* FROM undo_steps s CROSS JOIN LATERAL jsonb_populate_record(NULL::public.tasks, s.target) AS r
        WHERE s.entity_type = 'tasks' AND s.action = 'create' AND NOT s.blocked ORDER BY s.seq;
    UPDATE public.tasks t
        SET (project_id, assigned_to, title, description, status, priority, due_date, estimated_hours, actual_hours, tags,
             metadata, external_id) =
            (SELECT r.project_id, r.assigned_to, r.title, r.description, r.status, r.priority, r.due_date, r.estimated_hours,
                    r.actual_hours, r.tags, r.metadata, r.external_id
             FROM jsonb_populate_record(t, s.target) AS r)
        FROM undo_steps s
        WHERE s.entity_type = 'tasks' AND s.action = 'update' AND NOT s.blocked AND s.target <> '{}' AND t.id = s.entity_id;

    SELECT count(*) FILTER (WHERE s.done AND s.action = 'create'), count(*) FILTER (WHERE s.done AND s.action = 'update'),
           count(*) FILTER (WHERE s.done AND s.action = 'delete'), sum(jsonb_array_length(s.conflicts)),
           count(*) FILTER (WHERE s.forbidden)
        INTO result.created, result.changed, result.deleted, result.conflict_count, result.forbidden
        FROM (SELECT s.*, NOT s.blocked AND coalesce(s.target, '1') <> '{}' AS done FROM undo_steps s) AS s;
    result.conflict_count = coalesce(result.conflict_count, 0);
    SELECT coalesce(jsonb_agg(c.change ORDER BY c.seq), '[]') INTO result.changes FROM (
        SELECT s.seq, jsonb_build_object(
                   'action', s.action, 'entity_type', s.entity_type, 'entity_id', s.entity_id,
                   'name', coalesce(s.found, s.target) ->> CASE s.entity_type WHEN 'tasks' THEN 'title' ELSE 'name' END,
                   'changes', CASE s.action
                       WHEN 'create' THEN app.changes(NULL, s.target) WHEN 'delete' THEN app.changes(s.found, NULL)
                       ELSE app.changes(s.found, s.found || s.target) END) AS change
        FROM undo_steps s WHERE NOT s.blocked AND coalesce(s.target, '1') <> '{}' ORDER BY s.seq LIMIT 100) AS c;
    SELECT coalesce(jsonb_agg(c.conflict ORDER BY c.seq), '[]') INTO result.conflicts FROM (
        SELECT s.seq, jsonb_build_object(
                   'action', s.action, 'entity_type', s.entity_type, 'entity_id', s.entity_id,
                   'name', coalesce(s.found, s.target) ->> CASE s.entity_type WHEN 'tasks' THEN 'title' ELSE 'name' END,
                   'reason', NULL, 'field', NULL, 'wanted', NULL, 'expected', NULL, 'found', NULL) || o.conflict AS conflict
        FROM undo_steps s, jsonb_array_elements(s.conflicts) AS o (conflict) ORDER BY s.seq LIMIT 100) AS c;
    DROP TABLE undo_entries, undo_steps;
    RETURN result;
END;
$$;
