SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_collation k ON k.collnamespace = n.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_collation'::regclass AND o.objoid = k.oid
CROSS JOIN LATERAL (SELECT
    'collation' AS kind,
    NULL::text AS "on",
    k.collname AS name,
    concat_ws(', ',
        'provider ' || k.collprovider::text, 'lc_collate ' || k.collcollate, 'lc_ctype ' || k.collctype,
        /*>=17 'locale ' || k.colllocale, */ /*15-16 'locale ' || k.colliculocale, */
        /*>=16 'rules ' || k.collicurules, */
        CASE WHEN NOT k.collisdeterministic THEN 'not deterministic' END, 'encoding ' || nullif(k.collencoding, -1)
    ) AS definition,
    CASE WHEN k.collowner <> n.nspowner THEN pg_get_userbyid(k.collowner) END AS owner,
    o.description AS comment
) line
WHERE k.oid NOT IN (SELECT x.objid FROM member x WHERE x.classid = 'pg_collation'::regclass)
