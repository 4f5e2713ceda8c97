-- Not waited for: what the run does becomes durable after this, and this with it.
WITH later AS MATERIALIZED (SELECT pg_catalog.set_config('synchronous_commit', 'off', true)),
-- An oid that the server hands out now: what the run creates has later ones. The large object is gone at once.
fresh AS MATERIALIZED (SELECT pg_catalog.lo_create(0::pg_catalog.oid) AS oid),
unlinked AS MATERIALIZED (SELECT pg_catalog.lo_unlink(fresh.oid) FROM fresh)
INSERT INTO public.schema_run (command, arguments, version, os_user, host, pid, backend, migrations)
SELECT $1, $2, $3, $4, $5, $6, $7, $8 FROM later, unlinked
-- Whether the server notices by itself that a client is gone. It knows how on Linux, and refuses the setting elsewhere.
RETURNING id, pg_catalog.strpos(pg_catalog.version(), 'linux') > 0 AS notices_clients, (SELECT oid FROM fresh) AS horizon
