SELECT c.relnamespace AS schema, line, NULL::text AS ddl
FROM relation c
JOIN pg_constraint k ON k.conrelid = c.oid
LEFT JOIN pg_description o ON o.classoid = 'pg_constraint'::regclass AND o.objoid = k.oid
LEFT JOIN (
    -- A foreign key whose triggers are switched off is not enforced.
    SELECT g.tgconstraint, array_agg(g.tgfoid::regproc || ' ' || g.tgenabled::text
        ORDER BY g.tgfoid::regproc::text COLLATE "C") AS switched
    FROM pg_trigger g
    WHERE g.tgisinternal AND g.tgenabled <> 'O'
      /*few AND g.tgconstraint IN (
          SELECT x.oid FROM pg_constraint x
          WHERE x.conrelid IN (SELECT i.objid FROM inside i WHERE i.classid = 'pg_class'::regclass)
      ) */
    GROUP BY g.tgconstraint
) enforcing ON enforcing.tgconstraint = k.oid
/*hash
LEFT JOIN pg_class target ON target.oid = k.confrelid AND k.confrelid <> 0
LEFT JOIN pg_namespace target_schema ON target_schema.oid = target.relnamespace
*/
CROSS JOIN LATERAL (SELECT
    'constraint' AS kind,
    c.relname AS "on",
    k.conname AS name,
    k.contype AS type,
    /*few
    regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') AS definition,
    */
    /*hash
    -- What the definition is made of, with what the index says; asking for the definition costs four times as much.
    k.condeferrable, k.condeferred, k.conkey, k.confkey, k.confupdtype, k.confdeltype, k.confmatchtype, k.conexclop,
    k.connoinherit,
    /*>=15 k.confdelsetcols, */ /*>=18 k.conenforced, k.conperiod, */
    target.relname AS target,
    CASE WHEN target.relnamespace = c.relnamespace THEN NULL ELSE target_schema.nspname END AS target_schema,
    -- The expression is read apart.
    k.conbin IS NOT NULL AS has_expression,
    */
    k.convalidated AS validated,
    enforcing.switched AS switched_off,
    k.conislocal AS local,
    k.coninhcount AS inherited,
    o.description AS comment
) line
-- Constraint triggers are triggers; NOT NULL is the column's.
WHERE k.contype NOT IN ('t', 'n')
