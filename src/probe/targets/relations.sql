-- Tables, views and sequences, with what an attempt needs to know of them. The search path has only pg_catalog.
-- $1: the probed role; $2: the tenant column; $3: the schemas, or NULL for all but the server's own.
SELECT
    n.nspname::text AS schema,
    c.relname::text AS name,
    c.relkind::text AS kind,
    c.relispartition AS is_partition,
    COALESCE(obj_description(c.oid, 'pg_class') ~ '^tenantry: exempt\M', false) AS is_exempt,
    EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS has_rules,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) AS has_triggers,
    -- Whether a trigger may do what a rollback does not undo.
    EXISTS (
        SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
        WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND p.pronamespace <> 'pg_catalog'::regnamespace
            AND (l.lanname NOT IN ('sql', 'plpgsql') OR p.prosrc ~* 'nextval|setval|dblink|lo_export|program')
    ) AS has_lasting_effects,
    ARRAY(
        SELECT i.relname::text
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attname = $2::text
        WHERE (x.indisunique OR x.indisexclusion)
            AND (x.indrelid = c.oid OR x.indrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))
            AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
    ) AS keys_with_tenant,
    -- The columns of each of them, but the tenant's, as JSON.
    ARRAY(
        SELECT to_json(ARRAY(
            SELECT k.attname::text FROM pg_attribute k
            WHERE k.attrelid = c.oid AND k.attname <> $2::text AND k.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
        ))::text
        FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attname = $2::text
        WHERE (x.indisunique OR x.indisexclusion) AND x.indrelid = c.oid
            AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
    ) AS key_columns,
    EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND (x.indisunique OR x.indisexclusion)) AS has_unique_keys,
    ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
    ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS types,
    ARRAY(SELECT (CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END)::regtype::text FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS base_types,
    ARRAY(SELECT a.attnotnull FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS not_nulls,
    ARRAY(SELECT has_column_privilege($1::name, c.oid, a.attnum, 'INSERT') FROM pg_attribute a WHERE a.attrelid = c.oid
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS insertable,
    ARRAY(SELECT has_column_privilege($1::name, c.oid, a.attnum, 'UPDATE') FROM pg_attribute a WHERE a.attrelid = c.oid
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS updatable,
    ARRAY(SELECT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND a.attnum = ANY (k.conkey))
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ORDER BY a.attnum) AS refers
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND ($3::text[] IS NULL OR n.nspname = ANY ($3::text[]))
    AND (n.nspname = 'tenantry' OR NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
    ))
ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C"
