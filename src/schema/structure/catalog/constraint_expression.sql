SELECT c.relnamespace AS schema, line
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT
    c.relname, k.conname,
    replace(pg_get_expr(k.conbin, k.conrelid), n.own, chr(1)) AS expression
) line
WHERE k.oid = ANY ($1)
