-- Who holds what a run's sessions wait for. pg_blocking_pids() stops the lock manager for a moment, and is called for
-- sessions that wait only.
SELECT
    waiting.application_name AS waiting,
    (
        SELECT coalesce(
            (SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation),
            locktype
        )
        FROM pg_locks WHERE pg_locks.pid = waiting.pid AND NOT granted LIMIT 1
    ) AS lock,
    blocking.pid,
    holder.usename::text AS "user",
    holder.application_name AS application,
    holder.xact_start AS since,
    holder.query_start,
    holder.state
FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL (SELECT DISTINCT pid FROM unnest(pg_blocking_pids(waiting.pid)) AS pid) AS blocking
LEFT JOIN pg_stat_activity AS holder ON holder.pid = blocking.pid
WHERE waiting.datname = current_database()
    AND starts_with(waiting.application_name, $1)
    AND waiting.wait_event_type = 'Lock'
ORDER BY waiting.application_name, blocking.pid
