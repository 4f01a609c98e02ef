-- What tests of everything with everything have found.

-- Assignments -----------------------------------------------------------------------------------------------------------

-- Who is assigned a task sees it, also when both change at once: whoever takes sight away waits for assignments that are
-- under way, and an assignment looks again once nobody can take it away any more.

CREATE OR REPLACE FUNCTION app.visibility_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.renew_access(ARRAY(SELECT user_id FROM public.project_members WHERE project_id = NEW.id));
    IF NEW.visibility = 'private' THEN
        PERFORM FROM public.projects WHERE id = NEW.id FOR UPDATE;
        PERFORM app.unassign_hidden(NEW.organization_id, NEW.id, NULL);
    END IF;
    RETURN NULL;
END;
$$;
CREATE OR REPLACE FUNCTION app.sight_lost() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- As the foreign key of an assignment has it locked, only against that.
    PERFORM FROM public.user_organizations
        WHERE organization_id = OLD.organization_id AND user_id = OLD.user_id FOR UPDATE;
    PERFORM app.unassign_hidden(OLD.organization_id,
                                CASE TG_TABLE_NAME WHEN 'project_members' THEN (to_jsonb(OLD) ->> 'project_id')::uuid END,
                                OLD.user_id);
    RETURN NULL;
END;
$$;

-- After the foreign keys, whose triggers come first by name: they have the assignee's membership locked by then.
CREATE FUNCTION app.check_assignee() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM public.projects WHERE id = NEW.project_id FOR KEY SHARE;
    IF NOT app.sees_project(NEW.assigned_to, NEW.project_id) THEN
        RAISE EXCEPTION 'who is assigned a task must see it' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'tasks_assignee_sees_project', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER tasks_assignee_of_insert AFTER INSERT ON tasks
    FOR EACH ROW WHEN (NEW.assigned_to IS NOT NULL) EXECUTE FUNCTION app.check_assignee();
CREATE TRIGGER tasks_assignee_of_update AFTER UPDATE OF assigned_to ON tasks
    FOR EACH ROW WHEN (NEW.assigned_to IS NOT NULL AND NEW.assigned_to IS DISTINCT FROM OLD.assigned_to)
    EXECUTE FUNCTION app.check_assignee();

-- Refresh tokens --------------------------------------------------------------------------------------------------------

-- As in 0012; besides, a family that has ended has nothing left to protect. A device lives on without one when its owner
-- changes the password there: the token of before is refused, and that is all.
CREATE OR REPLACE FUNCTION app.use_refresh_token(hash text, grace interval)
    RETURNS TABLE (user_id uuid, device_id uuid, token_id uuid, salt bytea, expires_at timestamptz, rotated boolean,
                   reused boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    family uuid;
BEGIN
    SELECT t.user_id, t.id, l.family_id INTO user_id, token_id, family
        FROM public.refresh_tokens t JOIN app.refresh_token_lineage l ON l.token_id = t.id WHERE t.token_hash = hash;
    PERFORM FROM public.users u WHERE u.id = use_refresh_token.user_id FOR SHARE;
    SELECT d.id, d.salt, d.expires_at INTO device_id, salt, expires_at
        FROM app.devices d WHERE d.id = family AND d.expires_at > now() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM set_config('app.user_id', user_id::text, true), set_config('app.system', '', true);

    UPDATE public.refresh_tokens t SET revoked = true WHERE t.id = use_refresh_token.token_id AND NOT t.revoked;
    rotated = FOUND;
    IF rotated THEN
        UPDATE app.refresh_token_lineage l SET used_at = clock_timestamp(), reason = 'used'
            WHERE l.token_id = use_refresh_token.token_id;
    END IF;
    IF NOT rotated AND NOT EXISTS (
        SELECT FROM app.refresh_token_lineage l JOIN public.refresh_tokens t ON t.id = l.token_id AND NOT t.revoked
        WHERE l.family_id = family) THEN
        RETURN;
    END IF;
    reused = NOT rotated AND NOT EXISTS (
        SELECT FROM app.refresh_token_lineage l
        JOIN app.refresh_token_lineage s ON s.parent_id = l.token_id
        JOIN public.refresh_tokens t ON t.id = s.token_id AND NOT t.revoked
        WHERE l.token_id = use_refresh_token.token_id AND l.used_at > clock_timestamp() - grace);
    IF reused THEN
        UPDATE app.refresh_token_lineage l SET reason = 'reused' WHERE l.token_id = use_refresh_token.token_id;
        DELETE FROM app.devices d WHERE d.id = use_refresh_token.device_id;
        PERFORM app.record('logout', 'sessions', device_id, '{"reason": "refresh_token_reused"}');
    END IF;
    RETURN NEXT;
END;
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
