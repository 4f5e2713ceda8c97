WITH environment AS ($environment)
INSERT INTO public.schema_snapshot AS s (migrations, environment, placeholder, script, renamable, reason, checksum)
SELECT $2, environment.digest, $4, $5, $6, $7, $8 FROM environment WHERE environment.digest = $3::pg_catalog.text
ON CONFLICT (migrations, environment) DO UPDATE SET
    placeholder = EXCLUDED.placeholder, script = EXCLUDED.script, renamable = EXCLUDED.renamable,
    reason = EXCLUDED.reason, checksum = EXCLUDED.checksum, made_at = pg_catalog.now()
