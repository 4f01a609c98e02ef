-- A checkpoint costs by what has come since the one before, and no longer by the length of the record: the entries are
-- taken from audit_logs_position_idx, organization by organization, each found by a step from the one before.
CREATE OR REPLACE FUNCTION app.next_checkpoint(OUT number bigint, OUT made_at timestamptz, OUT since xid8, OUT before xid8,
                                               OUT entries bigint, OUT digest bytea, OUT previous bytea, OUT signed text)
    RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last app.checkpoints;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('app.checkpoints')) THEN
        RETURN;
    END IF;
    SELECT * INTO last FROM app.checkpoints c ORDER BY c.number DESC LIMIT 1;
    number = coalesce(last.number, 0) + 1;
    made_at = clock_timestamp();
    since = coalesce(last.before, '0');
    before = pg_snapshot_xmin(pg_current_snapshot());
    WITH RECURSIVE organizations AS (
        (SELECT a.organization_id AS id FROM public.audit_logs a ORDER BY a.organization_id LIMIT 1)
        UNION ALL
        SELECT (SELECT a.organization_id FROM public.audit_logs a WHERE a.organization_id > o.id
                ORDER BY a.organization_id LIMIT 1)
        FROM organizations o WHERE o.id IS NOT NULL),
    fresh AS (
        SELECT a.xid, a.seq, app.entry_digest(a) AS digest
        FROM organizations o JOIN public.audit_logs a ON a.organization_id = o.id AND a.xid >= since AND a.xid < before
        UNION ALL
        SELECT a.xid, a.seq, app.entry_digest(a)
        FROM public.audit_logs a WHERE a.organization_id IS NULL AND a.xid >= since AND a.xid < before)
    SELECT count(*), sha256(coalesce(string_agg(f.digest, '' ORDER BY f.xid, f.seq), '')) INTO entries, digest FROM fresh f;
    IF entries = 0 THEN
        RETURN;
    END IF;
    previous = sha256(coalesce(convert_to(app.checkpoint_text(last.number, last.made_at, last.since, last.before, last.entries,
                                                              last.digest, last.previous), 'UTF8') || last.signature, ''));
    signed = app.checkpoint_text(number, made_at, since, before, entries, digest, previous);
    RETURN NEXT;
END;
$$;
