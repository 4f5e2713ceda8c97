-- What every kind of object starts from: the schemas, and what is in them and belongs to no extension.
WITH namespace AS NOT MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl,
        -- The role of the tenant, found by its comment.
        CASE
            WHEN EXISTS (SELECT FROM aclexplode(n.nspacl) e WHERE e.grantee <> n.nspowner) THEN (
                SELECT e.grantee FROM aclexplode(n.nspacl) e
                JOIN pg_shdescription d ON d.objoid = e.grantee AND d.classoid = 'pg_authid'::regclass
                WHERE d.description = 'tenantry: database "' || replace(current_database(), '"', '""')
                    || '": role of tenant "' || replace(n.nspname, '"', '""') || '"'
                LIMIT 1
            )
            -- That of an archived tenant has no privileges on the schema.
            WHEN n.nspacl IS NOT NULL THEN (
                SELECT d.objoid FROM pg_shdescription d
                WHERE d.classoid = 'pg_authid'::regclass
                    AND d.description = 'tenantry: database "' || replace(current_database(), '"', '""')
                        || '": role of tenant "' || replace(n.nspname, '"', '""') || '"'
                LIMIT 1
            )
        END AS tenant_role,
        /*hash quote_ident(n.nspname) || '.' */ /*few '' */ AS own
    FROM pg_namespace n
    /*few WHERE n.oid = ANY ($1) */ /*fleet WHERE n.oid = ANY ($1) */
),
/*few
-- There is no index that leads from a schema to what is in it, but the one of the dependencies; a composite type's
-- relation depends on the type, and an index on its table.
inside AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_depend d
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY ($1)
    UNION ALL
    SELECT 'pg_class'::regclass, t.typrelid FROM pg_depend d JOIN pg_type t ON t.oid = d.objid
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY ($1)
      AND d.classid = 'pg_type'::regclass AND t.typrelid <> 0
    UNION ALL
    SELECT 'pg_class'::regclass, x.indexrelid FROM pg_depend d JOIN pg_index x ON x.indrelid = d.objid
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = ANY ($1) AND d.classid = 'pg_class'::regclass
),
*/
member AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
),
-- What is dropped with an extension, though it is none of its members.
needed AS MATERIALIZED (
    SELECT d.classid, d.objid, array_agg(e.extname ORDER BY e.extname) AS extensions
    FROM pg_depend d
    JOIN pg_extension e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'x'
    GROUP BY d.classid, d.objid
),
relation AS NOT MATERIALIZED (
    SELECT c.*, n.nspowner, n.own, n.tenant_role
    FROM namespace n
    JOIN pg_class c ON c.relnamespace = n.oid
    WHERE c.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_class'::regclass)
      /*few AND c.oid IN (SELECT i.objid FROM inside i WHERE i.classid = 'pg_class'::regclass) */
)
