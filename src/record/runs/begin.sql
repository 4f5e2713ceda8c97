-- Asynchronous: the later commits of the run are durable only after this one.
WITH later AS MATERIALIZED (SELECT pg_catalog.set_config('synchronous_commit', 'off', true)),
-- An oid that the server assigns now. Objects that the run creates have later oids. The large object is deleted at once.
fresh AS MATERIALIZED (SELECT pg_catalog.lo_create(0::pg_catalog.oid) AS oid),
unlinked AS MATERIALIZED (SELECT pg_catalog.lo_unlink(fresh.oid) FROM fresh)
INSERT INTO public.schema_run (command, arguments, version, os_user, host, pid, backend, migrations, request)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9::pg_catalog.jsonb FROM later, unlinked
-- Whether the server supports client_connection_check_interval: on Linux.
RETURNING id, pg_catalog.strpos(pg_catalog.version(), 'linux') > 0 AS detects_lost_clients, (SELECT oid FROM fresh) AS horizon
