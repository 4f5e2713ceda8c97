-- The foreign keys between the tables of a schema, as conditions between a row c and the row p that it refers to.
-- $1: the schema.
SELECT
    c.relname::text AS table_name,
    k.conname::text AS name,
    r.relname::text AS referenced_table,
    string_agg(format('c.%I IS NOT NULL', own.attname), ' AND ' ORDER BY item.place) AS refers,
    string_agg(
        format('p.%I OPERATOR(%I.%s) c.%I', other.attname, n.nspname, op.oprname, own.attname), ' AND ' ORDER BY item.place
    ) AS matches
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_class r ON r.oid = k.confrelid
CROSS JOIN LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS item (own, other, operator, place)
JOIN pg_attribute own ON own.attrelid = c.oid AND own.attnum = item.own
JOIN pg_attribute other ON other.attrelid = r.oid AND other.attnum = item.other
JOIN pg_operator op ON op.oid = item.operator
JOIN pg_namespace n ON n.oid = op.oprnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
    AND c.relnamespace = to_regnamespace(quote_ident($1::text)) AND r.relnamespace = c.relnamespace
GROUP BY k.oid, c.relname, k.conname, r.relname
ORDER BY c.relname::text COLLATE "C", k.conname::text COLLATE "C"
