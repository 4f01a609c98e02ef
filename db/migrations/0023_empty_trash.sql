-- What stayed in the trash for too long cannot be brought back: its words leave the record. That there was something, who did
-- what to it and when, stays.

CREATE FUNCTION app.emptied(recorded jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
    RETURN coalesce((SELECT jsonb_object_agg(r.key, CASE WHEN r.value = 'null' THEN r.value
                                                         WHEN r.key IN ('title', 'name', 'description') THEN '"[purged]"'
                                                         WHEN r.key = 'metadata' THEN '{}'
                                                         WHEN r.key = 'tags' THEN '[]'
                                                         ELSE r.value END)
                     FROM jsonb_each(recorded) AS r), recorded);

-- In steps that lock little; true when there may be more. No person does this. Says so on the record, by an entry without
-- values for each thing.
CREATE FUNCTION app.empty_trash() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone uuid[];
BEGIN
    IF app.actor() IS NOT NULL THEN
        RAISE EXCEPTION 'no person empties the trash' USING ERRCODE = 'insufficient_privilege';
    END IF;
    gone = ARRAY(
        SELECT a.id FROM public.audit_logs a
        WHERE a.action = 'delete' AND a.entity_type IN ('projects', 'tasks') AND NOT a.metadata ? 'redacted'
          AND a.created_at <= now() - app.deletion_grace()
          AND NOT EXISTS (SELECT FROM public.audit_logs l
                          WHERE l.entity_type = a.entity_type AND l.entity_id = a.entity_id AND l.seq > a.seq)
        LIMIT 500 FOR UPDATE SKIP LOCKED);
    IF gone = '{}' THEN
        RETURN false;
    END IF;
    UPDATE public.audit_logs a
        SET old_values = app.emptied(a.old_values), new_values = app.emptied(a.new_values),
            metadata = a.metadata || '{"redacted": {}}' -- to which app.keep_digests() adds
        FROM public.audit_logs d
        WHERE d.id = ANY (gone) AND a.entity_type = d.entity_type AND a.entity_id = d.entity_id;
    INSERT INTO public.audit_logs (id, organization_id, entity_type, entity_id, action, metadata, created_at)
        SELECT app.new_id(), d.organization_id, d.entity_type, d.entity_id, 'update',
               jsonb_strip_nulls(jsonb_build_object('event', 'purged', 'actor', current_setting('app.system', true),
                                                    'org', d.metadata -> 'org', 'txid', txid_current())),
               clock_timestamp()
        FROM public.audit_logs d WHERE d.id = ANY (gone);
    RETURN true;
END;
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.empty_trash TO cairn_app;
