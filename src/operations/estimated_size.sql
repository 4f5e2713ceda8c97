(
    SELECT pg_catalog.sum(p.relpages) * pg_catalog.current_setting('block_size')::bigint
    FROM (
        SELECT i.indexrelid AS oid FROM pg_catalog.pg_index AS i WHERE i.indrelid IN (c.oid, c.reltoastrelid)
        UNION ALL
        VALUES (c.oid), (c.reltoastrelid)
        OFFSET 0
    ) AS part
    CROSS JOIN LATERAL (SELECT p.relpages FROM pg_catalog.pg_class AS p WHERE p.oid = part.oid OFFSET 0) AS p
)
