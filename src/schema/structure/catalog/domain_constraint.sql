SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_type t ON t.typnamespace = n.oid
JOIN pg_constraint k ON k.contypid = t.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_constraint'::regclass AND o.objoid = k.oid
CROSS JOIN LATERAL (SELECT
    'domain constraint' AS kind,
    t.typname AS "on",
    k.conname AS name,
    replace(regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''), n.own, chr(1)) AS definition,
    k.convalidated AS validated,
    o.description AS comment
) line
WHERE t.typtype = 'd' AND k.contype <> 'n'
  AND t.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_type'::regclass)
  /*few AND t.oid IN (SELECT i.objid FROM inside i WHERE i.classid = 'pg_type'::regclass) */
