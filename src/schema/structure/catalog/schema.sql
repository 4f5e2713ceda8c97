SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
LEFT JOIN pg_description o ON o.classoid = 'pg_namespace'::regclass AND o.objoid = n.oid
CROSS JOIN LATERAL (SELECT
    'schema' AS kind,
    NULL::text AS "on",
    '' AS name,
    pg_get_userbyid(n.nspowner) AS owner,
    grants(n.nspacl, 'n', n.nspowner, n.tenant_role) AS grants,
    o.description AS comment
) line
