-- A condition on the oid $ledger: the table has the definition that tenantry gives a ledger. A table without it may still be
-- one that runs no code; `definition.sql` finds out, at several times the cost. The flags of pg_class are true longer than they
-- have to be, and never false too early.
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
    WHERE d.adrelid = $ledger AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) <> 'CURRENT_TIMESTAMP'
)
