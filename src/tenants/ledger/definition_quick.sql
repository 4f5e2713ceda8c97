-- A condition on the pg_class row `ledger`: the table has the definition that tenantry gives a ledger, but for the default of
-- run_on. A table with another definition may still run no code; `definition.sql` finds out, at several times the cost. A flag
-- of pg_class may stay true after the last such object was dropped, but is never false while one exists.
(
    ledger.relkind = 'r' AND ledger.relnatts = 2 AND ledger.relchecks = 0
    AND NOT (
        ledger.relhasrules OR ledger.relhastriggers OR ledger.relrowsecurity OR ledger.relhassubclass OR ledger.relispartition
    )
    -- OFFSET prevents joins: the server runs subqueries with fewer preparations.
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = ledger.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
        OFFSET 0
    )
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = ledger.oid OFFSET 0)
    -- Both columns are there: the table has two, and a dropped one has another name.
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = ledger.oid AND a.attnum > 0
            AND (a.attgenerated = '' AND CASE a.attname
                WHEN 'version' THEN a.atttypid = 1043
                WHEN 'run_on' THEN a.atttypid = 1114
            END) IS NOT TRUE
        OFFSET 0
    )
)
