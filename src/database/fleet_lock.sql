-- Who holds the lock of the fleet. $1 is the shard that is refused and $2 the number of shards; both are NULL for a run
-- over the whole fleet.
WITH key AS (
    SELECT
        pg_catalog.hashtextextended('tenantry: the fleet', 0) AS fleet,
        pg_catalog.hashtextextended('tenantry: shard ' || $1::pg_catalog.text, 0) AS shard,
        pg_catalog.hashtext('tenantry: shards')::bigint & 4294967295 AS split
),
-- The conflicting locks; first the one that must be released in any case.
holding AS (
    SELECT
        lock.pid,
        lock.virtualtransaction,
        CASE
            WHEN halves.one AND (lock.classid::bigint << 32 | lock.objid::bigint) = key.shard THEN 1
            -- Runs over shards hold it in shared mode.
            WHEN halves.one AND (lock.classid::bigint << 32 | lock.objid::bigint) = key.fleet
                AND ($1 IS NULL OR lock.mode = 'ExclusiveLock') THEN 2
            WHEN NOT halves.one AND lock.classid::bigint = key.split AND lock.objid::bigint <> $2 THEN 3
        END AS rank,
        lock.objid::bigint AS second
    FROM pg_catalog.pg_locks AS lock
    CROSS JOIN key
    -- Whether the two numbers are the halves of one key.
    CROSS JOIN LATERAL (SELECT lock.objsubid = 1 AS one) AS halves
    WHERE lock.locktype = 'advisory'
        AND lock.granted
        AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
)
SELECT
    run.id AS run,
    run.command,
    -- Before the run is recorded, the session's name identifies it: tenantry fleet 4711 ops@db1
    coalesce(run.pid, named.pid) AS client_pid,
    coalesce(run.host, named.host) AS host,
    coalesce(run.os_user, run.role, named.os_user) AS os_user,
    run.started_at,
    CASE WHEN held.rank = 3 THEN held.second::integer END AS shards,
    HOLDER_COLUMNS
FROM holding AS held
HOLDER_JOINS
-- Once the run is recorded: tenantry/12: fleet. Any session can take that name, but not the role that the run has.
LEFT JOIN public.schema_run AS run
    ON run.id = substring(activity.application_name FROM '^tenantry/([0-9]{1,18}): fleet$')::bigint
    AND run.role = activity.usename::text
    AND run.ended_at IS NULL
LEFT JOIN LATERAL (
    SELECT
        substring(activity.application_name FROM '^tenantry fleet ([0-9]{1,9}) ')::integer AS pid,
        substring(activity.application_name FROM '^tenantry fleet .*@(.+)$') AS host,
        substring(activity.application_name FROM '^tenantry fleet [0-9]* (.+)@') AS os_user
) AS named ON activity.usename = session_user
WHERE held.rank IS NOT NULL AND held.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY held.rank, run.started_at NULLS LAST, held.pid
LIMIT 1
