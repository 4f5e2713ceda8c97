-- A condition on the oid $ledger: the table has the definition that tenantry gives a ledger, but for the default of run_on. A
-- table with another definition may still run no code; `definition.sql` finds out, at several times the cost. A flag of
-- pg_class may stay true after the last such object was dropped, but is never false while one exists.
EXISTS (
    SELECT FROM pg_catalog.pg_class AS c
    WHERE c.oid = $ledger AND c.relkind = 'r' AND c.relnatts = 2 AND c.relchecks = 0
        AND NOT (c.relhasrules OR c.relhastriggers OR c.relrowsecurity OR c.relhassubclass OR c.relispartition)
        -- OFFSET prevents joins: the server runs subqueries with fewer preparations.
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
            WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
            OFFSET 0
        )
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = c.oid OFFSET 0)
        -- Both columns are there: the table has two, and a dropped one has another name.
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0
                AND (a.attgenerated = '' AND CASE a.attname
                    WHEN 'version' THEN a.atttypid = 1043
                    WHEN 'run_on' THEN a.atttypid = 1114
                END) IS NOT TRUE
            OFFSET 0
        )
)
