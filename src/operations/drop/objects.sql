,
-- The dependencies of the objects, beside the objects, sorted by address. Unlike a join, a sort needs no estimate of the
-- number of rows.
edge AS (
    SELECT classid, objid, of_class, of_id, NULL::pg_catalog.oid AS user_class, NULL::pg_catalog.oid AS user_id
    FROM part
    UNION ALL
    SELECT d.refclassid, d.refobjid, NULL, NULL, part.of_class, part.of_id
    FROM part
    CROSS JOIN LATERAL (
        SELECT d.refclassid, d.refobjid
        FROM pg_catalog.pg_depend AS d
        WHERE d.classid = part.classid AND d.objid = part.objid
        OFFSET 0
    ) AS d
),
addressed AS (
    SELECT
        user_class,
        user_id,
        pg_catalog.max(of_class) OVER same AS used_class,
        pg_catalog.max(of_id) OVER same AS used_id
    FROM edge
    WINDOW same AS (PARTITION BY classid, objid)
),
-- The objects that each object uses. It is dropped before them, and its statement locks them, too: dropping a foreign key
-- locks the referenced table.
need AS (
    SELECT DISTINCT user_class, user_id, used_class, used_id
    FROM addressed
    WHERE user_class <> used_class OR user_id <> used_id
)
SELECT
    class,
    id,
    pg_catalog.count(*) FILTER (WHERE used_id IS NULL) AS locks,
    -- The ledger is dropped last, because it identifies the schema as a tenant's. Parts of the schema alone are dropped with
    -- the schema.
    id = '0' OR EXISTS (
        SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = id AND c.relname = '__diesel_schema_migrations'
    ) AS is_last,
    coalesce(pg_catalog.array_agg(used_class) FILTER (WHERE used_id IS NOT NULL), '{}') AS used_classes,
    coalesce(pg_catalog.array_agg(used_id) FILTER (WHERE used_id IS NOT NULL), '{}') AS used_ids
FROM (
    SELECT of_class AS class, of_id AS id, NULL::pg_catalog.oid AS used_class, NULL::pg_catalog.oid AS used_id FROM part
    UNION ALL
    SELECT user_class, user_id, used_class, used_id FROM need
) AS object
GROUP BY class, id
ORDER BY class, id
