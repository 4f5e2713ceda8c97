-- The session or prepared transaction that holds an ACCESS EXCLUSIVE lock on the table $1.
SELECT
    HOLDER_COLUMNS
FROM pg_catalog.pg_locks AS held
HOLDER_JOINS
WHERE held.locktype = 'relation'
    AND held.granted
    AND held.mode = 'AccessExclusiveLock'
    AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND held.relation = pg_catalog.to_regclass($1)::pg_catalog.oid
ORDER BY since NULLS LAST, held.pid
LIMIT 1
