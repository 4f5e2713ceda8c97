-- Conditions for a transaction whose statements are known by their text: no object outside is locked against others.
-- Under a path of the tenant's schema alone, a relation is visible if it is the tenant's (or the catalog's).
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
    RAISE EXCEPTION '$closer';
END IF;
