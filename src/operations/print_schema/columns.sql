-- The columns of a schema's tables, in order. Views, partitions and the migration ledger are left out. A domain has its
-- base type, as in information_schema.
SELECT
    c.relname::pg_catalog.text AS table_name,
    a.attname::pg_catalog.text AS column_name,
    COALESCE(element.typname, base.typname)::pg_catalog.text AS type_name,
    -- NULL for the tenant's schema.
    NULLIF(n.nspname::pg_catalog.text, $1) AS type_schema,
    n.nspname = 'pg_catalog' AS is_builtin,
    element.oid IS NOT NULL AS is_array,
    NOT (a.attnotnull OR declared.typnotnull) AS is_nullable,
    CASE WHEN base.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS max_length,
    pg_catalog.array_position(p.conkey, a.attnum) AS key_position
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type AS declared ON declared.oid = a.atttypid
JOIN pg_catalog.pg_type AS base
    ON base.oid = CASE WHEN declared.typtype = 'd' THEN declared.typbasetype ELSE declared.oid END
LEFT JOIN pg_catalog.pg_type AS element ON element.oid = base.typelem AND element.typarray = base.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = COALESCE(element.typnamespace, base.typnamespace)
LEFT JOIN pg_catalog.pg_constraint AS p ON p.conrelid = c.oid AND p.contype = 'p'
WHERE c.relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident($1))
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> $2::pg_catalog.name
ORDER BY c.relname COLLATE "C", a.attnum
