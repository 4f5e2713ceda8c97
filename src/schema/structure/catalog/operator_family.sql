SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_opfamily f ON f.opfnamespace = n.oid
JOIN pg_am m ON m.oid = f.opfmethod
LEFT JOIN pg_description o ON o.classoid = 'pg_opfamily'::regclass AND o.objoid = f.oid
CROSS JOIN LATERAL (SELECT
    'operator family' AS kind,
    NULL::text AS "on",
    quote_ident(f.opfname) || ' USING ' || m.amname AS name,
    (SELECT array_agg(x.text ORDER BY x.text COLLATE "C") FROM (
        SELECT replace('operator ' || p.amopstrategy || ' ' || p.amopopr::regoperator
            || coalesce(' for order by ' || (
            SELECT quote_ident(s.nspname) || '.' || quote_ident(o.opfname)
            FROM pg_opfamily o JOIN pg_namespace s ON s.oid = o.opfnamespace WHERE o.oid = p.amopsortfamily
        ), ''), n.own, chr(1)) AS text
        FROM pg_amop p WHERE p.amopfamily = f.oid
        UNION ALL
        SELECT replace('function ' || p.amprocnum || ' (' || format_type(p.amproclefttype, NULL) || ', '
            || format_type(p.amprocrighttype, NULL) || ') ' || p.amproc::regprocedure, n.own, chr(1))
        FROM pg_amproc p WHERE p.amprocfamily = f.oid
    ) x) AS members,
    CASE WHEN f.opfowner <> n.nspowner THEN pg_get_userbyid(f.opfowner) END AS owner,
    o.description AS comment
) line
WHERE f.oid NOT IN (SELECT x.objid FROM member x WHERE x.classid = 'pg_opfamily'::regclass)
