-- The tables of a schema. $1: the schema; $2: the tenant column.
SELECT
    c.relname::text AS name,
    c.relkind = 'p' AS is_partitioned,
    c.relispartition AS is_partition,
    pg_get_userbyid(c.relowner)::text AS owner,
    c.relrowsecurity AS enables_row_security,
    c.relforcerowsecurity AS forces_row_security,
    pg_relation_size(c.oid) > 0 AS has_pages,
    COALESCE(obj_description(c.oid, 'pg_class') ~ '^tenantry: exempt\M', false) AS is_exempt,
    a.attnum IS NOT NULL AS has_column,
    t.typname::text AS column_type,
    COALESCE(a.attnotnull, false) AS is_not_null,
    CASE WHEN a.attgenerated = '' AND a.attidentity = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS column_default
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2::text AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = $1::text
    AND c.relkind IN ('r', 'p')
    AND c.relname <> '__diesel_schema_migrations'
    AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
    )
ORDER BY c.relname::text COLLATE "C"
