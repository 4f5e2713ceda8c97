-- What a move needs to know about the schema with the name $1.
WITH own AS (SELECT n.oid, n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1::name),
relation AS (SELECT c.oid, c.relname, c.relkind FROM pg_catalog.pg_class AS c JOIN own ON own.oid = c.relnamespace),
-- The objects that may have owners and privileges, by their catalog and oid.
object (class, id) AS (
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid, own.oid FROM own
    UNION SELECT d.classid, d.objid FROM pg_catalog.pg_depend AS d
        JOIN own ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND d.refobjid = own.oid
    UNION SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid, p.oid FROM pg_catalog.pg_policy AS p
        JOIN relation AS c ON c.oid = p.polrelid
    UNION SELECT 'pg_catalog.pg_default_acl'::pg_catalog.regclass::pg_catalog.oid, a.oid FROM pg_catalog.pg_default_acl AS a
        JOIN own ON own.oid = a.defaclnamespace
)
SELECT
    COALESCE((SELECT pg_catalog.sum(c.relpages)::bigint FROM pg_catalog.pg_class AS c JOIN own ON own.oid = c.relnamespace), 0)
        * pg_catalog.current_setting('block_size')::bigint AS bytes,
    ARRAY(SELECT c.relname::text FROM relation AS c WHERE c.relkind IN ('m', 'f') ORDER BY 1) AS others,
    ARRAY(
        SELECT pg_catalog.pg_get_userbyid(own.nspowner)::text FROM own
        UNION SELECT pg_catalog.pg_get_userbyid(s.refobjid)::text FROM pg_catalog.pg_shdepend AS s
            JOIN object AS o ON o.class = s.classid AND o.id = s.objid
        WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
            AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
        ORDER BY 1
    ) AS roles
