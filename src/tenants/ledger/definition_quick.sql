-- A condition on the oid $ledger: the table has the definition that tenantry gives a ledger. A table with another definition
-- may still run no code; `definition.sql` finds out, at several times the cost. A flag of pg_class may stay true after the
-- last such object was dropped, but is never false while one exists.
EXISTS (
    SELECT FROM pg_catalog.pg_class AS c
    WHERE c.oid = $ledger AND c.relkind = 'r' AND c.relnatts = 2 AND c.relchecks = 0
        AND NOT (c.relhasrules OR c.relhastriggers OR c.relrowsecurity OR c.relhassubclass OR c.relispartition)
)
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = $ledger AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
)
AND NOT EXISTS (SELECT FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = $ledger)
AND (
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = $ledger AND a.attnum > 0 AND a.attgenerated = ''
        AND CASE a.attname
            WHEN 'version' THEN a.atttypid = 1043 AND NOT a.atthasdef
            WHEN 'run_on' THEN a.atttypid = 1114
        END
) = 2
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_attrdef AS d
    -- CASE, because pg_get_expr locks the table: it must not run for the rows of other tables.
    WHERE d.adrelid = $ledger
        AND CASE
            WHEN d.adrelid = $ledger THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) <> 'CURRENT_TIMESTAMP'
        END
)
