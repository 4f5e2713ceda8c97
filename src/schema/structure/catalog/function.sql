SELECT n.oid AS schema, line, /*few CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END */ /*hash NULL::text */ AS ddl
FROM namespace n
JOIN pg_proc p ON p.pronamespace = n.oid
JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
LEFT JOIN needed ON needed.classid = 'pg_proc'::regclass AND needed.objid = p.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_proc'::regclass AND o.objoid = p.oid
CROSS JOIN LATERAL (SELECT
    CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
    NULL::text AS "on",
    quote_ident(p.proname) || '(' || replace(oidvectortypes(p.proargtypes), n.own, chr(1)) || ')' AS name,
    replace(pg_get_function_arguments(p.oid), n.own, chr(1)) AS arguments,
    replace(pg_get_function_result(p.oid), n.own, chr(1)) AS result,
    p.prokind = 'w' AS "window",
    l.lanname AS language,
    p.provolatile AS volatility,
    p.proisstrict AS strict,
    p.prosecdef AS security_definer,
    p.proleakproof AS leakproof,
    p.proparallel AS parallel,
    p.procost AS cost,
    p.prorows AS rows,
    CASE WHEN p.proconfig IS NOT NULL THEN (
        SELECT array_agg(/*few v */ /*hash replace(v, quote_ident(n.nspname), chr(2)) */ ORDER BY v COLLATE "C") FROM unnest(p.proconfig) v
    ) END AS settings,
    CASE WHEN p.prosupport <> 0 THEN p.prosupport::regprocedure::text END AS support,
    CASE WHEN p.protrftypes IS NOT NULL THEN (
        SELECT array_agg(replace(format_type(t, NULL), n.own, chr(1)) ORDER BY t) FROM unnest(p.protrftypes) t
    ) END AS transforms,
    -- To deparse a body takes locks on what it reads: those are read apart.
    replace(CASE WHEN p.prosqlbody IS NULL THEN p.prosrc /*few ELSE pg_get_function_sqlbody(p.oid) */ END, n.own, chr(1)) AS body,
    p.prosqlbody IS NOT NULL AS sql_body,
    p.probin AS library,
    CASE WHEN g.aggfnoid IS NOT NULL THEN replace(concat_ws(', ',
        'kind ' || g.aggkind::text, 'direct arguments ' || g.aggnumdirectargs,
        'sfunc ' || g.aggtransfn::regprocedure, 'stype ' || format_type(g.aggtranstype, NULL), 'sspace ' || g.aggtransspace,
        'finalfunc ' || nullif(g.aggfinalfn, 0)::regprocedure, 'finalfunc_extra ' || g.aggfinalextra, 'finalfunc_modify ' || g.aggfinalmodify::text,
        'combinefunc ' || nullif(g.aggcombinefn, 0)::regprocedure, 'serialfunc ' || nullif(g.aggserialfn, 0)::regprocedure,
        'deserialfunc ' || nullif(g.aggdeserialfn, 0)::regprocedure, 'initcond ' || quote_literal(g.agginitval),
        'msfunc ' || nullif(g.aggmtransfn, 0)::regprocedure, 'minvfunc ' || nullif(g.aggminvtransfn, 0)::regprocedure,
        'mstype ' || format_type(nullif(g.aggmtranstype, 0), NULL), 'msspace ' || g.aggmtransspace,
        'mfinalfunc ' || nullif(g.aggmfinalfn, 0)::regprocedure, 'mfinalfunc_extra ' || g.aggmfinalextra,
        'mfinalfunc_modify ' || g.aggmfinalmodify::text, 'minitcond ' || quote_literal(g.aggminitval),
        'sortop ' || nullif(g.aggsortop, 0)::regoperator
    ), n.own, chr(1)) END AS aggregate,
    needed.extensions AS depends_on_extensions,
    CASE WHEN p.proowner <> n.nspowner THEN pg_get_userbyid(p.proowner) END AS owner,
    grants(p.proacl, 'f', p.proowner, n.tenant_role) AS grants,
    o.description AS comment
) line
WHERE p.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_proc'::regclass)
  /*few AND p.oid IN (SELECT i.objid FROM inside i WHERE i.classid = 'pg_proc'::regclass) */
  -- The constructors of a range are its own.
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i'
  )
