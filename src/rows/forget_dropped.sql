-- Forgets what isolation replaced and no longer exists. $1: the shared schema. The search path has only pg_catalog.
DELETE FROM public.row_isolation AS i
WHERE NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text AND c.relname = i.table_name AND c.relkind IN ('r', 'p')
        AND CASE i.kind
            WHEN 'constraint' THEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conname = i.name)
            WHEN 'index' THEN EXISTS (
                SELECT FROM pg_index x JOIN pg_class o ON o.oid = x.indexrelid WHERE x.indrelid = c.oid AND o.relname = i.name
            )
            ELSE EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = i.name AND NOT a.attisdropped
            )
        END
)
