-- What a row may hold. The names of these constraints are the error codes of the API: table_column_rule.

CREATE SCHEMA app;

-- A column with a default has no use for NULL: a NULL status is neither done nor not done.
ALTER TABLE users
    ALTER email_verified SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER updated_at SET NOT NULL,
    ADD version bigint NOT NULL DEFAULT 1;
ALTER TABLE user_profiles
    ALTER timezone SET NOT NULL,
    ALTER preferences SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER updated_at SET NOT NULL,
    ADD version bigint NOT NULL DEFAULT 1;
ALTER TABLE organizations
    ALTER status SET NOT NULL,
    ALTER settings SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER updated_at SET NOT NULL,
    ADD deleted_at timestamptz,
    ADD version bigint NOT NULL DEFAULT 1;
ALTER TABLE user_organizations
    ALTER permissions SET NOT NULL,
    ALTER joined_at SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER updated_at SET NOT NULL,
    ADD version bigint NOT NULL DEFAULT 1;
ALTER TABLE projects
    ALTER status SET NOT NULL,
    ALTER priority SET NOT NULL,
    ALTER metadata SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER updated_at SET NOT NULL,
    ADD external_id varchar(200),
    ADD version bigint NOT NULL DEFAULT 1;
ALTER TABLE tasks
    ALTER status SET NOT NULL,
    ALTER priority SET NOT NULL,
    ALTER tags SET NOT NULL,
    ALTER metadata SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER updated_at SET NOT NULL,
    ADD external_id varchar(200),
    ADD version bigint NOT NULL DEFAULT 1;
ALTER TABLE audit_logs
    ALTER metadata SET NOT NULL,
    ALTER created_at SET NOT NULL;
ALTER TABLE refresh_tokens
    ALTER revoked SET NOT NULL,
    ALTER created_at SET NOT NULL;

COMMENT ON COLUMN organizations.deleted_at IS 'when the organization was soft-deleted; its members no longer see it';
COMMENT ON COLUMN projects.external_id IS 'key of this project in the system it was imported from';
COMMENT ON COLUMN tasks.external_id IS 'key of this task in the system it was imported from';

-- Case must not tell two addresses apart, and lower() of non-ASCII text is not reversible: only lower-case ASCII is stored.
CREATE UNIQUE INDEX users_email_lower_key ON users (lower(email));
CREATE UNIQUE INDEX user_profiles_user_id_key ON user_profiles (user_id);
-- Rotation looks a token up by its hash and must find one at most.
CREATE UNIQUE INDEX refresh_tokens_token_hash_key ON refresh_tokens (token_hash);

-- A tag is a line of text that GIN can index: an entry must stay below a third of a page. Every statement that writes a
-- task checks this, hence simple expressions: a query in here, or a bounded repeat in a pattern, doubles the time.
CREATE FUNCTION app.are_tags(tags text[]) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    tag text;
BEGIN
    IF cardinality(tags) > 50 OR array_ndims(tags) > 1 OR array_position(tags, NULL) IS NOT NULL THEN
        RETURN false;
    END IF;
    FOREACH tag IN ARRAY tags LOOP
        IF length(tag) > 64 OR tag !~ '\S' OR tag ~ '[[:cntrl:]]' OR cardinality(array_positions(tags, tag)) > 1 THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END;
$$;

