-- Proof that the record is what it was: checkpoints, each a signed hash over the entries since the one before, and the
-- comparison of the record with the tables. Used by `cairn audit`; reasons: docs/adr/0010.

-- What is taken off an entry leaves a digest of what was there (see app.keep_digests in 0020); so do addresses and programs.
CREATE FUNCTION app.origin_digest(address inet, agent text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(sha256(convert_to(jsonb_build_array(host(address), agent)::text, 'UTF8')), 'hex');
CREATE FUNCTION app.keep_origin() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.metadata = jsonb_set(NEW.metadata, '{redacted}',
        jsonb_build_object('origin', app.origin_digest(OLD.ip_address, OLD.user_agent))
        || coalesce(NEW.metadata -> 'redacted', '{}') || coalesce(OLD.metadata -> 'redacted', '{}'));
    RETURN NEW;
END;
$$;
CREATE TRIGGER audit_logs_keep_origin BEFORE UPDATE ON audit_logs
    FOR EACH ROW WHEN (NEW.ip_address IS DISTINCT FROM OLD.ip_address OR NEW.user_agent IS DISTINCT FROM OLD.user_agent)
    EXECUTE FUNCTION app.keep_origin();

-- Of everything that an entry says. organization_id is not part of it, because it ends with the organization; metadata.org
-- says the same and stays.
CREATE FUNCTION app.entry_digest(entry audit_logs) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256(convert_to(jsonb_build_array(
        (entry).id, (entry).xid::text, (entry).seq, (entry).user_id, (entry).entity_type, (entry).entity_id, (entry).action,
        (extract(epoch FROM (entry).created_at) * 1000000)::bigint, (entry).metadata - 'redacted',
        coalesce((entry).metadata #>> '{redacted,old}', encode(sha256(convert_to((entry).old_values::text, 'UTF8')), 'hex')),
        coalesce((entry).metadata #>> '{redacted,new}', encode(sha256(convert_to((entry).new_values::text, 'UTF8')), 'hex')),
        coalesce((entry).metadata #>> '{redacted,origin}', app.origin_digest((entry).ip_address, (entry).user_agent))
    )::text, 'UTF8'));

-- Checkpoints cover the record without a gap: each the transactions from `since` on and below `before`, all of which had
-- ended when it was made. `previous` is the SHA-256 of what was signed in the one before and its signature.
CREATE TABLE app.checkpoints (
    number bigint CONSTRAINT checkpoints_pkey PRIMARY KEY CONSTRAINT checkpoints_number_positive CHECK (number > 0),
    made_at timestamptz NOT NULL,
    since xid8 NOT NULL,
    before xid8 NOT NULL,
    entries bigint NOT NULL,
    digest bytea NOT NULL CONSTRAINT checkpoints_digest_size CHECK (octet_length(digest) = 32),
    previous bytea NOT NULL CONSTRAINT checkpoints_previous_size CHECK (octet_length(previous) = 32),
    public_key bytea NOT NULL CONSTRAINT checkpoints_public_key_size CHECK (octet_length(public_key) = 32),
    signature bytea NOT NULL CONSTRAINT checkpoints_signature_size CHECK (octet_length(signature) = 64)
);

-- What is signed. The signature is Ed25519.
CREATE FUNCTION app.checkpoint_text(number bigint, made_at timestamptz, since xid8, before xid8, entries bigint, digest bytea,
                                    previous bytea) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN format(E'cairn checkpoint 1\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n', number,
                  (extract(epoch FROM made_at) * 1000000)::bigint, since, before, entries, encode(digest, 'hex'),
                  encode(previous, 'hex'));

-- The next checkpoint, not signed yet; nothing when there is nothing new, or somebody else is making it.
CREATE FUNCTION app.next_checkpoint(OUT number bigint, OUT made_at timestamptz, OUT since xid8, OUT before xid8,
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
    SELECT count(*), sha256(coalesce(string_agg(app.entry_digest(a), '' ORDER BY a.xid, a.seq), '')) INTO entries, digest
        FROM public.audit_logs a WHERE a.xid >= since AND a.xid < before;
    IF entries = 0 THEN
        RETURN;
    END IF;
    previous = sha256(coalesce(convert_to(app.checkpoint_text(last.number, last.made_at, last.since, last.before, last.entries,
                                                              last.digest, last.previous), 'UTF8') || last.signature, ''));
    signed = app.checkpoint_text(number, made_at, since, before, entries, digest, previous);
    RETURN NEXT;
END;
$$;

CREATE FUNCTION app.add_checkpoint(number bigint, made_at timestamptz, since xid8, before xid8, entries bigint, digest bytea,
                                   previous bytea, public_key bytea, signature bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        INSERT INTO app.checkpoints (number, made_at, since, before, entries, digest, previous, public_key, signature)
        VALUES (number, made_at, since, before, entries, digest, previous, public_key, signature);
    END;

-- Each checkpoint with what the record yields now. One pass over the record, however many there are.
CREATE FUNCTION app.checked_checkpoints(OUT number bigint, OUT made_at timestamptz, OUT since xid8, OUT before xid8,
                                        OUT entries bigint, OUT digest bytea, OUT previous bytea, OUT public_key bytea,
                                        OUT signature bytea, OUT signed text, OUT entries_now bigint, OUT digest_now bytea)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH bounds AS (SELECT array_agg(c.since ORDER BY c.since) AS since FROM app.checkpoints c),
        now AS (
            SELECT width_bucket(a.xid, b.since) AS bucket, count(*) AS entries,
                   sha256(string_agg(app.entry_digest(a), '' ORDER BY a.xid, a.seq)) AS digest
            FROM public.audit_logs a, bounds b
            WHERE a.xid < (SELECT max(c.before) FROM app.checkpoints c)
            GROUP BY 1)
        SELECT c.number, c.made_at, c.since, c.before, c.entries, c.digest, c.previous, c.public_key, c.signature,
               app.checkpoint_text(c.number, c.made_at, c.since, c.before, c.entries, c.digest, c.previous),
               coalesce(n.entries, 0), coalesce(n.digest, sha256(''))
        FROM (SELECT c.*, row_number() OVER (ORDER BY c.since) AS bucket FROM app.checkpoints c) AS c
        LEFT JOIN now n ON n.bucket = c.bucket
        ORDER BY c.number;
    END;

-- Everything in which the record contradicts itself or the tables. For the owner, who sees all of both.
CREATE FUNCTION app.record_problems() RETURNS TABLE (entity_type text, entity_id uuid, seq bigint, problem text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    audited record;
    -- Not on the record, or not as they are.
    hidden CONSTANT text[] := '{updated_at,password_hash,token_hash,access_version}';
BEGIN
    FOR audited IN
        SELECT t.tgrelid::regclass AS name, c.relname::text AS type FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE t.tgfoid = 'public.audit_trigger_function'::regproc ORDER BY c.relname
    LOOP
        -- What the changes of each row since it was last created come to, against the row.
        RETURN QUERY EXECUTE format($query$
            WITH lives AS (
                SELECT a.entity_id, max(a.seq) FILTER (WHERE a.action = 'create') AS created,
                       max(a.seq) FILTER (WHERE a.action = 'delete') AS deleted
                FROM public.audit_logs a WHERE a.entity_type = %1$L GROUP BY a.entity_id),
            replayed AS (
                SELECT a.entity_id, app.merge(a.new_values ORDER BY a.seq) - $1 AS state
                FROM public.audit_logs a JOIN lives l ON l.entity_id = a.entity_id AND a.seq >= l.created
                WHERE a.entity_type = %1$L AND a.new_values IS NOT NULL AND (l.deleted IS NULL OR l.created > l.deleted)
                GROUP BY a.entity_id),
            there AS (SELECT t.id, to_jsonb(t) - $1 AS state FROM %2$s t)
            SELECT %1$L, coalesce(r.entity_id, t.id), NULL::bigint,
                   CASE WHEN t.id IS NULL THEN 'is on the record and not there'
                        WHEN r.entity_id IS NULL THEN 'is there and not on the record'
                        ELSE 'is not as on the record: ' || (
                            SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(r.state) AS k
                            WHERE r.state -> k <> t.state -> k) END
            FROM replayed r FULL JOIN there t ON t.id = r.entity_id
            WHERE t.id IS NULL OR r.entity_id IS NULL
               -- A column may be younger than the record, or older.
               OR EXISTS (SELECT FROM jsonb_object_keys(r.state) AS k WHERE r.state -> k <> t.state -> k)$query$, audited.type, audited.name) USING hidden;

        -- What each change says was there before, against what the changes before it left there.
        RETURN QUERY EXECUTE format($query$
            SELECT %1$L, f.entity_id, f.seq, 'does not follow from the entry before: ' || string_agg(f.key, ', ' ORDER BY f.key)
            FROM (SELECT a.entity_id, a.seq, a.action, k.key, a.old_values -> k.key AS old,
                         lag(a.new_values -> k.key) OVER w AS before,
                         a.metadata ? 'redacted' OR coalesce(lag(a.metadata ? 'redacted') OVER w, false) AS redacted
                  FROM public.audit_logs a, jsonb_object_keys(coalesce(a.new_values, a.old_values)) AS k (key)
                  WHERE a.entity_type = %1$L AND k.key <> ALL ($1)
                  WINDOW w AS (PARTITION BY a.entity_id, k.key ORDER BY a.seq)) AS f
            WHERE NOT f.redacted AND f.before IS NOT NULL AND f.old IS DISTINCT FROM f.before AND f.action <> 'create'
            GROUP BY f.entity_id, f.seq$query$, audited.type) USING hidden;

        -- Each row begins once, and ends once at most before it begins again.
        RETURN QUERY
            SELECT a.entity_type::text, a.entity_id, a.seq,
                   CASE a.action WHEN 'create' THEN 'is created and there already' ELSE 'is changed and not there' END
            FROM (SELECT e.*, lag(e.action) OVER (PARTITION BY e.entity_id ORDER BY e.seq) AS before FROM public.audit_logs e
                  WHERE e.entity_type = audited.type AND coalesce(e.new_values, e.old_values) IS NOT NULL) AS a
            WHERE (a.action = 'create') <> (a.before IS NULL OR a.before = 'delete');
    END LOOP;

    -- The organization of an entry, as a column and as a fact.
    RETURN QUERY
        SELECT a.entity_type::text, a.entity_id, a.seq, 'belongs to another organization than it says'
        FROM public.audit_logs a WHERE a.organization_id IS NOT NULL AND a.metadata ->> 'org' <> a.organization_id::text;

    -- Only two things take anything off the record: a person who leaves, and the end of the trash.
    RETURN QUERY
        SELECT a.entity_type::text, a.entity_id, a.seq, 'is redacted without a reason'
        FROM public.audit_logs a
        WHERE (a.metadata -> 'redacted') ?| '{old,new}'
          AND NOT CASE
              WHEN a.entity_type = 'users' THEN EXISTS (
                  SELECT FROM public.users u WHERE u.id = a.entity_id AND u.email = 'deleted-' || u.id || '@deleted.invalid')
              WHEN a.entity_type = 'user_profiles' THEN EXISTS (
                  SELECT FROM public.user_profiles p JOIN public.users u ON u.id = p.user_id
                  WHERE p.id = a.entity_id AND u.email = 'deleted-' || u.id || '@deleted.invalid')
              WHEN a.entity_type IN ('projects', 'tasks') THEN EXISTS (
                  SELECT FROM public.audit_logs d WHERE d.entity_type = a.entity_type AND d.entity_id = a.entity_id
                  AND d.action = 'delete' AND d.seq >= a.seq AND d.created_at < now() - interval '29 days')
              ELSE false END
        UNION ALL
        SELECT a.entity_type::text, a.entity_id, a.seq, 'has lost its address without a reason'
        FROM public.audit_logs a
        WHERE (a.metadata -> 'redacted') ? 'origin'
          AND NOT EXISTS (SELECT FROM public.users u WHERE u.id = a.user_id AND u.email = 'deleted-' || u.id || '@deleted.invalid'
                          AND a.ip_address IS NULL AND a.user_agent IS NULL);
END;
$$;

ALTER TABLE app.checkpoints ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON app.checkpoints TO current_user USING (true);
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.next_checkpoint, app.add_checkpoint TO cairn_app;
