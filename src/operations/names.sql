-- Reads the tracker and the catalog in one snapshot, because a tenant's row and schema are created and dropped together.
-- Each name is looked up through indexes, whatever the number of tenants is.
SELECT
    wanted.name,
    t.name AS tracked_name,
    t.state AS tracked_state,
    n.oid AS schema_oid,
    ledger.oid IS NOT NULL AS has_ledger,
    LEDGER_ACCESS,
    NOT HOLDS_RELATIONS AS empty,
    EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extnamespace = n.oid) AS holds_extensions
FROM pg_catalog.unnest($1) AS wanted (name)
LEFT JOIN LATERAL (
    SELECT t.name, t.state
    FROM public.schema_tracker AS t
    WHERE pg_catalog.lower(t.name COLLATE pg_catalog."C") = pg_catalog.lower(wanted.name COLLATE pg_catalog."C")
    OFFSET 0
) AS t ON true
LEFT JOIN LATERAL (
    SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = wanted.name OFFSET 0
) AS n ON true
LEFT JOIN LATERAL (
    SELECT c.oid
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = n.oid AND c.relname = '__diesel_schema_migrations' AND c.relkind IN ('r', 'p')
    OFFSET 0
) AS ledger ON true
