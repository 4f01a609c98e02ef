-- Checkpoints for the server's administrators, who keep them elsewhere; empty for everybody else.
CREATE VIEW app.signed_checkpoints AS
    SELECT c.number, c.made_at, c.entries,
           app.checkpoint_text(c.number, c.made_at, c.since, c.before, c.entries, c.digest, c.previous) AS signed,
           encode(c.public_key, 'hex') AS public_key, encode(c.signature, 'hex') AS signature
    FROM app.checkpoints c WHERE (SELECT app.own_server_rank()) >= 2;
GRANT SELECT ON app.signed_checkpoints TO cairn_app;
GRANT EXECUTE ON FUNCTION app.checkpoint_text TO cairn_app;
