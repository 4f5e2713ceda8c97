SELECT
    t.id,
    t.name,
    t.state,
    t.created_at,
    t.unfinished_version::text AS unfinished_version,
    t.unfinished_statements,
    coalesce(t.unfinished_in_doubt, true) AS unfinished_in_doubt,
    n.oid AS schema_oid,
    ledger.oid IS NOT NULL AS has_ledger,
    n.oid IS NOT NULL
        AND has_schema_privilege(n.oid, 'USAGE')
        AND (ledger.oid IS NULL OR has_table_privilege(ledger.oid, 'SELECT')) AS readable,
    n.oid IS NOT NULL
        AND ledger.oid IS NULL
        AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.relnamespace = n.oid) AS empty
FROM public.schema_tracker AS t
LEFT JOIN pg_namespace AS n ON n.nspname = t.name
LEFT JOIN pg_class AS ledger
    ON ledger.relnamespace = n.oid AND ledger.relname = '__diesel_schema_migrations' AND ledger.relkind IN ('r', 'p')
WHERE $1 IS NULL OR t.name = ANY($1)
ORDER BY t.name COLLATE "C"
