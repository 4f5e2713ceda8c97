SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_conversion k ON k.connamespace = n.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_conversion'::regclass AND o.objoid = k.oid
CROSS JOIN LATERAL (SELECT
    'conversion' AS kind,
    NULL::text AS "on",
    k.conname AS name,
    replace(concat_ws(', ',
        'from ' || pg_encoding_to_char(k.conforencoding), 'to ' || pg_encoding_to_char(k.contoencoding),
        'function ' || k.conproc::regprocedure, CASE WHEN k.condefault THEN 'default' END
    ), n.own, chr(1)) AS definition,
    CASE WHEN k.conowner <> n.nspowner THEN pg_get_userbyid(k.conowner) END AS owner,
    o.description AS comment
) line
WHERE k.oid NOT IN (SELECT x.objid FROM member x WHERE x.classid = 'pg_conversion'::regclass)
