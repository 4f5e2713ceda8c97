-- $1 is the shard that is refused, and $2 how many there are of it; neither for a run over the whole fleet.
WITH key AS (
    SELECT
        hashtextextended('tenantry: the fleet', 0) AS fleet,
        hashtextextended('tenantry: shard ' || $1, 0) AS shard,
        hashtext('tenantry: shards')::bigint & 4294967295 AS split
),
-- What is in the way, that first which has to end in any case.
holding AS (
    SELECT
        lock.pid,
        CASE
            WHEN halves.one AND (lock.classid::bigint << 32 | lock.objid::bigint) = key.shard THEN 1
            -- A run over a shard has it shared with the others.
            WHEN halves.one AND (lock.classid::bigint << 32 | lock.objid::bigint) = key.fleet
                AND ($1 IS NULL OR lock.mode = 'ExclusiveLock') THEN 2
            WHEN NOT halves.one AND lock.classid::bigint = key.split AND lock.objid::bigint <> $2 THEN 3
        END AS rank,
        lock.objid::bigint AS second
    FROM pg_locks AS lock
    CROSS JOIN key
    -- Whether the two numbers are the halves of one key.
    CROSS JOIN LATERAL (SELECT lock.objsubid = 1 AS one) AS halves
    WHERE lock.locktype = 'advisory'
        AND lock.granted
        AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
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
    holding.pid AS backend,
    CASE WHEN holding.rank = 3 THEN holding.second::integer END AS shards
FROM holding
LEFT JOIN pg_stat_activity AS activity ON activity.pid = holding.pid
-- And then: tenantry/12: fleet
LEFT JOIN public.schema_run AS run
    ON run.id = substring(activity.application_name FROM '^tenantry/([0-9]{1,18}): ')::bigint
WHERE holding.rank IS NOT NULL
ORDER BY holding.rank, run.started_at NULLS LAST, holding.pid
LIMIT 1
