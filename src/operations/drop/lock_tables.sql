DECLARE
    tables pg_catalog.text;
BEGIN
    -- The owner of the schema may drop the tables of other roles in it, but may not lock them.
    SELECT pg_catalog.string_agg(pg_catalog.format('ONLY %I.%I', n.nspname, c.relname), ', ' ORDER BY c.oid DESC)
    INTO tables
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ($ids) AND n.oid = $schema::pg_catalog.oid AND c.relkind IN ('r', 'p')
        AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE');
    IF tables IS NOT NULL THEN
        EXECUTE 'LOCK TABLE ' || tables || ' IN ACCESS EXCLUSIVE MODE';
    END IF;
END;
