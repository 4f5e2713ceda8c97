,
-- Which object uses which others: it is dropped before them, and its statement locks them, too, as a foreign key's does
-- the other table.
need AS (
    SELECT DISTINCT one.of_class, one.of_id, other.of_class AS class, other.of_id AS id
    FROM part AS one
    JOIN pg_depend AS d ON d.classid = one.classid AND d.objid = one.objid
    JOIN part AS other ON other.classid = d.refclassid AND other.objid = d.refobjid
    WHERE (one.of_class, one.of_id) <> (other.of_class, other.of_id)
),
needs AS (
    SELECT of_class, of_id, array_agg(class::oid) AS classes, array_agg(id) AS ids FROM need GROUP BY of_class, of_id
)
SELECT
    of_class::oid AS class,
    of_id AS id,
    count(*) AS locks,
    -- The ledger shows whose schema it was, also to who looks for orphans; what belongs to the schema alone goes with it.
    of_id IN (
        SELECT 0 UNION ALL
        SELECT oid FROM pg_class WHERE relnamespace = ANY($1) AND relname = '__diesel_schema_migrations'
    ) AS is_last,
    coalesce(needs.classes, '{}') AS used_classes,
    coalesce(needs.ids, '{}') AS used_ids
FROM part
LEFT JOIN needs USING (of_class, of_id)
GROUP BY of_class, of_id, needs.classes, needs.ids
ORDER BY class, id
