-- What every write pays for, made cheaper; what is allowed and what is recorded stay as they are.

-- PostgreSQL reads and compiles each CHECK anew in every statement that writes the table, at about 4 microseconds apiece:
-- more than it takes to evaluate all of them. So the rules of tasks are one function, compiled once in a connection, which
-- reports a broken rule under the name that the rule had as a constraint.
CREATE FUNCTION app.check_task(title text, description text, due_date timestamptz, estimated_hours integer,
                               actual_hours integer, tags text[], metadata jsonb, external_id text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    -- octet_length first: it reads the size of a long text from its header, char_length would fetch the text.
    broken text = CASE
        WHEN title !~ '^(?=.*\S)[^[:cntrl:]]+$' THEN 'tasks_title_text'
        WHEN octet_length(description) > 100000 AND char_length(description) > 100000 THEN 'tasks_description_length'
        WHEN due_date < '1900-01-01 00:00:00+00' OR due_date >= '10000-01-01 00:00:00+00' THEN 'tasks_due_date_range'
        WHEN estimated_hours NOT BETWEEN 0 AND 1000000 THEN 'tasks_estimated_hours_range'
        WHEN actual_hours NOT BETWEEN 0 AND 1000000 THEN 'tasks_actual_hours_range'
        WHEN tags <> '{}' AND NOT app.are_tags(tags) THEN 'tasks_tags_valid'
        WHEN jsonb_typeof(metadata) <> 'object' OR pg_column_size(metadata) > 16384 THEN 'tasks_metadata_object'
        WHEN external_id !~ '^(?=.*\S)[^[:cntrl:]]+$' THEN 'tasks_external_id_text'
    END;
BEGIN
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION 'new row for relation "tasks" violates check constraint "%"', broken
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'tasks', CONSTRAINT = broken;
    END IF;
    RETURN true;
END;
$$;
GRANT EXECUTE ON FUNCTION app.check_task TO cairn_app;
ALTER TABLE tasks
    ADD CONSTRAINT tasks_valid CHECK (app.check_task(title, description, due_date, estimated_hours, actual_hours, tags,
                                                     metadata, external_id)),
    DROP CONSTRAINT tasks_title_text,
    DROP CONSTRAINT tasks_description_length,
    DROP CONSTRAINT tasks_due_date_range,
    DROP CONSTRAINT tasks_estimated_hours_range,
    DROP CONSTRAINT tasks_actual_hours_range,
    DROP CONSTRAINT tasks_tags_valid,
    DROP CONSTRAINT tasks_metadata_object,
    DROP CONSTRAINT tasks_external_id_text;

-- As in 0012, without a sub-select in the statement that writes the entry: it would be set up for every entry.
CREATE OR REPLACE FUNCTION audit_trigger_function() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    before pg_catalog.jsonb;
    after pg_catalog.jsonb;
    entity pg_catalog.jsonb;
    change public.audit_action := 'update';
    organization pg_catalog.uuid;
    living pg_catalog.uuid; -- the same, while it is there
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
        RETURN NULL; -- update_updated_at_column() saw no change
    END IF;
    IF concat(current_setting('app.user_id', true), current_setting('app.system', true)) = '' THEN
        RAISE EXCEPTION 'a change needs an actor' USING ERRCODE = 'CA001',
            HINT = 'set app.user_id or app.system in this transaction', TABLE = TG_TABLE_NAME;
    END IF;

    IF TG_OP = 'INSERT' THEN
        change = 'create';
        after = to_jsonb(NEW) - '{password_hash,token_hash,access_version}'::pg_catalog.text[];
        entity = after;
    ELSIF TG_OP = 'DELETE' THEN
        change = 'delete';
        before = to_jsonb(OLD) - '{password_hash,token_hash,access_version}'::pg_catalog.text[];
        entity = before;
    ELSE
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
    END IF;
    organization = entity ->> CASE TG_TABLE_NAME WHEN 'organizations' THEN 'id' ELSE 'organization_id' END;
    living = organization;
    IF TG_OP = 'DELETE' THEN -- which may be with its organization
        SELECT id INTO living FROM public.organizations WHERE id = organization;
    END IF;

    INSERT INTO public.audit_logs (id, user_id, organization_id, entity_type, entity_id, action, old_values, new_values,
                                   ip_address, user_agent, metadata, created_at)
    VALUES (app.new_id(),
            nullif(current_setting('app.user_id', true), '')::pg_catalog.uuid,
            living,
            TG_TABLE_NAME,
            (entity ->> 'id')::pg_catalog.uuid,
            change, before, after,
            nullif(current_setting('app.ip', true), '')::pg_catalog.inet,
            nullif(current_setting('app.user_agent', true), ''),
            jsonb_strip_nulls(jsonb_build_object(
                'request_id', nullif(current_setting('app.request_id', true), ''),
                'actor', nullif(current_setting('app.system', true), ''),
                'token', nullif(current_setting('app.token_id', true), ''),
                'org', organization,
                'txid', txid_current())),
            clock_timestamp());
    RETURN NULL;
END;
$$;
