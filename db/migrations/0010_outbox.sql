-- Mails that are owed. A mail is queued in the transaction that causes it and gone once it is delivered or of no use any more: its text may
-- hold a token. The runtime role reaches it through the functions below only.
CREATE TABLE app.mails (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    to_address text CONSTRAINT mails_to_address_format CHECK (to_address ~ '^[!-~]+@[!-~]+$'),
    subject text NOT NULL,
    body text NOT NULL,
    kind text NOT NULL CONSTRAINT mails_kind_format CHECK (kind ~ '^[a-z_]{1,40}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text
);
CREATE INDEX mails_next_attempt_at_idx ON app.mails (next_attempt_at);
COMMENT ON COLUMN app.mails.to_address IS 'NULL: to nobody, see app.request_reset';

CREATE FUNCTION app.post_mail(kind text, to_address text, subject text, body text, good_for interval) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF concat(current_setting('app.user_id', true), current_setting('app.system', true)) = '' THEN
        RAISE EXCEPTION 'a mail needs an actor' USING ERRCODE = 'CA001', TABLE = 'mails';
    END IF;
    INSERT INTO app.mails (kind, to_address, subject, body, expires_at)
    VALUES (kind, to_address, subject, body, clock_timestamp() + good_for);
END;
$$;

-- The next mail that is due, for as long as the lease lasts nobody else's. The lease is committed, so a worker that dies
-- holds no transaction, and the mail is taken up again when the lease is over.
CREATE FUNCTION app.take_mail(lease interval) RETURNS SETOF app.mails
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        UPDATE app.mails m SET attempts = m.attempts + 1, next_attempt_at = clock_timestamp() + take_mail.lease
        WHERE m.id = (SELECT due.id FROM app.mails due WHERE due.next_attempt_at <= clock_timestamp()
                      ORDER BY due.next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING m.*;
    END;

CREATE FUNCTION app.mail_done(id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        DELETE FROM app.mails m WHERE m.id = mail_done.id;
    END;

-- False when the mail is given up, because it would be of no use by then.
CREATE FUNCTION app.mail_failed(id uuid, error text, retry_after interval) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.mails m SET last_error = error, next_attempt_at = clock_timestamp() + retry_after
        WHERE m.id = mail_failed.id AND m.expires_at > clock_timestamp() + retry_after;
    IF NOT FOUND THEN
        DELETE FROM app.mails m WHERE m.id = mail_failed.id;
        RETURN false;
    END IF;
    RETURN true;
END;
$$;

ALTER TABLE app.mails ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON app.mails TO current_user USING (true);
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.post_mail, app.take_mail, app.mail_done, app.mail_failed TO cairn_app;
