SELECT n.oid AS schema, line, NULL::text AS ddl
FROM pg_seclabel l
CROSS JOIN LATERAL pg_identify_object(l.classoid, l.objoid, l.objsubid) i
-- Both are quoted where they must be.
JOIN namespace n ON quote_ident(n.nspname) = i.schema OR i.type = 'schema' AND quote_ident(n.nspname) = i.name
CROSS JOIN LATERAL (SELECT
    'security label' AS kind,
    NULL::text AS "on",
    CASE WHEN l.classoid = 'pg_namespace'::regclass THEN 'schema'
        ELSE i.type || ' ' || replace(i.identity, quote_ident(n.nspname) || '.', chr(1)) END || ' for ' || l.provider AS name,
    l.label
) line
