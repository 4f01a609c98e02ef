-- Secrets of second factors are sealed with a key that is not in the database. An administrator takes a factor off for
-- whoever has lost it.

ALTER TABLE app.second_factors
    DROP CONSTRAINT second_factors_secret_size,
    ADD CONSTRAINT second_factors_secret_size CHECK (octet_length(secret) BETWEEN 20 AND 100);
COMMENT ON COLUMN app.second_factors.secret IS 'sealed; of 20 bytes: from before, not sealed until it is used next';

-- The same secret, sealed.
CREATE FUNCTION app.seal_second_factor(secret bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        UPDATE app.second_factors f SET secret = seal_second_factor.secret
            WHERE f.user_id = app.actor() AND octet_length(f.secret) = 20;
    END;

-- False when there is nobody like that. Sessions end with the factor: whoever had it may not be whom it is taken off for.
CREATE FUNCTION app.drop_second_factor(person uuid) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM public.users u WHERE u.id = person FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM app.second_factors WHERE user_id = person;
    IF FOUND THEN
        PERFORM app.note_event(person, 'second_factor_removed'), app.end_access(person);
    END IF;
    RETURN true;
END;
$$;
CREATE FUNCTION app.administer_second_factor(person uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.administer();
    IF person = app.actor() THEN
        RAISE EXCEPTION 'nobody takes their own second factor off like this' USING ERRCODE = 'insufficient_privilege',
            CONSTRAINT = 'users_role_own', TABLE = 'users', SCHEMA = 'public';
    END IF;
    RETURN app.drop_second_factor(person);
END;
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.seal_second_factor, app.administer_second_factor TO cairn_app;
