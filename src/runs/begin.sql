-- Not waited for: what the run does becomes durable after this, and this with it.
WITH later AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO public.schema_run (command, arguments, version, os_user, host, pid, backend)
SELECT $1, $2, $3, $4, $5, $6, $7 FROM later
-- Whether the server notices by itself that a client is gone. It knows how on Linux, and refuses the setting elsewhere.
RETURNING id, strpos(version(), 'linux') > 0 AS notices_clients
