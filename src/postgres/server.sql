SELECT
    current_database()::text AS database,
    current_setting('server_version_num')::integer AS version,
    pg_is_in_recovery() AS in_recovery,
    -- What this role may still open: of the server's connections, of the database's and of its own.
    greatest(0, least(
        current_setting('max_connections')::integer
            - CASE WHEN rolsuper THEN 0 ELSE
                current_setting('superuser_reserved_connections')::integer
                -- since version 16
                + coalesce(current_setting('reserved_connections', true)::integer, 0)
            END
            - (SELECT sum(numbackends) FROM pg_stat_database),
        CASE WHEN datconnlimit >= 0 AND NOT rolsuper THEN datconnlimit - (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()) END,
        CASE WHEN rolconnlimit >= 0 AND NOT rolsuper THEN rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) END
    ))::integer AS free_connections,
    current_setting('max_locks_per_transaction')::bigint
        * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)
        AS lock_table,
    to_regclass('public.schema_tracker') IS NOT NULL AS has_tracker,
    coalesce(row_security_active(to_regclass('public.schema_tracker')), false) AS tracker_is_hidden,
    coalesce(has_schema_privilege(to_regnamespace('public'), 'USAGE'), false) AS has_public_schema,
    to_regclass('public.__diesel_schema_migrations') IS NOT NULL AS has_public_ledger,
    to_regclass('public.schema_run') IS NOT NULL AND to_regclass('public.schema_run_tenant') IS NOT NULL AS has_runs,
    to_regclass('public.schema_migration') IS NOT NULL AS has_recorded_migrations,
    coalesce(
        has_table_privilege(to_regclass('public.schema_migration'), 'SELECT')
            AND has_table_privilege(to_regclass('public.schema_acceptance'), 'SELECT'),
        false
    ) AS may_read_recorded_migrations
FROM pg_roles, pg_database
WHERE rolname = current_user AND datname = current_database()
