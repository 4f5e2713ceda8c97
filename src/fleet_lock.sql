SELECT
    run.id AS run,
    run.command,
    -- Before it is recorded, the name of its session tells: tenantry fleet 4711 ops@db1
    coalesce(run.pid, substring(activity.application_name FROM '^tenantry fleet ([0-9]{1,9}) ')::integer) AS pid,
    coalesce(run.host, substring(activity.application_name FROM '^tenantry fleet .*@(.+)$')) AS host,
    coalesce(
        run.os_user,
        run.role,
        substring(activity.application_name FROM '^tenantry fleet [0-9]* (.+)@'),
        activity.usename::text
    ) AS "user",
    coalesce(run.started_at, activity.xact_start) AS started_at,
    lock.pid AS backend
FROM pg_locks AS lock
LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
LEFT JOIN LATERAL (
    SELECT * FROM public.schema_run
    WHERE schema_run.backend = lock.pid
        AND schema_run.ended_at IS NULL
        -- Not of a run that was cut off, whose process had the same number.
        AND (activity.xact_start IS NULL OR schema_run.started_at >= activity.xact_start)
    ORDER BY id DESC
    LIMIT 1
) AS run ON true
-- The two halves of the key.
CROSS JOIN LATERAL (SELECT hashtextextended('tenantry: the fleet', 0) AS key) AS fleet
WHERE lock.locktype = 'advisory'
    AND lock.granted
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.objsubid = 1
    AND lock.classid::bigint = (fleet.key >> 32) & 4294967295
    AND lock.objid::bigint = fleet.key & 4294967295
ORDER BY run.started_at NULLS LAST, lock.pid
LIMIT 1
