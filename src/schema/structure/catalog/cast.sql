SELECT n.oid AS schema, line, NULL::text AS ddl
FROM pg_cast k
JOIN pg_type s ON s.oid = k.castsource
JOIN pg_type t ON t.oid = k.casttarget
JOIN namespace n ON n.oid IN (s.typnamespace, t.typnamespace)
LEFT JOIN pg_description o ON o.classoid = 'pg_cast'::regclass AND o.objoid = k.oid
CROSS JOIN LATERAL (SELECT
    'cast' AS kind,
    NULL::text AS "on",
    replace('(' || format_type(k.castsource, NULL) || ' AS ' || format_type(k.casttarget, NULL) || ')', n.own, chr(1)) AS name,
    replace(concat_ws(', ', 'method ' || k.castmethod::text, 'context ' || k.castcontext::text,
        'function ' || nullif(k.castfunc, 0)::regprocedure), n.own, chr(1)) AS definition,
    o.description AS comment
) line
-- Those before are the server's own.
WHERE k.oid >= 16384
  -- So is that of a range to its multirange.
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_cast'::regclass AND d.objid = k.oid AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i'
  )
  AND k.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_cast'::regclass)
