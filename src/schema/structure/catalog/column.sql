SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_description o ON o.classoid = 'pg_class'::regclass AND o.objoid = a.attrelid AND o.objsubid = a.attnum
/*>=18 LEFT JOIN pg_constraint nn ON nn.conrelid = a.attrelid AND nn.contype = 'n' AND nn.conkey[1] = a.attnum
    AND (NOT nn.convalidated OR nn.connoinherit) */
CROSS JOIN LATERAL (SELECT
    CASE WHEN c.relkind = 'c' THEN 'attribute' WHEN c.relkind IN ('i', 'I') THEN 'index column' ELSE 'column' END AS kind,
    c.relname AS "on",
    a.attname AS name,
    -- Numbers have gaps where columns were dropped. Equal numbers are equal positions, and the other way round it does
    -- not matter where tenants are only grouped.
    a.attnum /*few - (
        SELECT count(*) FROM pg_attribute g WHERE g.attrelid = a.attrelid AND g.attnum BETWEEN 1 AND a.attnum AND g.attisdropped
    ) */ AS position,
    replace(format_type(a.atttypid, a.atttypmod), c.own, chr(1)) AS type,
    CASE WHEN a.attcollation NOT IN (0, 100) THEN replace(a.attcollation::regcollation::text, c.own, chr(1)) END AS collation,
    a.attnotnull AS not_null,
    /*>=18 CASE WHEN nn.oid IS NOT NULL THEN concat_ws(', ', CASE WHEN NOT nn.convalidated THEN 'not valid' END,
        CASE WHEN nn.connoinherit THEN 'no inherit' END) END */ /*<18 NULL::text */ AS not_null_is,
    -- Only a generated column's expression has columns in it. To name the relation makes the server load all of it.
    replace(pg_get_expr(d.adbin, CASE WHEN a.attgenerated <> '' THEN d.adrelid ELSE 0 END), c.own, chr(1)) AS "default",
    nullif(a.attidentity, '') AS identity,
    nullif(a.attgenerated, '') AS generated,
    a.attstorage AS storage,
    nullif(a.attcompression, '') AS compression,
    nullif(a.attstattarget, -1) AS statistics,
    -- Some minor releases of the server stamp columns with a version.
    CASE WHEN a.attoptions IS NOT NULL
        AND NOT (cardinality(a.attoptions) = 1 AND starts_with(a.attoptions[1], 'pg_attver=')) THEN (
        SELECT array_agg(v ORDER BY v COLLATE "C") FROM unnest(a.attoptions) v WHERE NOT starts_with(v, 'pg_attver=')
    ) END AS options,
    a.attfdwoptions AS foreign_options,
    a.attislocal AS local,
    a.attinhcount AS inherited,
    grants(a.attacl, 'c', c.relowner, c.tenant_role) AS grants,
    o.description AS comment
) line
WHERE a.attnum > 0 AND NOT a.attisdropped AND (
    c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
    -- Of an index's columns only what can be set, and is.
    OR c.relkind IN ('i', 'I') AND (a.attstattarget >= 0 OR a.attoptions[1] IS NOT NULL AND NOT starts_with(a.attoptions[1], 'pg_attver='))
)
