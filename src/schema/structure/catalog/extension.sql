SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_extension e ON e.extnamespace = n.oid
CROSS JOIN LATERAL (SELECT
    'extension' AS kind,
    NULL::text AS "on",
    e.extname AS name,
    e.extversion AS version
) line
