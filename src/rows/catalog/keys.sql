-- The unique indexes and exclusion constraints of a schema, without those of partitions that belong to the parent's.
-- $1: the schema.
SELECT
    c.relname::text AS table_name,
    i.relname::text AS name,
    k.contype::text AS constraint_type,
    CASE WHEN k.oid IS NOT NULL THEN pg_get_constraintdef(k.oid) END AS constraint_definition,
    CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
        AS deferral,
    x.indisreplident AS is_replica_identity,
    x.indisvalid AS is_valid,
    pg_get_indexdef(i.oid) AS index_definition,
    m.amname::text AS access_method,
    substr(
        pg_get_indexdef(i.oid),
        length(format(
            'CREATE %sINDEX %I ON %s%I.%I USING %I (',
            CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END,
            i.relname,
            CASE WHEN i.relkind = 'I' THEN 'ONLY ' ELSE '' END,
            n.nspname, c.relname, m.amname
        )) + 1
    ) AS index_items,
    ARRAY(
        SELECT COALESCE(a.attname::text, '')
        FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS item (number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = item.number AND item.number > 0
        WHERE item.place <= x.indnkeyatts
        ORDER BY item.place
    ) AS columns
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')
WHERE n.nspname = $1::text
    AND c.relkind IN ('r', 'p')
    AND (x.indisunique OR x.indisexclusion)
    AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.oid)
ORDER BY c.relname::text COLLATE "C", i.relname::text COLLATE "C"
