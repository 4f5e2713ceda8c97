WITH own AS (
    -- The tables of Tenantry. The catalog shows them also to a role that may not use the schema public.
    SELECT c.oid, c.relname::pg_catalog.text AS name
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public'
        AND c.relname IN (
            'schema_tracker', 'schema_ledger', '__diesel_schema_migrations', 'schema_run', 'schema_run_tenant',
            'schema_migration', 'schema_acceptance', 'schema_spare', 'row_tenancy', 'schema_server'
        )
),
-- The privileges that every command that reads tenants, or changes them, uses.
needed (access, name, privilege) AS (
    VALUES
        ('read', 'schema_tracker', 'SELECT'),
        ('read', 'schema_ledger', 'SELECT'),
        ('write', 'schema_migration', 'SELECT'),
        ('write', 'schema_acceptance', 'SELECT'),
        ('write', 'schema_run', 'SELECT'),
        ('write', 'schema_run', 'INSERT'),
        ('write', 'schema_run', 'UPDATE'),
        ('write', 'schema_run', 'DELETE'),
        ('write', 'schema_run_tenant', 'SELECT'),
        ('write', 'schema_run_tenant', 'INSERT'),
        ('write', 'schema_run_tenant', 'UPDATE'),
        ('write', 'schema_run_tenant', 'DELETE')
),
missing AS (
    SELECT
        needed.access,
        pg_catalog.concat(pg_catalog.string_agg(needed.privilege, ', ' ORDER BY needed.privilege), ' ON public.', own.name) AS text
    FROM needed
    JOIN own ON own.name = needed.name
    WHERE NOT pg_catalog.has_table_privilege(own.oid, needed.privilege)
    GROUP BY needed.access, own.name
    UNION ALL
    SELECT 'read', 'USAGE ON SCHEMA public'
    WHERE EXISTS (SELECT FROM own) AND NOT pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('public'), 'USAGE')
)
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
    EXISTS (SELECT FROM own WHERE own.name = 'schema_tracker') AS has_tracker,
    COALESCE(
        (SELECT pg_catalog.row_security_active(own.oid) FROM own WHERE own.name = 'schema_tracker'), false
    ) AS tracker_is_hidden,
    COALESCE(pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('public'), 'USAGE'), false) AS has_public_schema,
    EXISTS (SELECT FROM own WHERE own.name = 'schema_ledger') AS has_public_ledger,
    EXISTS (SELECT FROM own WHERE own.name = '__diesel_schema_migrations') AS has_diesel_ledger,
    -- With all columns that this version writes.
    EXISTS (SELECT FROM own WHERE own.name = 'schema_run_tenant') AND EXISTS (
        SELECT FROM own JOIN pg_catalog.pg_attribute AS a ON a.attrelid = own.oid
        WHERE own.name = 'schema_run' AND a.attname = 'request' AND NOT a.attisdropped
    ) AS has_runs,
    -- The table is empty where tenants have schemas of their own. This role may not be allowed to read it.
    EXISTS (SELECT FROM own WHERE own.name = 'row_tenancy' AND pg_catalog.pg_relation_size(own.oid) > 0) AS has_row_tenancy,
    EXISTS (SELECT FROM own WHERE own.name = 'schema_spare' AND pg_catalog.pg_relation_size(own.oid) > 0) AS has_spares,
    EXISTS (SELECT FROM own WHERE own.name = 'schema_server' AND pg_catalog.pg_relation_size(own.oid) > 0) AS has_servers,
    -- Nothing is read unless the library of Citus is loaded.
    COALESCE(pg_catalog.current_setting('citus.enable_schema_based_sharding', true), '') <> ''
        AND EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'citus')
        AND (
            pg_catalog.current_setting('citus.enable_schema_based_sharding', true) IN ('on', 'true')
            OR COALESCE(pg_catalog.pg_relation_size(pg_catalog.to_regclass('pg_catalog.pg_dist_schema')) > 0, false)
        ) AS distributes_schemas,
    EXISTS (
        SELECT FROM own JOIN pg_catalog.pg_attribute AS a ON a.attrelid = own.oid
        WHERE own.name = 'schema_tracker' AND a.attname = 'role_name' AND NOT a.attisdropped
    ) AS has_tenant_roles,
    EXISTS (SELECT FROM own WHERE own.name = 'schema_migration') AS has_recorded_migrations,
    (
        SELECT pg_catalog.count(*) = 2 AND pg_catalog.bool_and(pg_catalog.has_table_privilege(own.oid, 'SELECT'))
        FROM own WHERE own.name IN ('schema_migration', 'schema_acceptance')
    ) AS may_read_recorded_migrations,
    ARRAY(SELECT missing.text FROM missing WHERE missing.access = 'read' ORDER BY missing.text) AS missing_to_read,
    ARRAY(SELECT missing.text FROM missing ORDER BY missing.text) AS missing_to_write
FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
WHERE r.rolname = CURRENT_USER AND d.datname = pg_catalog.current_database()
