-- The tables, rows and bytes in each of some schemas.
SELECT wanted.oid, contents.tables, contents.estimated_rows, contents.dead_rows, contents.bytes
FROM pg_catalog.unnest($1) AS wanted (oid)
-- Uses the index of pg_depend, as inside.sql does: the cost does not depend on the other schemas of the database.
CROSS JOIN LATERAL (
    SELECT
        pg_catalog.count(*) FILTER (WHERE c.relkind IN ('r', 'p') AND c.relname <> '__diesel_schema_migrations') AS tables,
        -- reltuples is -1 for a table that was never analyzed.
        coalesce(
            pg_catalog.sum(greatest(c.reltuples, 0))
                FILTER (WHERE c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations'),
            0
        )::bigint AS estimated_rows,
        coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_dead_tuples(c.oid)) FILTER (WHERE c.relkind = 'r'), 0)::bigint AS dead_rows,
        coalesce(
            pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm')),
            0
        )::bigint AS bytes
    FROM pg_catalog.pg_depend AS d
    CROSS JOIN LATERAL (
        SELECT c.oid, c.relname, c.relkind, c.reltuples, c.reltoastrelid
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = d.objid AND c.tableoid = d.classid
        OFFSET 0
    ) AS c
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND d.refobjid = wanted.oid
    OFFSET 0
) AS contents
