SELECT c.relnamespace AS schema, line
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT
    c.relname,
    replace(pg_get_expr(i.indexprs, i.indrelid), n.own, chr(1)) AS expressions,
    replace(pg_get_expr(i.indpred, i.indrelid), n.own, chr(1)) AS predicate
) line
WHERE i.indexrelid = ANY ($1)
