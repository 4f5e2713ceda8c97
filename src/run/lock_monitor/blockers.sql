-- The sessions that block those of a run. pg_blocking_pids() briefly needs exclusive access to the lock manager, and is called
-- only for sessions that wait.
SELECT
    waiting.application_name AS waiting,
    (
        SELECT COALESCE(
            (
                SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
                FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.oid = l.relation
            ),
            l.locktype
        )
        FROM pg_catalog.pg_locks AS l WHERE l.pid = waiting.pid AND NOT l.granted LIMIT 1
    ) AS lock,
    blocking.pid,
    holder.usename::pg_catalog.text AS "user",
    holder.application_name AS application,
    holder.xact_start AS since,
    holder.query_start,
    holder.state
FROM pg_catalog.pg_stat_activity AS waiting
CROSS JOIN LATERAL (
    SELECT DISTINCT pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(waiting.pid)) AS pid
) AS blocking
LEFT JOIN pg_catalog.pg_stat_activity AS holder ON holder.pid = blocking.pid
WHERE waiting.datname = pg_catalog.current_database()
    AND pg_catalog.starts_with(waiting.application_name, $1)
    AND waiting.wait_event_type = 'Lock'
ORDER BY waiting.application_name, blocking.pid
