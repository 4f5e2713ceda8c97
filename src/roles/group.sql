-- The group with the mark in $1, if it has no members but roles that administer it, and no use in other databases.
SELECT r.rolname::pg_catalog.text AS name
FROM pg_catalog.pg_shdescription AS d
JOIN pg_catalog.pg_roles AS r ON r.oid = d.objoid
WHERE d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.description = $1
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m WHERE m.roleid = r.oid AND NOT m.admin_option)
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_shdepend AS s
        WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid AND s.dbid <> 0
            AND s.dbid <> (SELECT b.oid FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database())
    )
LIMIT 1
