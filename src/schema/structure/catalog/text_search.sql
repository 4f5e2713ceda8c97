SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN (
    SELECT g.cfgnamespace AS schema, 'pg_ts_config'::regclass AS class, g.oid, 'text search configuration' AS kind,
        g.cfgname AS name, g.cfgowner AS owner, 'parser ' || (
            SELECT quote_ident(s.nspname) || '.' || quote_ident(p.prsname)
            FROM pg_ts_parser p JOIN pg_namespace s ON s.oid = p.prsnamespace WHERE p.oid = g.cfgparser
        ) AS definition, (
            SELECT array_agg(x.token || ': ' || x.dictionaries ORDER BY x.token) FROM (
                SELECT k.alias AS token, string_agg(w.mapdict::regdictionary::text, ', ' ORDER BY w.mapseqno) AS dictionaries
                FROM pg_ts_config_map w JOIN ts_token_type(g.cfgparser) k ON k.tokid = w.maptokentype
                WHERE w.mapcfg = g.oid GROUP BY k.alias
            ) x
        ) AS mappings
    FROM pg_ts_config g
    UNION ALL
    SELECT d.dictnamespace, 'pg_ts_dict'::regclass, d.oid, 'text search dictionary', d.dictname, d.dictowner,
        concat_ws(', ', 'template ' || (
            SELECT quote_ident(s.nspname) || '.' || quote_ident(t.tmplname)
            FROM pg_ts_template t JOIN pg_namespace s ON s.oid = t.tmplnamespace WHERE t.oid = d.dicttemplate
        ), d.dictinitoption), NULL
    FROM pg_ts_dict d
    UNION ALL
    SELECT p.prsnamespace, 'pg_ts_parser'::regclass, p.oid, 'text search parser', p.prsname, 0,
        concat_ws(', ', 'start ' || p.prsstart::regprocedure, 'gettoken ' || p.prstoken::regprocedure, 'end ' || p.prsend::regprocedure,
            'headline ' || nullif(p.prsheadline, 0)::regprocedure, 'lextypes ' || p.prslextype::regprocedure), NULL
    FROM pg_ts_parser p
    UNION ALL
    SELECT t.tmplnamespace, 'pg_ts_template'::regclass, t.oid, 'text search template', t.tmplname, 0,
        concat_ws(', ', 'init ' || nullif(t.tmplinit, 0)::regprocedure, 'lexize ' || t.tmpllexize::regprocedure), NULL
    FROM pg_ts_template t
) x ON x.schema = n.oid
LEFT JOIN pg_description o ON o.classoid = x.class AND o.objoid = x.oid
CROSS JOIN LATERAL (SELECT
    x.kind,
    NULL::text AS "on",
    x.name,
    replace(x.definition, n.own, chr(1)) AS definition,
    (SELECT array_agg(replace(v, n.own, chr(1))) FROM unnest(x.mappings) v) AS mappings,
    CASE WHEN x.owner NOT IN (0, n.nspowner) THEN pg_get_userbyid(x.owner) END AS owner,
    o.description AS comment
) line
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = x.class AND m.objid = x.oid)
