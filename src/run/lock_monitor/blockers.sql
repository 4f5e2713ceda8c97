-- The sessions that block those of a run. pg_blocking_pids() briefly needs exclusive access to the lock manager, and is called
-- only for sessions that wait. An index that is built concurrently waits for old snapshots by the locks "virtualxid" of their
-- transactions.
SELECT
    waiting.application_name AS waiting,
    COALESCE(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - wait.waitstart), 0)::pg_catalog.float8 AS waited,
    (SELECT p.phase FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.pid = waiting.pid LIMIT 1) AS phase,
    COALESCE(
        (
            SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = wait.relation
        ),
        wait.locktype
    ) AS lock,
    blocking.pid,
    holder.usename::pg_catalog.text AS "user",
    holder.application_name AS application,
    holder.datname::pg_catalog.text AS database,
    holder.xact_start AS since,
    holder.query_start,
    holder.state
FROM pg_catalog.pg_stat_activity AS waiting
CROSS JOIN LATERAL (
    SELECT DISTINCT pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(waiting.pid)) AS pid
) AS blocking
LEFT JOIN LATERAL (
    SELECT l.relation, l.locktype, l.waitstart FROM pg_catalog.pg_locks AS l
    WHERE l.pid = waiting.pid AND NOT l.granted
    LIMIT 1
) AS wait ON true
LEFT JOIN pg_catalog.pg_stat_activity AS holder ON holder.pid = blocking.pid
WHERE waiting.datname = pg_catalog.current_database()
    AND pg_catalog.starts_with(waiting.application_name, $1)
    AND waiting.wait_event_type = 'Lock'
ORDER BY waiting.application_name, blocking.pid
