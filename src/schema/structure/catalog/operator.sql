SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_operator p ON p.oprnamespace = n.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_operator'::regclass AND o.objoid = p.oid
CROSS JOIN LATERAL (SELECT
    'operator' AS kind,
    NULL::text AS "on",
    p.oprname || ' (' || replace(coalesce(format_type(nullif(p.oprleft, 0), NULL), 'NONE') || ', '
        || coalesce(format_type(nullif(p.oprright, 0), NULL), 'NONE'), n.own, chr(1)) || ')' AS name,
    replace(concat_ws(', ',
        'function ' || p.oprcode::regprocedure, 'result ' || format_type(p.oprresult, NULL),
        'commutator ' || nullif(p.oprcom, 0)::regoperator, 'negator ' || nullif(p.oprnegate, 0)::regoperator,
        'restrict ' || nullif(p.oprrest, 0)::regprocedure, 'join ' || nullif(p.oprjoin, 0)::regprocedure,
        CASE WHEN p.oprcanhash THEN 'hashes' END, CASE WHEN p.oprcanmerge THEN 'merges' END
    ), n.own, chr(1)) AS definition,
    CASE WHEN p.oprowner <> n.nspowner THEN pg_get_userbyid(p.oprowner) END AS owner,
    o.description AS comment
) line
WHERE p.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_operator'::regclass)
