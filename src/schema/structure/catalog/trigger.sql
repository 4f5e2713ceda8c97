SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
JOIN pg_trigger g ON g.tgrelid = c.oid
/*hash LEFT JOIN pg_proc f ON f.oid = g.tgfoid */
LEFT JOIN needed ON needed.classid = 'pg_trigger'::regclass AND needed.objid = g.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_trigger'::regclass AND o.objoid = g.oid
CROSS JOIN LATERAL (SELECT
    'trigger' AS kind,
    c.relname AS "on",
    g.tgname AS name,
    /*few
    pg_get_triggerdef(g.oid) AS definition,
    */
    /*hash
    -- What the definition is made of.
    g.tgtype, g.tgattr::int2[], g.tgargs, g.tgdeferrable, g.tginitdeferred, g.tgoldtable, g.tgnewtable,
    f.proname AS function,
    CASE WHEN f.pronamespace = c.relnamespace THEN NULL ELSE f.pronamespace END AS function_schema,
    CASE WHEN g.tgconstrrelid <> 0 OR g.tgqual IS NOT NULL THEN replace(pg_get_triggerdef(g.oid), c.own, chr(1)) END AS definition,
    */
    g.tgenabled AS enabled,
    g.tgparentid <> 0 AS inherited,
    needed.extensions AS depends_on_extensions,
    o.description AS comment
) line
-- Before version 15 those of partitions that a table's trigger brings along counted as internal.
WHERE NOT g.tgisinternal /*<15 OR g.tgparentid <> 0 */
