-- What makes a remembered answer safe to give: the record says whether it still holds. Reasons and figures: docs/adr/0011.

-- `seen` is the snapshot in which the answer was made, and the microsecond from which it is another by the mere passing of
-- time: '731:735:731,733@1764087600000000'. It holds when nothing has been committed since that it depends on: an entry of one
-- of these types, of this project if there is one. Many entries are not looked through: then it does not hold.
-- A snapshot from the future is one of a database that was replaced by an older copy.
CREATE FUNCTION app.still_holds(seen text, organization uuid, project uuid, kinds text[]) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken pg_snapshot;
BEGIN
    IF seen = '' OR now() >= to_timestamp(split_part(seen, '@', 2)::bigint / 1000000.0) THEN
        RETURN false;
    END IF;
    taken = split_part(seen, '@', 1)::pg_snapshot;
    RETURN pg_snapshot_xmax(taken) <= pg_snapshot_xmax(pg_current_snapshot()) AND coalesce((
        SELECT count(*) < 50 AND NOT bool_or(c.touches)
        FROM (SELECT project IS NULL
                  OR project::text IN (a.old_values ->> 'project_id', a.new_values ->> 'project_id')
                  OR EXISTS (SELECT FROM public.tasks t WHERE t.id = a.entity_id AND t.project_id = project) AS touches
              FROM public.audit_logs a
              WHERE a.organization_id = organization AND a.xid >= pg_snapshot_xmin(taken)
                AND NOT pg_visible_in_snapshot(a.xid, taken) AND a.entity_type = ANY (kinds)
              LIMIT 50) AS c), true);
END;
$$;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.still_holds TO cairn_app;
