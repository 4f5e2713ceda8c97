-- The foreign keys of one column that refer to the primary key of another table of the schema, where the table has no
-- second key to that table.
SELECT
    child.relname::pg_catalog.text AS child,
    parent.relname::pg_catalog.text AS parent,
    a.attname::pg_catalog.text AS column_name
FROM pg_catalog.pg_constraint AS f
JOIN pg_catalog.pg_class AS child ON child.oid = f.conrelid AND NOT child.relispartition
JOIN pg_catalog.pg_class AS parent ON parent.oid = f.confrelid
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
JOIN pg_catalog.pg_constraint AS p ON p.conrelid = f.confrelid AND p.contype = 'p' AND p.conkey = f.confkey
WHERE f.contype = 'f' AND pg_catalog.cardinality(f.conkey) = 1 AND f.conrelid <> f.confrelid
    AND child.relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident($1))
    AND parent.relnamespace = child.relnamespace
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint AS other
        WHERE other.contype = 'f' AND other.oid <> f.oid
            AND other.conrelid = f.conrelid AND other.confrelid = f.confrelid
    )
ORDER BY child.relname COLLATE "C", parent.relname COLLATE "C"
