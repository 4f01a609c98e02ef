-- Where mails go out, an address is confirmed before anybody logs in by it, and registering does not tell whether somebody has
-- it: see docs/adr/0013-registration.md.

DROP FUNCTION app.login_credentials(text);
CREATE FUNCTION app.login_credentials(email text)
    RETURNS TABLE (id uuid, password_hash text, status user_status, email_verified boolean, second_factor boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT u.id, u.password_hash, u.status, u.email_verified, f.confirmed_at IS NOT NULL
        FROM public.users u LEFT JOIN app.second_factors f ON f.user_id = u.id
        WHERE lower(u.email) = lower(login_credentials.email);
    END;

-- Whoever has the address is told that somebody tried to register with it. Nobody else is.
CREATE FUNCTION app.refuse_registration(email text, subject text, body text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person uuid;
    address text;
BEGIN
    SELECT u.id, u.email INTO person, address
        FROM public.users u WHERE lower(u.email) = lower(refuse_registration.email) AND u.status = 'active';
    IF FOUND THEN
        PERFORM app.post_mail('registration', address, subject, body, '1 day'), app.note_event(person, 'registration_refused');
    END IF;
END;
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.login_credentials, app.refuse_registration TO cairn_app;
