SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_statistic_ext e ON e.stxnamespace = n.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_statistic_ext'::regclass AND o.objoid = e.oid
CROSS JOIN LATERAL (SELECT
    'statistics' AS kind,
    (SELECT c.relname FROM pg_class c WHERE c.oid = e.stxrelid) AS "on",
    e.stxname AS name,
    replace(pg_get_statisticsobjdef(e.oid), n.own, chr(1)) AS definition,
    nullif(e.stxstattarget, -1) AS target,
    CASE WHEN e.stxowner <> n.nspowner THEN pg_get_userbyid(e.stxowner) END AS owner,
    o.description AS comment
) line
WHERE e.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_statistic_ext'::regclass)
