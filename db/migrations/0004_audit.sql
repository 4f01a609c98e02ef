-- Every change is on the record, by whom and for which request. The writer says so in transaction-local settings:
--   app.user_id        the person who acts, or
--   app.system         the name of the system actor ('migration', 'psql:root'); one of the two is required
--   app.ip, app.user_agent, app.request_id
--   app.audit_action   'login' records an update of users as a login

-- The person who acts in this transaction, or NULL. Plain SQL, so that the planner puts its body in its place.
CREATE FUNCTION app.actor() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.user_id', true), '')::uuid;

-- An insert or delete is recorded with the whole row, an update with the values that changed; password hashes never.
-- The organization's id is always in metadata.org; organization_id holds it while the organization exists.
-- clock_timestamp(): now() is when the transaction began, which says nothing about the order of changes.
-- Few and large expressions: PL/pgSQL prepares each one anew in every transaction, and most transactions are one change.
CREATE OR REPLACE FUNCTION audit_trigger_function() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb;
    after jsonb;
    entity jsonb;
    change public.audit_action := 'update';
    organization uuid;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
        RETURN NULL; -- update_updated_at_column() saw no change
    END IF;
    IF concat(current_setting('app.user_id', true), current_setting('app.system', true)) = '' THEN
        RAISE EXCEPTION 'a change needs an actor' USING ERRCODE = 'CA001',
            HINT = 'set app.user_id or app.system in this transaction', TABLE = TG_TABLE_NAME;
    END IF;

    IF TG_OP = 'UPDATE' THEN
        entity = to_jsonb(NEW);
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, entity -> o.key) INTO before, after
            FROM jsonb_each(to_jsonb(OLD)) AS o
            WHERE o.value <> entity -> o.key AND o.key <> 'updated_at';
        IF TG_TABLE_NAME = 'users' THEN
            IF after ? 'password_hash' THEN
                before = before || '{"password_hash": "[changed]"}';
                after = after || '{"password_hash": "[changed]"}';
            END IF;
            IF current_setting('app.audit_action', true) = 'login' THEN
                change = 'login';
            END IF;
        END IF;
    ELSE
        before = to_jsonb(OLD) - 'password_hash'; -- NULL if there is no OLD, or no NEW
        after = to_jsonb(NEW) - 'password_hash';
        entity = coalesce(after, before);
    END IF;
    organization = entity ->> CASE TG_TABLE_NAME WHEN 'organizations' THEN 'id' ELSE 'organization_id' END;

    INSERT INTO public.audit_logs (user_id, organization_id, entity_type, entity_id, action, old_values, new_values,
                                   ip_address, user_agent, metadata, created_at)
    VALUES (nullif(current_setting('app.user_id', true), '')::uuid,
            (SELECT id FROM public.organizations WHERE id = organization),
            TG_TABLE_NAME,
            (entity ->> 'id')::uuid,
            CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'DELETE' THEN 'delete' ELSE change END,
            before, after,
            nullif(current_setting('app.ip', true), '')::inet,
            nullif(current_setting('app.user_agent', true), ''),
            jsonb_strip_nulls(jsonb_build_object(
                'request_id', nullif(current_setting('app.request_id', true), ''),
                'actor', nullif(current_setting('app.system', true), ''),
                'org', organization,
                'txid', txid_current())),
            clock_timestamp());
    RETURN NULL;
END;
$$;

CREATE TRIGGER audit_user_profiles AFTER INSERT OR UPDATE OR DELETE ON user_profiles
    FOR EACH ROW EXECUTE FUNCTION audit_trigger_function();
CREATE TRIGGER audit_user_organizations AFTER INSERT OR UPDATE OR DELETE ON user_organizations
    FOR EACH ROW EXECUTE FUNCTION audit_trigger_function();

-- Records what is no change of a row: a login, a failed login (metadata.outcome), a logout. It cannot record anything
-- else, nor act for anybody but the actor of the transaction.
CREATE FUNCTION app.record(action audit_action, entity_type text, entity_id uuid, metadata jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF action NOT IN ('login', 'logout') OR entity_type NOT IN ('users', 'sessions') THEN
        RAISE EXCEPTION 'only logins and logouts are recorded without a change' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO public.audit_logs (user_id, entity_type, entity_id, action, ip_address, user_agent, metadata, created_at)
    VALUES (app.actor(), entity_type, entity_id, action,
            nullif(current_setting('app.ip', true), '')::inet,
            nullif(current_setting('app.user_agent', true), ''),
            metadata || jsonb_strip_nulls(jsonb_build_object(
                'request_id', nullif(current_setting('app.request_id', true), ''),
                'actor', nullif(current_setting('app.system', true), ''),
                'txid', txid_current())),
            clock_timestamp());
END;
$$;
