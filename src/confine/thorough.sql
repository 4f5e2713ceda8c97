DECLARE
    tenant CONSTANT oid := $tenant;
    horizon CONSTANT oid := $horizon;
    own CONSTANT bigint := pg_catalog.pg_current_xact_id()::text::bigint;
    -- Changed objects outside the tenant, and dropped objects, as catalog/oid.
    outside text[];
    gone text[];
    more text[];
    inventory CONSTANT refcursor := 'tenantry_inventory';
    fresh oid;
    class oid;
    catalog oid;
    rows text;
BEGIN
    -- Objects with a lock of a mode that INSERT, ALTER or DROP takes.
    SELECT
        pg_catalog.array_agg(pg_catalog.concat(t.class, '/', t.id)) FILTER (WHERE NOT t.gone),
        pg_catalog.array_agg(pg_catalog.concat(t.class, '/', t.id)) FILTER (WHERE t.gone)
    INTO outside, gone
    FROM (
        SELECT DISTINCT 1259::oid AS class, l.relation AS id, c.oid IS NULL AS gone
        FROM pg_catalog.pg_lock_status() AS l
        LEFT JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
            AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
            AND (
                c.oid IS NULL
                OR c.relnamespace NOT IN (tenant, 11, 99) AND c.relpersistence <> 't'
                OR c.oid = ANY ($shared)
            )
        UNION ALL
        SELECT DISTINCT l.classid, l.objid, i.identity IS NULL
        FROM pg_catalog.pg_lock_status() AS l
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(l.classid, l.objid, 0) AS i
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'object'
            AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
            -- Defaults, rules, triggers and policies: the lock of the table shows them.
            AND NOT l.classid = ANY ('{2604,2618,2620,3256}'::oid[])
            AND NOT (l.classid = 2615 AND (l.objid = tenant OR pg_catalog.starts_with(i.identity, 'pg_')))
            AND coalesce(i.schema, '') NOT IN ($quoted, 'pg_temp')
    ) AS t;

    IF gone IS NOT NULL THEN
        $inventory
        gone := ARRAY(SELECT pg_catalog.unnest(gone) EXCEPT SELECT pg_catalog.unnest(more));
        IF pg_catalog.cardinality(gone) > 0 THEN
            -- OIDs wrap around. Objects that this transaction created have an OID between the horizon and a fresh one.
            fresh := pg_catalog.lo_create(0);
            PERFORM pg_catalog.lo_unlink(fresh);
            gone := ARRAY(
                SELECT g.key FROM pg_catalog.unnest(gone) AS g (key)
                CROSS JOIN LATERAL (SELECT pg_catalog.split_part(g.key, '/', 2)::oid) AS o (id)
                WHERE NOT CASE
                    WHEN horizon < fresh THEN o.id > horizon AND o.id < fresh
                    ELSE o.id > horizon OR o.id < fresh
                END
            );
            outside := outside || gone;
        END IF;
    END IF;

    -- Changes that take no lock. New objects are found by their OIDs, replaced ones in the schemas that a name may resolve to.
    FOR class, catalog, rows IN SELECT v.* FROM (VALUES $classes) AS v LOOP
        IF pg_catalog.pg_stat_get_xact_tuples_inserted(catalog) + pg_catalog.pg_stat_get_xact_tuples_updated(catalog) > 0
            OR pg_catalog.current_setting('track_counts') = 'off'
        THEN
            -- Whether this transaction or one of its subtransactions wrote the row. age() turns the 32-bit xmin into a 64-bit
            -- transaction ID.
            EXECUTE pg_catalog.concat(
                'SELECT pg_catalog.array_agg(pg_catalog.concat(', class, '::text, ''/'', o.oid)) FROM pg_catalog.', rows,
                ' AND CASE WHEN pg_catalog.age(o.xmin) <= 0 THEN',
                ' pg_catalog.pg_xact_status(($3 - pg_catalog.age(o.xmin))::text::xid8) = ''in progress'' ELSE false END'
            ) INTO more USING tenant, horizon, own, $neighbours;
            outside := outside || more;
        END IF;
    END LOOP;

    IF pg_catalog.cardinality(outside) > 0 THEN
        RAISE EXCEPTION '$outside' USING DETAIL = (
            SELECT pg_catalog.string_agg(DISTINCT pg_catalog.concat(
                o.key, ' ',
                pg_catalog.pg_describe_object(pg_catalog.split_part(o.key, '/', 1)::oid, pg_catalog.split_part(o.key, '/', 2)::oid, 0)
            ), pg_catalog.chr(10))
            FROM pg_catalog.unnest(outside[1:20]) AS o (key)
        );
    END IF;
END;
