SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
JOIN pg_policy p ON p.polrelid = c.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_policy'::regclass AND o.objoid = p.oid
CROSS JOIN LATERAL (SELECT
    'policy' AS kind,
    c.relname AS "on",
    p.polname AS name,
    CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
    p.polpermissive AS permissive,
    (
        SELECT array_agg(x.role ORDER BY x.role COLLATE "C") FROM (
            SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END AS role FROM unnest(p.polroles) r
        ) x
    ) AS roles,
    replace(pg_get_expr(p.polqual, p.polrelid), c.own, chr(1)) AS "using",
    replace(pg_get_expr(p.polwithcheck, p.polrelid), c.own, chr(1)) AS "check",
    o.description AS comment
) line
/*part WHERE p.oid = ANY ($1) */