-- "Text": something other than white space, on one line.
ALTER TABLE users
    ADD CONSTRAINT users_email_format CHECK (email ~ '^[!-~]+@[!-~]+$' AND email = lower(email)),
    ADD CONSTRAINT users_first_name_text CHECK (first_name ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT users_last_name_text CHECK (last_name ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT users_password_hash_text CHECK (password_hash ~ '^[!-~]+$');

ALTER TABLE user_profiles
    ADD CONSTRAINT user_profiles_avatar_url_scheme CHECK (avatar_url ~ '^https?://[^[:space:][:cntrl:]]+$'),
    ADD CONSTRAINT user_profiles_bio_length CHECK (octet_length(bio) <= 10000 OR char_length(bio) <= 10000),
    ADD CONSTRAINT user_profiles_phone_text CHECK (phone ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT user_profiles_company_text CHECK (company ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT user_profiles_department_text CHECK (department ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT user_profiles_job_title_text CHECK (job_title ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT user_profiles_timezone_format CHECK (timezone ~ '^[A-Za-z0-9_+/-]+$'),
    ADD CONSTRAINT user_profiles_preferences_object
        CHECK (jsonb_typeof(preferences) = 'object' AND pg_column_size(preferences) <= 16384);

ALTER TABLE organizations
    ADD CONSTRAINT organizations_name_text CHECK (name ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT organizations_slug_format CHECK (slug ~ '^[a-z0-9](-?[a-z0-9])*$'),
    ADD CONSTRAINT organizations_description_length
        CHECK (octet_length(description) <= 100000 OR char_length(description) <= 100000),
    ADD CONSTRAINT organizations_logo_url_scheme CHECK (logo_url ~ '^https?://[^[:space:][:cntrl:]]+$'),
    ADD CONSTRAINT organizations_website_url_scheme CHECK (website_url ~ '^https?://[^[:space:][:cntrl:]]+$'),
    ADD CONSTRAINT organizations_industry_text CHECK (industry ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT organizations_settings_object
        CHECK (jsonb_typeof(settings) = 'object' AND pg_column_size(settings) <= 16384);

ALTER TABLE user_organizations
    ADD CONSTRAINT user_organizations_permissions_array
        CHECK (jsonb_typeof(permissions) = 'array' AND pg_column_size(permissions) <= 16384);

-- NaN is the greatest numeric and infinity the greatest date, so an upper bound keeps both out.
ALTER TABLE projects
    ADD CONSTRAINT projects_name_text CHECK (name ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT projects_description_length
        CHECK (octet_length(description) <= 100000 OR char_length(description) <= 100000),
    ADD CONSTRAINT projects_start_date_range CHECK (start_date BETWEEN '1900-01-01' AND '9999-12-31'),
    ADD CONSTRAINT projects_end_date_range CHECK (end_date BETWEEN '1900-01-01' AND '9999-12-31'),
    ADD CONSTRAINT projects_end_date_order CHECK (end_date >= start_date),
    ADD CONSTRAINT projects_budget_range CHECK (budget BETWEEN 0 AND 9999999999.99),
    ADD CONSTRAINT projects_metadata_object
        CHECK (jsonb_typeof(metadata) = 'object' AND pg_column_size(metadata) <= 16384),
    ADD CONSTRAINT projects_external_id_text CHECK (external_id ~ '^(?=.*\S)[^[:cntrl:]]+$');

-- octet_length first: it reads the size of a long text from its header, char_length would fetch the text at every update.
ALTER TABLE tasks
    ADD CONSTRAINT tasks_title_text CHECK (title ~ '^(?=.*\S)[^[:cntrl:]]+$'),
    ADD CONSTRAINT tasks_description_length
        CHECK (octet_length(description) <= 100000 OR char_length(description) <= 100000),
    ADD CONSTRAINT tasks_due_date_range
        CHECK (due_date >= '1900-01-01 00:00:00+00' AND due_date < '10000-01-01 00:00:00+00'),
    ADD CONSTRAINT tasks_estimated_hours_range CHECK (estimated_hours BETWEEN 0 AND 1000000),
    ADD CONSTRAINT tasks_actual_hours_range CHECK (actual_hours BETWEEN 0 AND 1000000),
    ADD CONSTRAINT tasks_tags_valid CHECK (tags = '{}' OR app.are_tags(tags)),
    ADD CONSTRAINT tasks_metadata_object
        CHECK (jsonb_typeof(metadata) = 'object' AND pg_column_size(metadata) <= 16384),
    ADD CONSTRAINT tasks_external_id_text CHECK (external_id ~ '^(?=.*\S)[^[:cntrl:]]+$');

-- updated_at never goes back and never repeats, whatever the clock does, so that it can order changes; version counts
-- them. Both belong to the server, and an update that changes nothing leaves both alone. The triggers' names make this
-- the last BEFORE trigger of each table.
CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = OLD.updated_at;
    NEW.version = OLD.version;
    IF NEW *<> OLD THEN
        NEW.updated_at = greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
        NEW.version = OLD.version + 1;
    END IF;
    RETURN NEW;
END;
$$;
