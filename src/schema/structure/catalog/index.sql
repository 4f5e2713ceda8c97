SELECT c.relnamespace AS schema, line, /*few pg_get_indexdef(i.indexrelid) */ /*hash NULL::text */ AS ddl
FROM relation c
JOIN pg_index i ON i.indrelid = c.oid
JOIN pg_class x ON x.oid = i.indexrelid
/*hash LEFT JOIN pg_am m ON m.oid = x.relam */
LEFT JOIN pg_tablespace s ON s.oid = x.reltablespace
LEFT JOIN needed ON needed.classid = 'pg_class'::regclass AND needed.objid = i.indexrelid
LEFT JOIN pg_description o ON o.classoid = 'pg_class'::regclass AND o.objoid = i.indexrelid AND o.objsubid = 0
LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
CROSS JOIN LATERAL (SELECT
    'index' AS kind,
    c.relname AS "on",
    x.relname AS name,
    /*few
    -- The options in the parentheses of WITH are compared separately.
    regexp_replace(pg_get_indexdef(i.indexrelid), ' WITH \(([a-z_]+=''[^'']*''(, )?)+\)', '') AS definition,
    EXISTS (
        SELECT FROM pg_constraint k
        WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
    ) AS "constraint",
    */
    /*hash
    -- What the definition is made of; the definition itself is the dearest of all. The expressions are read apart.
    m.amname AS method,
    i.indnkeyatts AS key_columns,
    i.indkey::int2[] AS columns,
    i.indclass AS classes,
    i.indcollation AS collations,
    i.indoption::int2[] AS ordering,
    i.indexprs IS NOT NULL AS has_expressions,
    i.indpred IS NOT NULL AS has_predicate,
    /*>=15 i.indnullsnotdistinct, */
    i.indisunique,
    i.indisprimary,
    i.indisexclusion,
    i.indimmediate,
    */
    i.indisvalid AS valid,
    i.indisready AS ready,
    i.indislive AS live,
    i.indisclustered AS clustered,
    i.indisreplident AS replica_identity,
    sorted(x.reloptions) AS options,
    s.spcname AS tablespace,
    replace(h.inhparent::regclass::text, c.own, chr(1)) AS partition_of,
    needed.extensions AS depends_on_extensions,
    o.description AS comment
) line
WHERE c.relkind IN ('r', 'p', 'm')
