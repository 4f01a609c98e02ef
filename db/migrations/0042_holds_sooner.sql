-- What is asked before each remembered answer is given. The plan is the same whatever the snapshot, but it was made anew in
-- each call, because it looks cheaper with the values known: 100 of 140 microseconds. And mostly nothing at all has been
-- committed since, which one short statement tells.
CREATE OR REPLACE FUNCTION app.still_holds(seen text, organization uuid, project uuid, kinds text[]) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    taken pg_snapshot;
BEGIN
    IF seen = '' OR now() >= to_timestamp(split_part(seen, '@', 2)::bigint / 1000000.0) THEN
        RETURN false;
    END IF;
    taken = split_part(seen, '@', 1)::pg_snapshot;
    IF pg_snapshot_xmax(taken) > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RETURN false;
    END IF;
    PERFORM FROM public.audit_logs a
        WHERE a.organization_id = organization AND a.xid >= pg_snapshot_xmin(taken)
          AND NOT pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
        LIMIT 1;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    RETURN coalesce((
        SELECT count(*) < 50 AND NOT bool_or(c.touches)
        FROM (SELECT project IS NULL
                  OR project::text IN (a.old_values ->> 'project_id', a.new_values ->> 'project_id')
                  OR EXISTS (SELECT FROM public.tasks t WHERE t.id = a.entity_id AND t.project_id = project) AS touches
              FROM public.audit_logs a
              WHERE a.organization_id = organization AND a.xid >= pg_snapshot_xmin(taken)
                AND NOT pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
              LIMIT 50) AS c), true);  -- null: none of them has to do with any project
END;
$$;
