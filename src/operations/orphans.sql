SELECT
    n.nspname::pg_catalog.text AS name,
    n.oid,
    ledger.oid IS NOT NULL
        AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        AND pg_catalog.has_table_privilege(ledger.oid, 'SELECT') AS readable_ledger,
    tables.found AS tables
FROM (
    SELECT n.oid, n.nspname
    FROM pg_catalog.pg_namespace AS n
    WHERE NOT EXISTS (SELECT FROM public.schema_tracker AS t WHERE t.name = n.nspname)
        AND n.nspname NOT IN ('public', 'information_schema')
        AND n.nspname::pg_catalog.text <> ALL ($2)
        -- The old schema of a tenant that has moved to another server.
        AND NOT n.nspname::pg_catalog.text ~ '^tenantry_left_[0-9a-f]{32}$'
        AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extnamespace = n.oid)
    -- Looks for the tables in the remaining schemas, each through the index on (relname, relnamespace).
    OFFSET 0
) AS n
LEFT JOIN LATERAL (
    SELECT c.oid
    FROM pg_catalog.pg_class AS c
    WHERE c.relname = '__diesel_schema_migrations' AND c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
    OFFSET 0
) AS ledger ON true
CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*)::integer AS found
    FROM pg_catalog.unnest($1) AS wanted (relname)
    CROSS JOIN LATERAL (
        SELECT
        FROM pg_catalog.pg_class AS c
        WHERE c.relname = wanted.relname AND c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
        OFFSET 0
    ) AS c
) AS tables
WHERE ledger.oid IS NOT NULL OR (tables.found > 0 AND tables.found = pg_catalog.cardinality($1))
ORDER BY n.nspname COLLATE pg_catalog."C"
