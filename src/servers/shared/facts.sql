SELECT
    pg_catalog.current_setting('server_version_num')::integer AS version,
    pg_catalog.current_setting('wal_level') AS wal_level,
    pg_catalog.current_setting('max_replication_slots')::integer
        - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)::integer AS free_slots,
    pg_catalog.current_setting('max_wal_senders')::integer
        - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS a WHERE a.backend_type = 'walsender')::integer AS free_senders,
    -- pg_subscription has the subscriptions of all databases.
    pg_catalog.current_setting('max_logical_replication_workers')::integer
        - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription AS s WHERE s.subenabled)::integer AS free_workers,
    -- A setting of its own since version 18.
    COALESCE(pg_catalog.current_setting('max_active_replication_origins', true), pg_catalog.current_setting('max_replication_slots'))::integer
        - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription AS s WHERE s.subenabled)::integer AS free_origins,
    r.rolsuper AS is_superuser,
    r.rolsuper OR r.rolreplication AS may_replicate,
    -- Since version 16.
    COALESCE(
        (SELECT pg_catalog.pg_has_role(CURRENT_USER, p.oid, 'USAGE') FROM pg_catalog.pg_roles AS p WHERE p.rolname = 'pg_create_subscription'),
        false
    ) AS may_subscribe,
    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create,
    EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'aiven_extras') AS has_aiven_extras,
    CURRENT_USER::pg_catalog.text AS role
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = CURRENT_USER
