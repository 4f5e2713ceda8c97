-- An expression over the pg_class row `ledger`: the reason why the table cannot be used as a ledger, or NULL.
--
-- Reading or writing a table runs the code that its owner attached to it, with the rights of the role that reads or writes. A
-- valid ledger has no such code: no view, rule, policy, trigger, check constraint, generated column, user-defined type, and no
-- default other than the current time. The planner also evaluates constant parts of expressions in indexes and statistics.
CASE
    -- The definition that tenantry gives a ledger, which is found in a tenth of the time.
    WHEN PLAIN
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = ledger.oid OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS c
            WHERE c.conrelid = ledger.oid AND c.contype NOT IN ('p', 'u', 'n')
            OFFSET 0
        )
        AND NOT HAS_DEFAULT THEN NULL
    WHEN ledger.relkind <> 'r' THEN
        CASE ledger.relkind
            WHEN 'v' THEN 'it is a view'
            WHEN 'm' THEN 'it is a materialized view'
            WHEN 'f' THEN 'it is a foreign table'
            WHEN 'p' THEN 'it is a partitioned table'
            ELSE 'it is not a table'
        END
    WHEN EXISTS (
        SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = ledger.oid OR i.inhrelid = ledger.oid
    ) THEN 'it is part of an inheritance tree or a partition'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = ledger.oid) THEN 'it has a rule'
    WHEN ledger.relrowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = ledger.oid)
        THEN 'it has row-level security'
    -- Foreign keys and deferrable constraints have triggers, too.
    WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = ledger.oid) THEN 'it has a trigger or a foreign key'
    WHEN EXISTS (
        SELECT FROM pg_catalog.pg_constraint AS c WHERE c.conrelid = ledger.oid AND c.contype NOT IN ('p', 'u', 'n')
    ) THEN 'it has a constraint other than a key'
    WHEN EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = ledger.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    ) THEN 'it has an index with an expression'
    WHEN EXISTS (
        SELECT FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = ledger.oid AND s.stxexprs IS NOT NULL
    ) THEN 'it has statistics with an expression'
    WHEN EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
        WHERE a.attrelid = ledger.oid AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname <> 'pg_catalog'
    ) THEN 'it has a column of a user-defined type'
    WHEN EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = ledger.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> ''
    ) THEN 'it has a generated column'
    WHEN HAS_DEFAULT THEN 'it has a default other than CURRENT_TIMESTAMP'
    WHEN NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
        WHERE a.attrelid = ledger.oid AND a.attname = 'version' AND NOT a.attisdropped AND t.typname IN ('varchar', 'text')
    ) THEN 'it has no column version of type varchar or text'
END
