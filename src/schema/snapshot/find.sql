WITH environment AS ($environment),
-- Whether another role may write scripts that this one would execute.
trusted AS (
    $trusted
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
