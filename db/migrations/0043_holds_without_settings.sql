-- Setting something for a function costs as much as the question. The search path is not needed where every name has its
-- schema and the runtime role can make nothing anywhere; and behind a sub-select the planner sees no values, so the plan
-- without them is no dearer than any other and is kept.
CREATE OR REPLACE FUNCTION app.still_holds(seen text, organization uuid, project uuid, kinds text[]) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    taken pg_catalog.pg_snapshot;
BEGIN
    IF seen = '' OR pg_catalog.now() >= pg_catalog.to_timestamp(pg_catalog.split_part(seen, '@', 2)::bigint / 1000000.0) THEN
        RETURN false;
    END IF;
    taken = pg_catalog.split_part(seen, '@', 1)::pg_catalog.pg_snapshot;
    IF pg_catalog.pg_snapshot_xmax(taken) > pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) THEN
        RETURN false;
    END IF;
    PERFORM FROM public.audit_logs a
        WHERE a.organization_id = (SELECT organization) AND a.xid >= (SELECT pg_catalog.pg_snapshot_xmin(taken))
          AND NOT pg_catalog.pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
        LIMIT 1;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    RETURN coalesce((
        SELECT pg_catalog.count(*) < 50 AND NOT pg_catalog.bool_or(c.touches)
        FROM (SELECT project IS NULL
                  OR project::text IN (a.old_values ->> 'project_id', a.new_values ->> 'project_id')
                  OR EXISTS (SELECT FROM public.tasks t WHERE t.id = a.entity_id AND t.project_id = project) AS touches
              FROM public.audit_logs a
              WHERE a.organization_id = (SELECT organization) AND a.xid >= (SELECT pg_catalog.pg_snapshot_xmin(taken))
                AND NOT pg_catalog.pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
              LIMIT 50) AS c), true);  -- null: none of them has to do with any project
END;
$$;
