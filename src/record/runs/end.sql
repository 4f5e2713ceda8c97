-- Also deletes runs that are older than the retention time, at most 100 at a time.
WITH later AS MATERIALIZED (SELECT pg_catalog.set_config('synchronous_commit', 'off', true)),
old AS (
    DELETE FROM public.schema_run
    WHERE id IN (
        SELECT id FROM public.schema_run
        WHERE started_at < pg_catalog.now() - $8 * interval '1 second' AND id <> $1
        ORDER BY started_at
        LIMIT 100
    )
    RETURNING id
),
old_tenants AS (DELETE FROM public.schema_run_tenant WHERE run IN (SELECT id FROM old))
UPDATE public.schema_run
SET ended_at = pg_catalog.now(), outcome = $2, done = $3, unchanged = $4, failed = $5, deferred = $6, not_reached = $7
FROM later
WHERE id = $1
