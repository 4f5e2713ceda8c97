SELECT
    pg_catalog.current_database()::pg_catalog.text AS database,
    SESSION_USER::pg_catalog.text AS session_role,
    CURRENT_USER::pg_catalog.text AS role,
    pg_catalog.current_setting('server_version_num')::integer AS version,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    -- The smallest of what the limits of the server, the database and the role leave.
    GREATEST(0, LEAST(
        pg_catalog.current_setting('max_connections')::integer
            - CASE WHEN r.rolsuper THEN 0 ELSE
                pg_catalog.current_setting('superuser_reserved_connections')::integer
                -- since version 16
                + COALESCE(pg_catalog.current_setting('reserved_connections', true)::integer, 0)
            END
            - (SELECT pg_catalog.sum(s.numbackends) FROM pg_catalog.pg_stat_database AS s),
        CASE WHEN d.datconnlimit >= 0 AND NOT r.rolsuper THEN
            d.datconnlimit
                - (SELECT s.numbackends FROM pg_catalog.pg_stat_database AS s WHERE s.datname = pg_catalog.current_database())
        END,
        CASE WHEN r.rolconnlimit >= 0 AND NOT r.rolsuper THEN
            r.rolconnlimit
                - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.usename = CURRENT_USER)
        END
    ))::integer AS free_connections,
    pg_catalog.current_setting('max_locks_per_transaction')::bigint
        * (
            pg_catalog.current_setting('max_connections')::bigint
            + pg_catalog.current_setting('max_prepared_transactions')::bigint
        ) AS lock_table,
    pg_catalog.to_regclass('public.schema_tracker') IS NOT NULL AS has_tracker,
    COALESCE(pg_catalog.row_security_active(pg_catalog.to_regclass('public.schema_tracker')), false) AS tracker_is_hidden,
    COALESCE(pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('public'), 'USAGE'), false) AS has_public_schema,
    pg_catalog.to_regclass('public.schema_ledger') IS NOT NULL AS has_public_ledger,
    pg_catalog.to_regclass('public.__diesel_schema_migrations') IS NOT NULL AS has_diesel_ledger,
    -- With all columns that this version writes.
    pg_catalog.to_regclass('public.schema_run_tenant') IS NOT NULL AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = pg_catalog.to_regclass('public.schema_run')::pg_catalog.oid
            AND a.attname = 'request' AND NOT a.attisdropped
    ) AS has_runs,
    pg_catalog.to_regclass('public.schema_migration') IS NOT NULL AS has_recorded_migrations,
    COALESCE(
        pg_catalog.has_table_privilege(pg_catalog.to_regclass('public.schema_migration'), 'SELECT')
            AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('public.schema_acceptance'), 'SELECT'),
        false
    ) AS may_read_recorded_migrations
FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
WHERE r.rolname = CURRENT_USER AND d.datname = pg_catalog.current_database()
