-- What the roles of tenants are used for elsewhere: $1 has the tenants, $2 their roles, $3 their marks. A role that does not
-- exist has no row.
SELECT
    w.tenant,
    w.role,
    EXISTS (
        SELECT FROM pg_catalog.pg_shdescription AS d
        WHERE d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.objoid = r.oid AND d.description = w.mark
    ) AS is_marked,
    -- Other databases with objects or privileges of the role. A shared object, such as a database, has the database 0.
    ARRAY(
        SELECT DISTINCT b.datname::pg_catalog.text FROM pg_catalog.pg_shdepend AS s
        JOIN pg_catalog.pg_database AS b
            ON b.oid = s.dbid OR (
                s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND b.oid = s.objid
            )
        WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid
            AND b.datname <> pg_catalog.current_database()
        ORDER BY 1
    ) AS databases,
    -- Objects outside of the tenant's schema.
    ARRAY(
        SELECT pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid) FROM pg_catalog.pg_shdepend AS s
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, s.objsubid) AS i
        WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid AND s.deptype = 'o'
            AND (s.dbid = 0 OR s.dbid = (SELECT b.oid FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database()))
            AND i.schema IS DISTINCT FROM pg_catalog.quote_ident(w.tenant)
            AND NOT (i.type = 'schema' AND i.name = w.tenant)
        ORDER BY 1 LIMIT 10
    ) AS owned
FROM ROWS FROM (
    pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.text[])
) AS w (tenant, role, mark)
JOIN pg_catalog.pg_roles AS r ON r.rolname = w.role::pg_catalog.name
