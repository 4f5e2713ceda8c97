-- The session or prepared transaction that holds the advisory lock KEY. The holder of an exclusive lock comes first.
SELECT
    HOLDER_COLUMNS
FROM pg_catalog.pg_locks AS held
HOLDER_JOINS
WHERE held.locktype = 'advisory'
    AND held.granted
    -- The key is one bigint, not two integers.
    AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND (held.classid::bigint << 32 | held.objid::bigint) = KEY
    AND held.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY held.mode = 'ExclusiveLock' DESC, since NULLS LAST, held.pid
LIMIT 1
