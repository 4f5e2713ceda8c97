-- Who holds the advisory lock KEY: a session, or a prepared transaction. The holder of an exclusive lock comes first.
SELECT
    held.pid,
    coalesce(activity.usename, prepared.owner)::text AS "user",
    activity.application_name AS application,
    pg_catalog.host(activity.client_addr) AS client,
    coalesce(activity.xact_start, activity.backend_start, prepared.prepared) AS since,
    prepared.gid::text AS prepared,
    coalesce(activity.usename = session_user, false) AS has_own_role
FROM pg_catalog.pg_locks AS held
LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = held.pid
-- A prepared transaction has no process; it holds the lock of its own transaction ID.
LEFT JOIN pg_catalog.pg_locks AS own
    ON held.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock'
    AND own.virtualtransaction = held.virtualtransaction
LEFT JOIN pg_catalog.pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
WHERE held.locktype = 'advisory'
    AND held.granted
    -- The two numbers are the halves of one key.
    AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND (held.classid::bigint << 32 | held.objid::bigint) = KEY
    AND held.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY held.mode = 'ExclusiveLock' DESC, since NULLS LAST, held.pid
LIMIT 1
