-- The catalogs have no index that leads from a schema to its objects, so each is read once for all schemas.
SELECT
    n.oid,
    coalesce(c.tables, 0) AS tables,
    coalesce(c.views, 0) AS views,
    coalesce(c.sequences, 0) AS sequences,
    coalesce(p.functions, 0) AS functions
FROM pg_catalog.unnest($1) AS n (oid)
LEFT JOIN (
    SELECT relnamespace,
        pg_catalog.count(*) FILTER (WHERE relkind IN ('r', 'p', 'f') AND relname <> $2) AS tables,
        pg_catalog.count(*) FILTER (WHERE relkind IN ('v', 'm')) AS views,
        pg_catalog.count(*) FILTER (WHERE relkind = 'S') AS sequences
    FROM pg_catalog.pg_class
    WHERE relnamespace = ANY ($1)
    GROUP BY relnamespace
) AS c ON c.relnamespace = n.oid
LEFT JOIN (
    SELECT pronamespace, pg_catalog.count(*) AS functions
    FROM pg_catalog.pg_proc
    WHERE pronamespace = ANY ($1)
    GROUP BY pronamespace
) AS p ON p.pronamespace = n.oid
