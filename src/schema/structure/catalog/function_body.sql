SELECT n.oid AS schema, line
FROM pg_proc p
JOIN namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL (SELECT
    quote_ident(p.proname) || '(' || replace(oidvectortypes(p.proargtypes), n.own, chr(1)) || ')' AS name,
    replace(pg_get_function_sqlbody(p.oid), n.own, chr(1)) AS body
) line
WHERE p.oid = ANY ($1)
