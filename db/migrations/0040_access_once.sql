-- What a token gives access to is asked once a minute and after every change of it. These functions were SQL, which plans
-- the body of one that is SECURITY DEFINER in every call, and `(a).open, (a).rights, ...` of a function's row in the list
-- of a SELECT calls the function once for each: together 2 ms. In PL/pgSQL a connection plans them once, and a function
-- in FROM is called once for each row. What they answer is as before.
CREATE OR REPLACE FUNCTION app.access_of(person uuid) RETURNS app.access
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    access app.access;
BEGIN
    SELECT m.open, m.rights, m.closed, m.closed_rights, p.projects, p.project_rights INTO access
    FROM (SELECT array_agg(organization_id ORDER BY organization_id) FILTER (WHERE open) ::text AS open,
                 array_agg(rights ORDER BY organization_id) FILTER (WHERE open) ::text AS rights,
                 array_agg(organization_id ORDER BY organization_id) FILTER (WHERE NOT open) ::text AS closed,
                 array_agg(rights ORDER BY organization_id) FILTER (WHERE NOT open) ::text AS closed_rights
          FROM public.user_organizations WHERE user_id = person AND active) AS m,
         (SELECT array_agg(p.project_id ORDER BY p.project_id) ::text AS projects,
                 array_agg(o.rights # app.rights_in_project(o, r.visibility, p.role) ORDER BY p.project_id) ::text
                     AS project_rights
          FROM public.project_members p
          JOIN public.user_organizations o ON o.user_id = p.user_id AND o.organization_id = p.organization_id AND o.active
          JOIN public.projects r ON r.id = p.project_id
          WHERE p.user_id = person) AS p;
    RETURN access;
END;
$$;

CREATE OR REPLACE FUNCTION app.session_access(hash bytea)
    RETURNS TABLE (user_id uuid, session_id uuid, created_at timestamptz, access_version bigint, server_rank integer,
                   open text, rights text, closed text, closed_rights text, projects text, project_rights text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
        SELECT s.user_id, s.device_id, s.created_at, s.access_version, app.server_rank(u.role), a.*
        FROM app.sessions s
        JOIN public.users u ON u.id = s.user_id
        CROSS JOIN LATERAL app.access_of(s.user_id) AS a
        WHERE s.token_hash = hash AND s.expires_at > now();
END;
$$;

CREATE OR REPLACE FUNCTION app.api_token_access(hash bytea)
    RETURNS TABLE (user_id uuid, access_version bigint, open text, rights text, closed text, closed_rights text,
                   projects text, project_rights text, organization_id uuid, token_rights bigint, scopes app.api_scope[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
        SELECT t.user_id, t.access_version, a.*, t.organization_id, m.mask, t.scopes
        FROM app.api_tokens t
        CROSS JOIN LATERAL app.rights_of_scopes(t.scopes) AS m (mask)
        CROSS JOIN LATERAL app.narrowed(app.access_of(t.user_id), t.organization_id, m.mask) AS a
        WHERE t.token_hash = hash AND t.expires_at > now();
END;
$$;
