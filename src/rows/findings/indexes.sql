-- Indexes that policies make useless, and tables without an index for their policies.
, indexed AS (
    SELECT
        x.*, c.relname, n.nspname, i.relname AS index_name, i.relam,
        format('%I.%I', n.nspname, c.relname) AS table_name,
        (
            SELECT a.attnum FROM layout JOIN pg_attribute a ON a.attname = layout.tenant_column
            WHERE a.attrelid = c.oid AND NOT a.attisdropped
        ) AS tenant
    FROM pg_index x
    JOIN shared ON shared.oid = x.indrelid AND shared.use = 'isolated'
    JOIN pg_class c ON c.oid = x.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class i ON i.oid = x.indexrelid
)
SELECT
    'index.none-led-by-tenant' AS code,
    format('%I.%I', n.nspname, c.relname) AS object,
    format('%I.%I has no index that begins with %I: each query reads the rows of all tenants', n.nspname, c.relname, layout.tenant_column) AS message,
    ARRAY[format(
        'CREATE INDEX %sON %I.%I (%I)', CASE c.relkind WHEN 'p' THEN '' ELSE 'CONCURRENTLY ' END,
        n.nspname, c.relname, layout.tenant_column
    )] AS fix
FROM layout
CROSS JOIN shared
JOIN pg_class c ON c.oid = shared.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE shared.use = 'isolated'
    AND EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = layout.tenant_column AND NOT a.attisdropped
    )
    AND NOT EXISTS (
        SELECT FROM indexed x
        WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL AND x.indkey[0] = x.tenant
    )
UNION ALL
SELECT
    'index.dead-under-rls',
    format('%I.%I', x.nspname, x.index_name),
    format(
        'index %I of %s is not used for its column %s under row-level security, as %s',
        x.index_name, x.table_name, item.place,
        CASE item.number WHEN 0 THEN 'the column is an expression' ELSE 'its operators are not leakproof' END
    ),
    '{}'::text[]
FROM indexed x
CROSS JOIN LATERAL unnest(x.indkey::int2[], x.indclass::oid[]) WITH ORDINALITY AS item (number, class, place)
JOIN pg_opclass o ON o.oid = item.class
WHERE NOT x.indisunique AND NOT x.indisexclusion
    AND item.place <= x.indnkeyatts
    AND item.number IS DISTINCT FROM x.tenant
    AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = x.indexrelid)
    AND (
        item.number = 0
        OR o.opcname ~ '_pattern_ops$'
        OR NOT EXISTS (
            SELECT FROM pg_amop a JOIN pg_operator op ON op.oid = a.amopopr JOIN pg_proc p ON p.oid = op.oprcode
            WHERE a.amopfamily = o.opcfamily AND a.amoplefttype = o.opcintype AND a.amoppurpose = 's' AND p.proleakproof
        )
    )
