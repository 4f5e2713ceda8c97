SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
JOIN pg_rewrite r ON r.ev_class = c.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_rewrite'::regclass AND o.objoid = r.oid
CROSS JOIN LATERAL (SELECT
    'rule' AS kind,
    c.relname AS "on",
    r.rulename AS name,
    replace(pg_get_ruledef(r.oid), c.own, chr(1)) AS definition,
    r.ev_enabled AS enabled,
    o.description AS comment
) line
WHERE NOT (r.rulename = '_RETURN' AND r.ev_type = '1')
  /*part AND r.oid = ANY ($1) */
