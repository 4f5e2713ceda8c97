WITH environment AS ($environment),
-- Whether another role may write scripts that this one would execute. The owner of the tracker is trusted.
trusted AS (
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
    WHERE c.oid = 'public.schema_snapshot'::pg_catalog.regclass
        AND tracker.oid = 'public.schema_tracker'::pg_catalog.regclass
)
SELECT
    environment.digest,
    trusted.is_trusted,
    s.placeholder,
    s.script,
    s.renamable,
    s.reason,
    s.checksum
FROM environment
CROSS JOIN trusted
LEFT JOIN public.schema_snapshot AS s
    ON trusted.is_trusted AND s.migrations = $2::pg_catalog.text AND s.environment = environment.digest
