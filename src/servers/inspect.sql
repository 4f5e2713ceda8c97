SELECT
    pg_catalog.current_setting('server_version_num')::integer AS version,
    pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text AS encoding,
    d.datcollate::pg_catalog.text || COALESCE(', ' || NULLIF(d.datctype::pg_catalog.text, d.datcollate::pg_catalog.text), '')
        AS collation,
    pg_catalog.has_database_privilege(d.oid, 'CREATE') AS may_create,
    r.rolsuper AS is_superuser,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    pg_catalog.current_setting('wal_level') AS wal_level,
    CASE
        WHEN COALESCE((SELECT s.ssl FROM pg_catalog.pg_stat_ssl AS s WHERE s.pid = pg_catalog.pg_backend_pid()), false) THEN 'tls'
        WHEN pg_catalog.inet_server_addr() IS NULL OR pg_catalog.inet_server_addr() <<= '127.0.0.0/8'
            OR pg_catalog.inet_server_addr() = '::1' THEN 'local'
        ELSE 'none'
    END AS tls,
    ARRAY(SELECT e.extname::pg_catalog.text FROM pg_catalog.pg_extension AS e ORDER BY 1) AS installed,
    ARRAY(SELECT e.name::pg_catalog.text FROM pg_catalog.pg_available_extensions AS e ORDER BY 1) AS available,
    pg_catalog.pg_database_size(d.oid) AS bytes
FROM pg_catalog.pg_database AS d, pg_catalog.pg_roles AS r
WHERE d.datname = pg_catalog.current_database() AND r.rolname = CURRENT_USER
