SELECT
    n.oid,
    count(*) FILTER (WHERE c.relkind IN ('r', 'p') AND c.relname <> '__diesel_schema_migrations') AS tables,
    -- -1 where a table was never analyzed
    coalesce(sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations'), 0)::bigint
        AS estimated_rows,
    coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm')), 0)::bigint AS bytes
FROM pg_namespace AS n
LEFT JOIN pg_class AS c ON c.relnamespace = n.oid
WHERE n.oid = ANY($1)
GROUP BY n.oid
