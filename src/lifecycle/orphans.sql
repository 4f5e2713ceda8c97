SELECT
    n.nspname::text AS name,
    n.oid,
    ledger.oid IS NOT NULL
        AND has_schema_privilege(n.oid, 'USAGE')
        AND has_table_privilege(ledger.oid, 'SELECT') AS readable_ledger,
    tables.found AS tables
FROM pg_namespace AS n
LEFT JOIN pg_class AS ledger
    ON ledger.relnamespace = n.oid AND ledger.relname = '__diesel_schema_migrations' AND ledger.relkind IN ('r', 'p')
-- As a lateral count and not a join: the index on (relname, relnamespace) answers for each table's name.
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS found
    FROM unnest($1) AS wanted (relname)
    JOIN pg_class AS c ON c.relname = wanted.relname AND c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
) AS tables
WHERE NOT EXISTS (SELECT FROM public.schema_tracker AS t WHERE t.name = n.nspname)
    AND n.nspname NOT IN ('public', 'information_schema')
    AND NOT starts_with(n.nspname::text, 'pg_')
    AND NOT EXISTS (SELECT FROM pg_extension WHERE pg_extension.extnamespace = n.oid)
    AND (ledger.oid IS NOT NULL OR (tables.found > 0 AND tables.found = cardinality($1)))
ORDER BY n.nspname COLLATE "C"
