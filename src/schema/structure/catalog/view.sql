SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
LEFT JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN needed ON needed.classid = 'pg_class'::regclass AND needed.objid = c.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_class'::regclass AND o.objoid = c.oid AND o.objsubid = 0
CROSS JOIN LATERAL (SELECT
    CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END AS kind,
    NULL::text AS "on",
    c.relname AS name,
    replace(pg_get_viewdef(c.oid), c.own, chr(1)) AS definition,
    (SELECT array_agg(v ORDER BY v COLLATE "C") FROM unnest(c.reloptions) v WHERE NOT starts_with(v, 'security_')) AS options,
    (SELECT array_agg(v ORDER BY v COLLATE "C") FROM unnest(c.reloptions) v WHERE starts_with(v, 'security_')) AS security_options,
    m.amname AS access_method,
    s.spcname AS tablespace,
    CASE WHEN c.relowner <> c.nspowner THEN pg_get_userbyid(c.relowner) END AS owner,
    grants(c.relacl, 'r', c.relowner, c.tenant_role) AS grants,
    needed.extensions AS depends_on_extensions,
    o.description AS comment
) line
WHERE c.relkind IN ('v', 'm')
  /*part AND c.oid = ANY ($1) */
