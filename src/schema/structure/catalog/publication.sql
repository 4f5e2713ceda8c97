SELECT x.schema, line, NULL::text AS ddl
FROM (
    SELECT c.relnamespace AS schema, c.relname AS "on", r.prpubid, replace(concat_ws(' ',
        'table'
        /*>=15 , '(' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs)) || ')', 'where ' || pg_get_expr(r.prqual, c.oid) */
    ), c.own, chr(1)) AS definition
    FROM relation c JOIN pg_publication_rel r ON r.prrelid = c.oid
    /*>=15
    UNION ALL
    SELECT n.oid, NULL, s.pnpubid, 'all tables of the schema' FROM namespace n JOIN pg_publication_namespace s ON s.pnnspid = n.oid
    */
) x
JOIN pg_publication p ON p.oid = x.prpubid
CROSS JOIN LATERAL (SELECT
    'publication' AS kind,
    x."on",
    p.pubname AS name,
    x.definition
) line
