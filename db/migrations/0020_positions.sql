-- The record in order, for readers that go forward, and what history shows of it.

-- An entry's position is (xid, seq). Who reads forward takes entries whose xid is below
-- pg_snapshot_xmin(pg_current_snapshot()), in order of position, and goes on after the last one: whatever commits later has
-- a higher xid, so nothing is missed and nothing comes twice. Of one row, whose writers wait for each other, seq is the order
-- of commits; xid is not, because a transaction may have got its own long before.
ALTER TABLE audit_logs ADD xid xid8 NOT NULL DEFAULT pg_current_xact_id(), ADD seq bigint;
UPDATE audit_logs a SET seq = o.seq
    FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS seq FROM audit_logs) AS o WHERE o.id = a.id;
ALTER TABLE audit_logs ALTER seq SET NOT NULL, ALTER seq ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('public.audit_logs', 'seq'), coalesce(max(seq), 0) + 1, false) FROM audit_logs;
COMMENT ON COLUMN audit_logs.xid IS 'the transaction that wrote it; with seq its position';
COMMENT ON COLUMN audit_logs.seq IS 'of one row the order of its changes';

-- An organization's record in order, forward for readers and backward for its list.
CREATE INDEX audit_logs_position_idx ON audit_logs (organization_id, xid, seq);
DROP INDEX audit_logs_organization_idx;
-- The two that follow hold few entries and cost the others nothing: deletions that may be taken back, and which membership
-- was whose.
CREATE INDEX audit_logs_trash_idx ON audit_logs (organization_id, created_at)
    WHERE action = 'delete' AND entity_type IN ('projects', 'tasks') AND NOT metadata ? 'redacted';
CREATE INDEX audit_logs_membership_idx ON audit_logs (organization_id, (new_values ->> 'user_id'))
    WHERE action = 'create' AND entity_type = 'user_organizations';

-- What is taken off an entry, because a person left or the trash was emptied, leaves the SHA-256 of what was there:
-- metadata.redacted {"old": ..., "new": ...}. Whoever made a digest of the record before can still verify it.
CREATE FUNCTION app.keep_digests() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.metadata = NEW.metadata || jsonb_build_object('redacted', jsonb_strip_nulls(jsonb_build_object(
        'old', CASE WHEN NEW.old_values IS DISTINCT FROM OLD.old_values
                    THEN encode(sha256(convert_to(OLD.old_values::text, 'UTF8')), 'hex') END,
        'new', CASE WHEN NEW.new_values IS DISTINCT FROM OLD.new_values
                    THEN encode(sha256(convert_to(OLD.new_values::text, 'UTF8')), 'hex') END))
        || coalesce(OLD.metadata -> 'redacted', '{}')); -- the first digest is that of what was written
    RETURN NEW;
END;
$$;
CREATE TRIGGER audit_logs_keep_digests BEFORE UPDATE ON audit_logs
    FOR EACH ROW WHEN (NEW.old_values IS DISTINCT FROM OLD.old_values OR NEW.new_values IS DISTINCT FROM OLD.new_values)
    EXECUTE FUNCTION app.keep_digests();

-- What several changes of one row come to: app.merge(new_values ORDER BY seq) has the last value of each field, and
-- app.merge(old_values ORDER BY seq DESC) the first.
CREATE AGGREGATE app.merge(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}', PARALLEL = SAFE);

-- The fields that the server keeps for itself say nothing to people.
CREATE FUNCTION app.kept_fields() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{id,version,created_at,updated_at,organization_deleted_at,private_projects,rights,denied,active,open}'::text[];

-- The fields that a change has changed: [{"field": ..., "old": ..., "new": ...}].
CREATE FUNCTION app.changes(before jsonb, after jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('field', f.name, 'old', before -> f.name, 'new', after -> f.name)
                                      ORDER BY f.name), '[]')
            FROM jsonb_object_keys(coalesce(before, '{}') || coalesce(after, '{}')) AS f (name)
            WHERE f.name <> ALL (app.kept_fields())
              AND coalesce(before -> f.name, 'null') <> coalesce(after -> f.name, 'null'));

-- Whether a value contains the text, whatever the case.
CREATE FUNCTION app.mentions(recorded jsonb, wanted text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN EXISTS (SELECT FROM jsonb_each_text(recorded) AS v WHERE strpos(lower(v.value), lower(wanted)) > 0);

-- For who acted, whom the reader need not share an organization with any more.
CREATE FUNCTION app.name_of(person uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.first_name || ' ' || u.last_name FROM public.users u WHERE u.id = person;
    END;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.merge, app.kept_fields, app.changes, app.mentions, app.name_of TO cairn_app;
