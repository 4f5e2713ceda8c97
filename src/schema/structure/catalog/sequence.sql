SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
JOIN pg_sequence q ON q.seqrelid = c.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_class'::regclass AND o.objoid = c.oid AND o.objsubid = 0
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
/*few LEFT JOIN pg_attribute owning ON owning.attrelid = d.refobjid AND owning.attnum = d.refobjsubid */
LEFT JOIN pg_class owning_table ON owning_table.oid = d.refobjid
LEFT JOIN pg_namespace owning_schema ON owning_schema.oid = owning_table.relnamespace
LEFT JOIN (
    SELECT raw.relacl, raw.relowner, raw.tenant_role, grants(raw.relacl, 's', raw.relowner, raw.tenant_role) AS grants
    FROM (SELECT DISTINCT r.relacl, r.relowner, r.tenant_role FROM relation r WHERE r.relacl IS NOT NULL AND r.relkind = 'S') raw
) acl ON acl.relacl = c.relacl AND acl.relowner = c.relowner AND acl.tenant_role IS NOT DISTINCT FROM c.tenant_role
CROSS JOIN LATERAL (SELECT
    'sequence' AS kind,
    NULL::text AS "on",
    c.relname AS name,
    format_type(q.seqtypid, NULL) AS type,
    q.seqstart AS start,
    q.seqincrement AS increment,
    q.seqmin AS minimum,
    q.seqmax AS maximum,
    q.seqcache AS cache,
    q.seqcycle AS cycle,
    CASE WHEN owning_table.relnamespace <> c.relnamespace THEN quote_ident(owning_schema.nspname) || '.' ELSE '' END
        || quote_ident(owning_table.relname) || '.'
        || /*few quote_ident(owning.attname) */ /*hash d.refobjsubid */ AS owned_by,
    CASE d.deptype WHEN 'i' THEN true ELSE false END AS identity,
    CASE c.relpersistence WHEN 'u' THEN true ELSE false END AS unlogged,
    CASE WHEN c.relowner <> c.nspowner THEN pg_get_userbyid(c.relowner) END AS owner,
    acl.grants,
    o.description AS comment
) line
WHERE c.relkind = 'S'
