-- What was mailed to prove an address, second factors, the first administrator, and the end of an account.
-- None of these tables is for the runtime role: it calls the functions, which act for the actor of the transaction.

-- What happened to an account without changing its row, for the record.
CREATE FUNCTION app.note_event(person uuid, event text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.audit_logs (user_id, entity_type, entity_id, action, ip_address, user_agent, metadata, created_at)
    VALUES (app.actor(), 'users', person, 'update',
            nullif(current_setting('app.ip', true), '')::inet,
            nullif(current_setting('app.user_agent', true), ''),
            jsonb_strip_nulls(jsonb_build_object(
                'event', event,
                'request_id', nullif(current_setting('app.request_id', true), ''),
                'actor', nullif(current_setting('app.system', true), ''),
                'txid', txid_current())),
            clock_timestamp());
END;
$$;

-- Mailed tokens ----------------------------------------------------------------------------------------------------------

-- One of each purpose per person, so a new request makes the token before worthless; using one deletes it, which happens
-- once. Redis has the same digests under verify:email: and reset:password:, but it is this table that decides: nothing
-- comes back to life with an old snapshot of Redis, and nothing is lost with it. No foreign key: see app.request_reset.
CREATE TABLE app.mail_tokens (
    user_id uuid NOT NULL,
    purpose text NOT NULL CONSTRAINT mail_tokens_purpose_known CHECK (purpose IN ('verification', 'reset')),
    token_hash bytea NOT NULL CONSTRAINT mail_tokens_token_hash_size CHECK (octet_length(token_hash) = 32),
    email text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT mail_tokens_pkey PRIMARY KEY (user_id, purpose),
    CONSTRAINT mail_tokens_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX mail_tokens_expires_at_idx ON app.mail_tokens (expires_at);
COMMENT ON COLUMN app.mail_tokens.email IS 'the address that the mail went to; of a verification perhaps one to change to';

CREATE FUNCTION app.put_mail_token(user_id uuid, purpose text, token_hash bytea, email text, good_for interval)
    RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        DELETE FROM app.mail_tokens t WHERE t.expires_at < clock_timestamp();
        INSERT INTO app.mail_tokens AS t (user_id, purpose, token_hash, email, expires_at)
        VALUES (put_mail_token.user_id, put_mail_token.purpose, put_mail_token.token_hash, put_mail_token.email,
                clock_timestamp() + put_mail_token.good_for)
        ON CONFLICT ON CONSTRAINT mail_tokens_pkey DO UPDATE
            SET token_hash = excluded.token_hash, email = excluded.email, expires_at = excluded.expires_at;
    END;

CREATE FUNCTION app.begin_verification(token_hash bytea, email text, good_for interval) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF app.actor() IS NULL THEN
        RAISE EXCEPTION 'nobody to verify' USING ERRCODE = 'CA001', TABLE = 'mail_tokens';
    END IF;
    PERFORM app.put_mail_token(app.actor(), 'verification', token_hash, email, good_for);
END;
$$;

-- For whoever gives an address. The answer and the work are the same whether or not anybody has it: what would go to nobody
-- is queued for nobody (the worker throws it away), and the token is that of a person who does not exist.
CREATE FUNCTION app.request_reset(email text, token_hash bytea, subject text, body text, good_for interval) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person uuid;
    address text;
BEGIN
    IF coalesce(current_setting('app.system', true), '') = '' THEN
        RAISE EXCEPTION 'a mail needs an actor' USING ERRCODE = 'CA001', TABLE = 'mails';
    END IF;
    SELECT u.id, u.email INTO person, address
        FROM public.users u WHERE lower(u.email) = lower(request_reset.email) AND u.status = 'active';
    PERFORM app.put_mail_token(coalesce(person, gen_random_uuid()), 'reset', token_hash, coalesce(address, ''), good_for);
    INSERT INTO app.mails (kind, to_address, subject, body, expires_at)
    VALUES ('reset', address, subject, body, clock_timestamp() + good_for);
    PERFORM app.note_event(coalesce(person, '00000000-0000-0000-0000-000000000000'), 'password_reset_requested');
END;
$$;

-- Whose a token is: what follows goes on as that person, who has just proved to read the mail.
CREATE FUNCTION app.mail_token_owner(purpose text, token_hash bytea) RETURNS TABLE (user_id uuid, email text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT t.user_id, t.email FROM app.mail_tokens t
        WHERE t.purpose = mail_token_owner.purpose AND t.token_hash = mail_token_owner.token_hash
          AND t.expires_at > clock_timestamp();
    END;

-- The address that the actor has proved with it, or NULL. Of two at once, the second waits for the first and gets NULL.
CREATE FUNCTION app.use_mail_token(purpose text, token_hash bytea) RETURNS text
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        DELETE FROM app.mail_tokens t
        WHERE t.user_id = app.actor() AND t.purpose = use_mail_token.purpose AND t.token_hash = use_mail_token.token_hash
          AND t.expires_at > clock_timestamp()
        RETURNING t.email;
    END;

-- Tokens end with what they were about.
CREATE FUNCTION app.end_mail_tokens() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.mail_tokens WHERE user_id = NEW.id;
    RETURN NULL;
END;
$$;
-- A hash of the same password with today's parameters (app.rehash) ends nothing; a new address ends sessions too.
CREATE TRIGGER users_end_mail_tokens AFTER UPDATE OF status, password_hash, email ON users
    FOR EACH ROW WHEN (NEW.status <> 'active' OR NEW.email <> OLD.email
                       OR NEW.password_hash <> OLD.password_hash
                          AND current_setting('app.rehash', true) IS DISTINCT FROM 'true')
    EXECUTE FUNCTION app.end_mail_tokens();
DROP TRIGGER users_end_sessions ON users;
CREATE TRIGGER users_end_sessions AFTER UPDATE OF status, password_hash, email ON users
    FOR EACH ROW WHEN (NEW.status <> 'active' OR NEW.email <> OLD.email
                       OR NEW.password_hash <> OLD.password_hash
                          AND current_setting('app.rehash', true) IS DISTINCT FROM 'true')
    EXECUTE FUNCTION app.end_sessions();

-- The actor's own, to prove again who is there before something grave.
CREATE FUNCTION app.own_credentials() RETURNS TABLE (email text, password_hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.email, u.password_hash FROM public.users u WHERE u.id = app.actor();
    END;

-- Second factors -------------------------------------------------------------------------------------------------------

-- TOTP (RFC 6238). Not confirmed: not asked for yet. last_step is the step of the last code used, none of which counts twice.
CREATE TABLE app.second_factors (
    user_id uuid CONSTRAINT second_factors_pkey PRIMARY KEY
        CONSTRAINT second_factors_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    secret bytea NOT NULL CONSTRAINT second_factors_secret_size CHECK (octet_length(secret) = 20),
    confirmed_at timestamptz,
    last_step bigint NOT NULL DEFAULT 0,
    wrong_codes integer NOT NULL DEFAULT 0,
    locked_until timestamptz NOT NULL DEFAULT '-infinity'
);
-- SHA-256 of what has 80 random bits.
CREATE TABLE app.recovery_codes (
    user_id uuid NOT NULL CONSTRAINT recovery_codes_user_id_fkey
        REFERENCES app.second_factors (user_id) ON DELETE CASCADE,
    code_hash bytea NOT NULL CONSTRAINT recovery_codes_code_hash_size CHECK (octet_length(code_hash) = 32),
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, code_hash)
);

CREATE FUNCTION app.login_credentials(email text)
    RETURNS TABLE (id uuid, password_hash text, status user_status, second_factor boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.id, u.password_hash, u.status, f.confirmed_at IS NOT NULL
        FROM public.users u LEFT JOIN app.second_factors f ON f.user_id = u.id
        WHERE lower(u.email) = lower(login_credentials.email);
    END;

CREATE FUNCTION app.second_factor_state() RETURNS TABLE (confirmed_at timestamptz, recovery_codes_left integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT f.confirmed_at, (SELECT count(*) FROM app.recovery_codes c WHERE c.user_id = f.user_id)::integer
        FROM app.second_factors f WHERE f.user_id = app.actor();
    END;

-- False when there is a confirmed one, which has to be removed first.
CREATE FUNCTION app.begin_second_factor(secret bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.second_factors AS f (user_id, secret) VALUES (app.actor(), begin_second_factor.secret)
        ON CONFLICT ON CONSTRAINT second_factors_pkey DO UPDATE SET secret = excluded.secret WHERE f.confirmed_at IS NULL;
    RETURN FOUND;
END;
$$;

-- Locked until the end of the transaction: guesses made at the same time take turns.
CREATE FUNCTION app.second_factor() RETURNS TABLE (secret bytea, confirmed boolean, last_step bigint, locked_seconds integer)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT f.secret, f.confirmed_at IS NOT NULL, f.last_step,
               greatest(0, ceil(extract(epoch FROM greatest(f.locked_until, '1970-01-01') - clock_timestamp())))::integer
        FROM app.second_factors f WHERE f.user_id = app.actor() FOR UPDATE;
    END;

CREATE FUNCTION app.use_step(step bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.second_factors f SET last_step = step, wrong_codes = 0
        WHERE f.user_id = app.actor() AND f.last_step < step;
    RETURN FOUND;
END;
$$;

CREATE FUNCTION app.use_recovery_code(code_hash bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.recovery_codes c WHERE c.user_id = app.actor() AND c.code_hash = use_recovery_code.code_hash;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE app.second_factors f SET wrong_codes = 0 WHERE f.user_id = app.actor();
    PERFORM app.note_event(app.actor(), 'recovery_code_used');
    RETURN true;
END;
$$;

-- The tenth wrong code in a row locks for a quarter of an hour.
CREATE FUNCTION app.refuse_code() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.second_factors f SET
        wrong_codes = CASE WHEN f.wrong_codes >= 9 THEN 0 ELSE f.wrong_codes + 1 END,
        locked_until = CASE WHEN f.wrong_codes >= 9 THEN clock_timestamp() + interval '15 minutes' ELSE f.locked_until END
        WHERE f.user_id = app.actor();
    PERFORM app.record('login', 'users', app.actor(), '{"outcome": "failure", "factor": "second"}');
END;
$$;

-- `code_hashes`: of the recovery codes, 32 bytes each.
CREATE FUNCTION app.confirm_second_factor(step bigint, code_hashes bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.second_factors f SET confirmed_at = clock_timestamp(), last_step = step, wrong_codes = 0
        WHERE f.user_id = app.actor() AND f.confirmed_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO app.recovery_codes (user_id, code_hash)
        SELECT app.actor(), substring(code_hashes FROM n * 32 + 1 FOR 32)
        FROM generate_series(0, octet_length(code_hashes) / 32 - 1) AS n;
    PERFORM app.note_event(app.actor(), 'second_factor_added');
    RETURN true;
END;
$$;

CREATE FUNCTION app.remove_second_factor() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.second_factors f WHERE f.user_id = app.actor();
    PERFORM app.note_event(app.actor(), 'second_factor_removed');
END;
$$;

-- The first administrator ------------------------------------------------------------------------------------------------

-- Of the links that were logged, on any server, while there was nobody.
CREATE TABLE app.setup_tokens (
    token_hash bytea CONSTRAINT setup_tokens_pkey PRIMARY KEY
        CONSTRAINT setup_tokens_token_hash_size CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Whether there is nobody yet, and the token therefore good. For whoever starts a server.
CREATE FUNCTION app.open_setup(token_hash bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM public.users) THEN
        RETURN false;
    END IF;
    INSERT INTO app.setup_tokens (token_hash) VALUES (open_setup.token_hash);
    RETURN true;
END;
$$;

CREATE FUNCTION app.setup_is_open() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN EXISTS (SELECT FROM app.setup_tokens) AND NOT EXISTS (SELECT FROM public.users);

CREATE FUNCTION app.setup_accepts(token_hash bytea) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    RETURN EXISTS (SELECT FROM app.setup_tokens t WHERE t.token_hash = setup_accepts.token_hash)
           AND NOT EXISTS (SELECT FROM public.users);

-- Makes the actor, who does not exist yet, the first administrator; once. The lock comes after the questions, so that it
-- can only be asked for where nobody would have to wait for it.
CREATE FUNCTION app.set_up(token_hash bytea, email text, password_hash text, first_name text, last_name text)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT app.setup_accepts(token_hash) THEN
        RETURN false;
    END IF;
    LOCK TABLE public.users IN SHARE ROW EXCLUSIVE MODE;
    IF NOT app.setup_accepts(token_hash) THEN
        RETURN false;
    END IF;
    INSERT INTO public.users (id, email, password_hash, first_name, last_name, role, email_verified)
        VALUES (app.actor(), email, password_hash, first_name, last_name, 'admin', true);
    INSERT INTO public.user_profiles (user_id) VALUES (app.actor());
    DELETE FROM app.setup_tokens;
    RETURN true;
END;
$$;

-- The end of an account -------------------------------------------------------------------------------------------------

-- People whose addresses and programs are still to be taken off the entries that they caused.
CREATE TABLE app.redactions (
    user_id uuid CONSTRAINT redactions_pkey PRIMARY KEY
        CONSTRAINT redactions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE
);

-- What was personal and is not any more; `final` has what is there now, which replaying the record must still yield.
CREATE FUNCTION app.redacted(recorded jsonb, final jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
    RETURN (SELECT coalesce(jsonb_object_agg(r.key, CASE WHEN final ? r.key AND r.value <> 'null' AND r.value <> final -> r.key
                                                         THEN '"[redacted]"' ELSE r.value END), recorded)
            FROM jsonb_each(recorded) AS r);

-- The actor leaves for good: personal data goes from the account, the profile and the record; what the person did in the
-- organizations stays, by an id without a name. An organization of that person alone goes too; one that would be left
-- without an owner keeps the person from going.
CREATE FUNCTION app.deactivate() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person uuid := app.actor();
    address text;
    final jsonb;
BEGIN
    PERFORM FROM public.organizations o
        WHERE o.id IN (SELECT organization_id FROM public.user_organizations WHERE user_id = person)
        ORDER BY o.id FOR NO KEY UPDATE;
    UPDATE public.organizations o SET deleted_at = clock_timestamp()
        WHERE o.deleted_at IS NULL
          AND EXISTS (SELECT FROM public.user_organizations m WHERE m.organization_id = o.id AND m.user_id = person)
          AND NOT EXISTS (SELECT FROM public.user_organizations m WHERE m.organization_id = o.id AND m.user_id <> person);
    IF EXISTS (SELECT FROM public.user_organizations m JOIN public.organizations o ON o.id = m.organization_id
               WHERE m.user_id = person AND m.role = 'owner' AND o.deleted_at IS NULL
                 AND NOT EXISTS (SELECT FROM public.user_organizations other WHERE other.organization_id = o.id
                                 AND other.role = 'owner' AND other.user_id <> person)) THEN
        RAISE EXCEPTION 'an organization must keep an owner' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'user_organizations_last_owner', TABLE = 'user_organizations', SCHEMA = 'public';
    END IF;
    DELETE FROM public.user_organizations WHERE user_id = person;

    SELECT u.email INTO address FROM public.users u WHERE u.id = person;
    UPDATE public.users SET email = 'deleted-' || person || '@deleted.invalid', first_name = 'Deleted', last_name = 'user',
                            password_hash = '!', status = 'inactive', email_verified = false
        WHERE id = person;
    UPDATE public.user_profiles SET avatar_url = NULL, bio = NULL, phone = NULL, company = NULL, department = NULL,
                                    job_title = NULL, timezone = 'UTC', preferences = '{}'
        WHERE user_id = person;
    DELETE FROM app.second_factors WHERE user_id = person;
    DELETE FROM app.mails WHERE to_address = address;

    SELECT jsonb_build_object('email', email, 'first_name', first_name, 'last_name', last_name) INTO final
        FROM public.users WHERE id = person;
    UPDATE public.audit_logs a
        SET old_values = app.redacted(old_values, final), new_values = app.redacted(new_values, final)
        WHERE a.entity_type = 'users' AND a.entity_id = person;
    UPDATE public.audit_logs a
        SET old_values = app.redacted(a.old_values, p.final), new_values = app.redacted(a.new_values, p.final)
        FROM (SELECT id, to_jsonb(u) - '{id,user_id,created_at,updated_at,version}'::text[] AS final
              FROM public.user_profiles u WHERE user_id = person) AS p
        WHERE a.entity_type = 'user_profiles' AND a.entity_id = p.id;
    INSERT INTO app.redactions (user_id) VALUES (person);
END;
$$;

-- Takes addresses and programs off some of the entries of somebody who left; whether there was anything to do. In pieces,
-- because there may be a million of them.
CREATE FUNCTION app.redact_some() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person uuid;
BEGIN
    SELECT user_id INTO person FROM app.redactions LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE public.audit_logs SET ip_address = NULL, user_agent = NULL
        WHERE id IN (SELECT id FROM public.audit_logs
                     WHERE user_id = person AND (ip_address IS NOT NULL OR user_agent IS NOT NULL) LIMIT 1000);
    IF NOT FOUND THEN
        DELETE FROM app.redactions WHERE user_id = person;
    END IF;
    RETURN true;
END;
$$;

-- Policies and privileges -----------------------------------------------------------------------------------------------

DO $$
DECLARE
    name regclass;
BEGIN
    FOREACH name IN ARRAY '{app.mail_tokens, app.second_factors, app.recovery_codes, app.setup_tokens,
                            app.redactions}'::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner ON %s TO current_user USING (true)', name);
    END LOOP;
END;
$$;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.begin_verification, app.request_reset, app.mail_token_owner, app.use_mail_token,
                          app.own_credentials, app.login_credentials, app.second_factor_state, app.begin_second_factor,
                          app.second_factor, app.use_step, app.use_recovery_code, app.refuse_code,
                          app.confirm_second_factor, app.remove_second_factor, app.setup_is_open, app.setup_accepts,
                          app.set_up, app.deactivate, app.redact_some TO cairn_app;
REVOKE EXECUTE ON FUNCTION app.credentials FROM cairn_app;
