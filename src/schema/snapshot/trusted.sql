-- Whether no role but the connected one and the owner of the tracker, which is trusted, may write to a table.
SELECT c.relowner = tracker.relowner
    AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(c.relacl) AS a
        WHERE a.privilege_type <> 'SELECT' AND a.grantee <> c.relowner
            AND a.grantee <> (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER)
    )
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL
    ) AS is_trusted
FROM pg_catalog.pg_class AS c, pg_catalog.pg_class AS tracker
WHERE c.oid = '$table'::pg_catalog.regclass
    AND tracker.oid = 'public.schema_tracker'::pg_catalog.regclass
