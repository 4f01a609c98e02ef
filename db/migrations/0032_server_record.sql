-- The record of the whole server, for its administrators; empty for everybody else. What was done in organizations is there
-- with who did it and to what. What it was changed from and to is there only for what administrators look after anyway:
-- being one shows nobody what is in a project.
CREATE VIEW app.server_record AS
    SELECT a.id, a.xid, a.seq, a.created_at, a.action, a.entity_type, a.entity_id, a.user_id, a.organization_id,
           a.ip_address, a.user_agent, a.metadata,
           CASE WHEN a.entity_type IN ('users', 'organizations', 'user_organizations', 'sessions', 'api_tokens')
                THEN a.old_values END AS old_values,
           CASE WHEN a.entity_type IN ('users', 'organizations', 'user_organizations', 'sessions', 'api_tokens')
                THEN a.new_values END AS new_values
    FROM audit_logs a WHERE (SELECT app.own_server_rank()) >= 2;
GRANT SELECT ON app.server_record TO cairn_app;
