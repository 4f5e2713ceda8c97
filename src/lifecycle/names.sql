-- In one statement, so that both sides are of the same moment: a tenant's row and its schema come and go together.
SELECT
    wanted.name,
    t.name AS tracked_name,
    t.state AS tracked_state,
    n.oid IS NOT NULL AS has_schema,
    ledger.oid IS NOT NULL AS has_ledger,
    n.oid IS NOT NULL
        AND has_schema_privilege(n.oid, 'USAGE')
        AND (ledger.oid IS NULL OR has_table_privilege(ledger.oid, 'SELECT')) AS readable,
    NOT EXISTS (SELECT FROM pg_class WHERE pg_class.relnamespace = n.oid) AS empty,
    EXISTS (SELECT FROM pg_extension WHERE pg_extension.extnamespace = n.oid) AS holds_extensions
FROM unnest($1) AS wanted (name)
LEFT JOIN public.schema_tracker AS t ON lower(t.name COLLATE "C") = lower(wanted.name COLLATE "C")
LEFT JOIN pg_namespace AS n ON n.nspname = wanted.name
LEFT JOIN pg_class AS ledger
    ON ledger.relnamespace = n.oid AND ledger.relname = '__diesel_schema_migrations' AND ledger.relkind IN ('r', 'p')
