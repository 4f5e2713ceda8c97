-- The foreign keys of the tables of a schema, without those of partitions that belong to the parent's. $1: the schema; $2: the tenant column.
SELECT
    c.relname::text AS table_name,
    k.conname::text AS name,
    pg_get_constraintdef(k.oid) AS definition,
    rn.nspname::text AS referenced_schema,
    r.relname::text AS referenced_table,
    ARRAY(
        SELECT a.attname::text
        FROM unnest(k.conkey) WITH ORDINALITY AS item (number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = item.number
        ORDER BY item.place
    ) AS columns,
    ARRAY(
        SELECT a.attname::text
        FROM unnest(k.confkey) WITH ORDINALITY AS item (number, place)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = item.number
        ORDER BY item.place
    ) AS referenced_columns,
    NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attnotnull AND a.attname NOT IN ($2::text, 'id')
    ) AS is_nullable,
    k.confupdtype::text AS on_update,
    k.confdeltype::text AS on_delete,
    -- The column pg_constraint.confdelsetcols exists since PostgreSQL 15.
    ARRAY(
        SELECT a.attname::text
        FROM jsonb_array_elements_text(
            CASE jsonb_typeof(to_jsonb(k) -> 'confdelsetcols') WHEN 'array' THEN to_jsonb(k) -> 'confdelsetcols' ELSE '[]' END
        ) AS item (number)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = item.number::int2
        ORDER BY a.attnum
    ) AS set_on_delete,
    k.confmatchtype = 'f' AS matches_fully,
    CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
        AS deferral,
    k.convalidated AS is_valid
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE n.nspname = $1::text AND k.contype = 'f' AND k.conparentid = 0
ORDER BY c.relname::text COLLATE "C", k.conname::text COLLATE "C"
