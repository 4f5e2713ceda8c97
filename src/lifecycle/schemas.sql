SELECT
    n.nspname::text AS name,
    n.oid,
    ledger.oid IS NOT NULL AS has_ledger,
    has_schema_privilege(n.oid, 'USAGE')
        AND (ledger.oid IS NULL OR has_table_privilege(ledger.oid, 'SELECT')) AS readable,
    NOT EXISTS (SELECT FROM pg_class WHERE pg_class.relnamespace = n.oid) AS empty,
    EXISTS (SELECT FROM pg_extension WHERE pg_extension.extnamespace = n.oid) AS holds_extensions
FROM pg_namespace AS n
LEFT JOIN pg_class AS ledger
    ON ledger.relnamespace = n.oid AND ledger.relname = '__diesel_schema_migrations' AND ledger.relkind IN ('r', 'p')
WHERE n.nspname = ANY($1)
