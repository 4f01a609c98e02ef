-- What was looked at need not be looked at again: instead of whether a remembered answer still holds, this says as of when
-- it does, which is what to remember it with from now on. Null: it does not hold.
-- Setting something for a function costs as much as the question. The search path is not needed where every table, type
-- and function has its schema: of what the runtime role can make, which is temporary, no operator is ever looked up. And
-- behind a sub-select the planner sees no values, so the plan without them is no dearer than any other and is kept. Which
-- project a task is of is asked task by task: as an EXISTS it became a list of all tasks of the project.
DROP FUNCTION app.still_holds(text, uuid, uuid, text[]);
CREATE FUNCTION app.holds_as_of(seen text, organization uuid, project uuid, kinds text[]) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    taken pg_catalog.pg_snapshot;
    changed boolean;
BEGIN
    IF seen = '' OR pg_catalog.now() >= pg_catalog.to_timestamp(pg_catalog.split_part(seen, '@', 2)::bigint / 1000000.0) THEN
        RETURN NULL;
    END IF;
    taken = pg_catalog.split_part(seen, '@', 1)::pg_catalog.pg_snapshot;
    IF pg_catalog.pg_snapshot_xmax(taken) > pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) THEN
        RETURN NULL;
    END IF;
    PERFORM FROM public.audit_logs a
        WHERE a.organization_id = (SELECT organization) AND a.xid >= (SELECT pg_catalog.pg_snapshot_xmin(taken))
          AND NOT pg_catalog.pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
        LIMIT 1;
    IF NOT FOUND THEN
        RETURN seen;
    END IF;
    SELECT pg_catalog.count(*) >= 50 OR pg_catalog.bool_or(coalesce(c.touches, false)) INTO changed
        FROM (SELECT project IS NULL
                  OR project::pg_catalog.text IN (a.old_values ->> 'project_id', a.new_values ->> 'project_id')
                  OR project = (SELECT t.project_id FROM public.tasks t WHERE t.id = a.entity_id) AS touches
              FROM public.audit_logs a
              WHERE a.organization_id = (SELECT organization) AND a.xid >= (SELECT pg_catalog.pg_snapshot_xmin(taken))
                AND NOT pg_catalog.pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
              LIMIT 50) AS c;
    IF changed THEN
        RETURN NULL;
    END IF;
    RETURN pg_catalog.pg_current_snapshot()::pg_catalog.text || '@' || pg_catalog.split_part(seen, '@', 2);
END;
$$;
REVOKE EXECUTE ON FUNCTION app.holds_as_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.holds_as_of TO cairn_app;
