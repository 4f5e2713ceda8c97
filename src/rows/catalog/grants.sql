-- The privileges of the application's role and of PUBLIC on the tables and sequences of a schema, and the sequences that
-- they do not have them on. $1: the schema; $2: the application's role.
SELECT
    c.relname::text AS name,
    c.relkind = 'S' AS is_sequence,
    ARRAY(
        SELECT acl.privilege_type
        FROM aclexplode(c.relacl) AS acl
        WHERE acl.grantee = to_regrole(quote_ident($2::text))::oid
        ORDER BY 1
    ) AS of_application,
    EXISTS (SELECT FROM aclexplode(c.relacl) AS acl WHERE acl.grantee = 0) AS has_public,
    o.relname::text AS owner_table
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
-- The table whose identity or serial column uses the sequence.
LEFT JOIN pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class o ON o.oid = d.refobjid
WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p', 'S') AND c.relname <> '__diesel_schema_migrations'
ORDER BY c.relname::text COLLATE "C"
