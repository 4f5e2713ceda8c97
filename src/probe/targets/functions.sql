-- Functions that concern isolation. The search path has only pg_catalog, so that signatures are qualified.
-- $1: the probed role; $2: the schemas, or NULL for all but the server's own.
SELECT
    n.nspname::text AS schema,
    p.oid::regprocedure::text AS signature,
    format('%I.%I', n.nspname, p.proname) AS name,
    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS list (t, place) ORDER BY place)
        AS parameters,
    p.prokind::text AS kind,
    p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS is_trigger,
    p.prosecdef AND NOT pg_has_role($1::name, p.proowner, 'USAGE') AS runs_as_other,
    p.prosecdef AND p.prosqlbody IS NULL AND l.lanname NOT IN ('c', 'internal') AND COALESCE((
        SELECT substr(item, length('search_path=') + 1) FROM unnest(p.proconfig) AS item WHERE item LIKE 'search\_path=%'
    ), '') !~ '(^|, *)"?pg_temp"?$' AS has_open_path,
    p.proleakproof AND e.extname IS NULL AS is_leakproof,
    COALESCE(e.extname = 'dblink', false) AS is_dblink
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
LEFT JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND ($2::text[] IS NULL OR n.nspname = ANY ($2::text[]))
    AND NOT (n.nspname = 'tenantry' AND p.proname IN ('current_tenant', 'is_administrator', 'requires_context'))
    AND (e.extname IS NULL OR e.extname = 'dblink' OR p.prosecdef)
ORDER BY p.oid::regprocedure::text COLLATE "C"
