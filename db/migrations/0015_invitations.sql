-- Invitations by e-mail: who has the link of the mail joins the organization, and some of its projects at once.

CREATE TABLE invitations (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    organization_id uuid NOT NULL CONSTRAINT invitations_organization_id_fkey REFERENCES organizations (id) ON DELETE CASCADE,
    email varchar(255) NOT NULL CONSTRAINT invitations_email_format CHECK (email ~ '^[!-~]+@[!-~]+$' AND email = lower(email)),
    role organization_role NOT NULL DEFAULT 'member',
    permissions jsonb NOT NULL DEFAULT '[]'
        CONSTRAINT invitations_permissions_known
        CHECK (permissions = '[]' OR pg_column_size(permissions) <= 16384 AND app.are_permissions(permissions)),
    projects jsonb NOT NULL DEFAULT '[]'
        CONSTRAINT invitations_projects_array CHECK (jsonb_typeof(projects) = 'array' AND pg_column_size(projects) <= 16384),
    invited_by uuid NOT NULL CONSTRAINT invitations_invited_by_fkey REFERENCES users (id),
    expires_at timestamptz NOT NULL,
    last_sent_at timestamptz NOT NULL DEFAULT now(),
    accepted_at timestamptz,
    accepted_by uuid CONSTRAINT invitations_accepted_by_fkey REFERENCES users (id),
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT invitations_settled_once CHECK (accepted_at IS NULL OR revoked_at IS NULL),
    CONSTRAINT invitations_owner_undenied
        CHECK (role <> 'owner' OR permissions = '[]' OR app.denied_by(permissions) = 0)
);
COMMENT ON COLUMN invitations.projects IS 'to join at once: [{"project_id": ..., "role": ...}]';
COMMENT ON COLUMN invitations.invited_by IS 'who sent it last, and answers for it: what they may not give when it is accepted is not given';
CREATE UNIQUE INDEX invitations_pending_key ON invitations (organization_id, email)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_organization_id_idx ON invitations (organization_id, created_at, id);
CREATE INDEX invitations_invited_by_idx ON invitations (invited_by);
CREATE TRIGGER update_invitations_updated_at BEFORE UPDATE ON invitations
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TRIGGER audit_invitations AFTER INSERT OR UPDATE OR DELETE ON invitations
    FOR EACH ROW EXECUTE FUNCTION audit_trigger_function();

