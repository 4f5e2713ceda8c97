-- A condition on the pg_class row `ledger`: a column has a default that tenantry does not give a ledger.
EXISTS (
    SELECT FROM pg_catalog.pg_attrdef AS d
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = ledger.oid
        AND NOT (
            a.attname = 'run_on'
            AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) IN ('CURRENT_TIMESTAMP', 'now()')
        )
    OFFSET 0
)
