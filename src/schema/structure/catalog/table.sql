SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
LEFT JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid AND toast.reloptions IS NOT NULL
LEFT JOIN pg_description o ON o.classoid = 'pg_class'::regclass AND o.objoid = c.oid AND o.objsubid = 0
LEFT JOIN (
    SELECT h.inhrelid, string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhseqno) AS parents
    FROM pg_inherits h
    /*few WHERE h.inhrelid IN (SELECT i.objid FROM inside i WHERE i.classid = 'pg_class'::regclass) */
    GROUP BY h.inhrelid
) heir ON heir.inhrelid = c.oid
LEFT JOIN pg_foreign_table f ON f.ftrelid = c.oid
LEFT JOIN pg_foreign_server fs ON fs.oid = f.ftserver
LEFT JOIN (
    SELECT raw.relacl, raw.relowner, raw.tenant_role, grants(raw.relacl, 'r', raw.relowner, raw.tenant_role) AS grants
    FROM (SELECT DISTINCT r.relacl, r.relowner, r.tenant_role FROM relation r WHERE r.relacl IS NOT NULL) raw
) acl ON acl.relacl = c.relacl AND acl.relowner = c.relowner AND acl.tenant_role IS NOT DISTINCT FROM c.tenant_role
CROSS JOIN LATERAL (SELECT
    CASE c.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
    NULL::text AS "on",
    c.relname AS name,
    CASE c.relpersistence WHEN 'u' THEN true ELSE false END AS unlogged,
    m.amname AS access_method,
    s.spcname AS tablespace,
    sorted(c.reloptions) AS options,
    sorted(toast.reloptions) AS toast_options,
    -- The index of a replica identity is marked there.
    nullif(c.relreplident, 'd') AS replica_identity,
    c.relrowsecurity AS row_security,
    c.relforcerowsecurity AS force_row_security,
    CASE WHEN c.reloftype <> 0 THEN replace(format_type(c.reloftype, NULL), c.own, chr(1)) END AS of_type,
    replace(heir.parents, c.own, chr(1)) AS inherits,
    CASE WHEN c.relkind = 'p' THEN replace(pg_get_partkeydef(c.oid), c.own, chr(1)) END AS partition_key,
    CASE WHEN c.relispartition THEN replace(pg_get_expr(c.relpartbound, c.oid), c.own, chr(1)) END AS partition_bound,
    fs.srvname AS server,
    f.ftoptions AS foreign_options,
    CASE WHEN c.relowner <> c.nspowner THEN pg_get_userbyid(c.relowner) END AS owner,
    acl.grants,
    o.description AS comment
) line
WHERE c.relkind IN ('r', 'p', 'f')