-- Apart, so that the record never holds one: the SHA-256 of the token in the mail that was sent last.
CREATE TABLE app.invitation_tokens (
    invitation_id uuid PRIMARY KEY CONSTRAINT invitation_tokens_invitation_id_fkey REFERENCES invitations (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL CONSTRAINT invitation_tokens_token_hash_key UNIQUE
        CONSTRAINT invitation_tokens_token_hash_size CHECK (octet_length(token_hash) = 32),
    mailed boolean NOT NULL
);
COMMENT ON COLUMN app.invitation_tokens.mailed IS 'only by mail, so that who has it reads that mail';

ALTER TABLE invitations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON invitations TO current_user USING (true);
CREATE POLICY inviter ON invitations TO cairn_app
    USING (EXISTS (SELECT FROM app.memberships m WHERE m.organization_id = invitations.organization_id
                   AND m.rights & 256 <> 0 AND m.rank >= app.role_rank(invitations.role))); -- member.invite
CREATE POLICY reader ON invitations FOR SELECT TO cairn_app
    USING (EXISTS (SELECT FROM app.memberships m WHERE m.organization_id = invitations.organization_id
                   AND (m.rights & 256 <> 0 OR m.role = 'owner')));
ALTER TABLE app.invitation_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON app.invitation_tokens TO current_user USING (true);

-- Gives a pending invitation a new token, and takes away the one before. The inviter is who may change the invitation.
CREATE FUNCTION app.set_invitation_token(invitation uuid, hash bytea, mailed boolean) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        INSERT INTO app.invitation_tokens (invitation_id, token_hash, mailed)
        SELECT i.id, set_invitation_token.hash, set_invitation_token.mailed FROM public.invitations i
        WHERE i.id = invitation AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.invited_by = app.actor()
        ON CONFLICT ON CONSTRAINT invitation_tokens_pkey
            DO UPDATE SET token_hash = EXCLUDED.token_hash, mailed = EXCLUDED.mailed;
    END;
CREATE FUNCTION app.forget_invitation_token() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM app.invitation_tokens WHERE invitation_id = NEW.id;
    RETURN NULL;
END;
$$;
CREATE TRIGGER invitations_settled AFTER UPDATE OF accepted_at, revoked_at ON invitations
    FOR EACH ROW WHEN (NEW.accepted_at IS NOT NULL OR NEW.revoked_at IS NOT NULL)
    EXECUTE FUNCTION app.forget_invitation_token();

-- The invitation that the token opens. None when it is unknown, settled or expired, its organization cannot be joined, or
-- whoever sent it could not send it now: which of these, nobody is told.
CREATE FUNCTION app.open_invitation(hash bytea) RETURNS SETOF invitations
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT i.* FROM app.invitation_tokens t
        JOIN public.invitations i ON i.id = t.invitation_id
        JOIN public.organizations o ON o.id = i.organization_id
        JOIN public.user_organizations m ON m.organization_id = i.organization_id AND m.user_id = i.invited_by
        JOIN public.users u ON u.id = i.invited_by
        WHERE t.token_hash = hash AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()
          AND o.status = 'active' AND o.deleted_at IS NULL AND u.status = 'active'
          AND m.rights & app.permission('member.invite') <> 0 AND app.role_rank(m.role) >= app.role_rank(i.role)
          AND (app.rights_of(i.role, i.permissions) & ~m.rights) = 0;
    END;
-- What its holder is shown before accepting. Whoever has the token may ask.
CREATE FUNCTION app.show_invitation(hash bytea)
    RETURNS TABLE (email text, role organization_role, organization_name text, invited_by_name text, expires_at timestamptz,
                   mailed boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT i.email, i.role, o.name, u.first_name || ' ' || u.last_name, i.expires_at, t.mailed
        FROM app.open_invitation(show_invitation.hash) i
        JOIN app.invitation_tokens t ON t.invitation_id = i.id
        JOIN public.organizations o ON o.id = i.organization_id
        JOIN public.users u ON u.id = i.invited_by;
    END;

-- Makes the actor a member, and of those projects that the sender may still add somebody to. Who is a member already keeps
-- what they are. Yields the organization; NULL when the token opens nothing, or is for another address than the actor's.
CREATE FUNCTION app.accept_invitation(hash bytea) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    invitation public.invitations;
    sender public.user_organizations;
BEGIN
    -- First the organization, as every change of memberships; then nobody else settles the invitation.
    PERFORM FROM public.organizations o
        WHERE o.id IN (SELECT i.organization_id FROM app.open_invitation(hash) i) FOR NO KEY UPDATE;
    PERFORM FROM public.invitations i
        WHERE i.id IN (SELECT t.invitation_id FROM app.invitation_tokens t WHERE t.token_hash = hash) FOR UPDATE;
    SELECT i.* INTO invitation FROM app.open_invitation(hash) i
        JOIN public.users u ON u.id = app.actor() AND lower(u.email) = i.email;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT m.* INTO sender FROM public.user_organizations m
        WHERE m.organization_id = invitation.organization_id AND m.user_id = invitation.invited_by;

    INSERT INTO public.user_organizations (user_id, organization_id, role, permissions)
    VALUES (app.actor(), invitation.organization_id, invitation.role, invitation.permissions)
    ON CONFLICT ON CONSTRAINT user_organizations_user_id_organization_id_key DO NOTHING;

    INSERT INTO public.project_members (project_id, organization_id, user_id, role)
    SELECT p.id, p.organization_id, app.actor(), e.role
    FROM jsonb_to_recordset(invitation.projects) AS e (project_id uuid, role public.project_role)
    JOIN public.projects p ON p.id = e.project_id AND p.organization_id = invitation.organization_id
    LEFT JOIN public.project_members s ON s.project_id = p.id AND s.user_id = sender.user_id
    CROSS JOIN LATERAL (SELECT app.rights_in_project(sender, p.visibility, s.role) AS rights) AS r
    WHERE (p.visibility = 'organization' OR sender.open OR s.id IS NOT NULL)
      AND r.rights & app.permission('project.members') <> 0 AND (app.project_rights_of(e.role::text) & ~r.rights) = 0
    ON CONFLICT ON CONSTRAINT project_members_project_id_user_id_key DO NOTHING;

    UPDATE public.invitations SET accepted_at = now(), accepted_by = app.actor() WHERE id = invitation.id;
    RETURN invitation.organization_id;
END;
$$;

-- Who has left for good has left no address in invitations either, nor in the record of them.
CREATE FUNCTION app.forget_invitee() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.invitations
        SET email = NEW.email,
            revoked_at = CASE WHEN accepted_at IS NULL THEN coalesce(revoked_at, clock_timestamp()) END
        WHERE email = OLD.email OR accepted_by = NEW.id;
    UPDATE public.audit_logs
        SET old_values = app.redacted(old_values, jsonb_build_object('email', NEW.email)),
            new_values = app.redacted(new_values, jsonb_build_object('email', NEW.email))
        WHERE entity_type = 'invitations'
          AND entity_id IN (SELECT id FROM public.invitations WHERE email = NEW.email);
    RETURN NULL;
END;
$$;
CREATE TRIGGER users_forget_invitee AFTER UPDATE OF email ON users
    FOR EACH ROW WHEN (NEW.status = 'inactive' AND NEW.email <> OLD.email AND NEW.email LIKE '%@deleted.invalid')
    EXECUTE FUNCTION app.forget_invitee();

GRANT SELECT, INSERT (id, organization_id, email, role, permissions, projects, invited_by, expires_at),
      UPDATE (invited_by, expires_at, last_sent_at, revoked_at)
    ON invitations TO cairn_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.set_invitation_token, app.show_invitation, app.accept_invitation TO cairn_app;
