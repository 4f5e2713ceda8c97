-- The objects of extensions that have one of the names $1, for an error with the SQLSTATE $2.
WITH found AS (
    SELECT 'pg_catalog.pg_type'::regclass AS class, oid, typname AS name, typnamespace AS schema
    FROM pg_catalog.pg_type WHERE $2 = '42704' AND typname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_opclass'::regclass, oid, opcname, opcnamespace
    FROM pg_catalog.pg_opclass WHERE $2 = '42704' AND opcname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_opfamily'::regclass, oid, opfname, opfnamespace
    FROM pg_catalog.pg_opfamily WHERE $2 = '42704' AND opfname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_collation'::regclass, oid, collname, collnamespace
    FROM pg_catalog.pg_collation WHERE $2 = '42704' AND collname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_ts_config'::regclass, oid, cfgname, cfgnamespace
    FROM pg_catalog.pg_ts_config WHERE $2 = '42704' AND cfgname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_ts_dict'::regclass, oid, dictname, dictnamespace
    FROM pg_catalog.pg_ts_dict WHERE $2 = '42704' AND dictname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, oid, proname, pronamespace
    FROM pg_catalog.pg_proc WHERE $2 = '42883' AND proname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::regclass, oid, oprname, oprnamespace
    FROM pg_catalog.pg_operator WHERE $2 = '42883' AND oprname = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, oid, relname, relnamespace
    FROM pg_catalog.pg_class WHERE $2 = '42P01' AND relname = ANY ($1)
)
SELECT DISTINCT found.name::pg_catalog.text, e.extname::pg_catalog.text AS extension, n.nspname::pg_catalog.text AS schema
FROM found
JOIN pg_catalog.pg_depend AS d ON d.classid = found.class AND d.objid = found.oid AND d.deptype = 'e'
    AND d.refclassid = 'pg_catalog.pg_extension'::regclass
JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
JOIN pg_catalog.pg_namespace AS n ON n.oid = found.schema
ORDER BY 1, 2, 3
LIMIT 20
