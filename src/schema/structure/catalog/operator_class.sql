SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_opclass k ON k.opcnamespace = n.oid
JOIN pg_am m ON m.oid = k.opcmethod
JOIN pg_opfamily f ON f.oid = k.opcfamily
JOIN pg_namespace fs ON fs.oid = f.opfnamespace
LEFT JOIN pg_description o ON o.classoid = 'pg_opclass'::regclass AND o.objoid = k.oid
CROSS JOIN LATERAL (SELECT
    'operator class' AS kind,
    NULL::text AS "on",
    quote_ident(k.opcname) || ' USING ' || m.amname AS name,
    replace(concat_ws(', ',
        'for type ' || format_type(k.opcintype, NULL), 'family ' || quote_ident(fs.nspname) || '.' || quote_ident(f.opfname),
        CASE WHEN k.opcdefault THEN 'default' END, 'storage ' || format_type(nullif(k.opckeytype, 0), NULL)
    ), n.own, chr(1)) AS definition,
    CASE WHEN k.opcowner <> n.nspowner THEN pg_get_userbyid(k.opcowner) END AS owner,
    o.description AS comment
) line
WHERE k.oid NOT IN (SELECT x.objid FROM member x WHERE x.classid = 'pg_opclass'::regclass)
