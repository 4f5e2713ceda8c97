SELECT
    t.id,
    t.name,
    t.state,
    t.created_at,
    t.unfinished_version::pg_catalog.text AS unfinished_version,
    t.unfinished_statements,
    COALESCE(t.unfinished_in_doubt, true) AS unfinished_in_doubt,
    REPEATABLES AS repeatables,
    n.oid AS schema_oid,
    ledger.relkind::pg_catalog.text AS ledger_kind,
    LEDGER_ACCESS,
    n.oid IS NOT NULL
        AND ledger.oid IS NULL
        AND NOT HOLDS_RELATIONS AS empty,
    -- Whether a superuser is connected and another role owns the schema: code of that role would run with superuser rights.
    n.oid IS NOT NULL AND n.nspowner <> me.oid AND me.rolsuper AS owned_by_other_role
FROM public.schema_tracker AS t
CROSS JOIN (SELECT r.oid, r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER) AS me
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.name
LEFT JOIN pg_catalog.pg_class AS ledger ON ledger.relnamespace = n.oid AND ledger.relname = '__diesel_schema_migrations'
WHERE $1 IS NULL OR t.name = ANY($1)
ORDER BY t.name COLLATE pg_catalog."C"
