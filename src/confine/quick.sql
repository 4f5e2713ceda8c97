-- Checks a transaction with plain statements: it must hold no lock that conflicts with reading an object outside. Only
-- the tenant's schema is on the path, so that a relation is visible if it is in the tenant's schema or in pg_catalog.
IF EXISTS (
    SELECT FROM pg_catalog.pg_lock_status() AS l
    WHERE l.pid = pg_catalog.pg_backend_pid()
        AND l.locktype IN ('relation', 'object')
        AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
        AND (
            l.relation IS NULL
            OR l.relation = ANY ($shared)
            OR NOT coalesce(pg_catalog.pg_table_is_visible(l.relation), false)
                AND NOT pg_catalog.starts_with(l.relation::regclass::text, 'pg_toast.')
        )
) THEN
    RAISE EXCEPTION '$needs_thorough_check';
END IF;
