DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT
            CASE i.type
                WHEN 'function' THEN 'ROUTINE'
                WHEN 'procedure' THEN 'ROUTINE'
                WHEN 'aggregate' THEN 'ROUTINE'
                WHEN 'statistics object' THEN 'STATISTICS'
                ELSE pg_catalog.upper(i.type)
            END AS kind,
            i.identity
        FROM ROWS FROM (pg_catalog.unnest($classes), pg_catalog.unnest($ids)) WITH ORDINALITY AS wanted (class, id, place)
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(wanted.class, wanted.id, 0) AS i
        -- The server quotes both. What was moved to another schema stays.
        WHERE i.schema = pg_catalog.quote_ident($schema)
        ORDER BY wanted.place
    LOOP
        -- One that was dropped before may have taken it along.
        EXECUTE 'DROP ' || object.kind || ' IF EXISTS ' || object.identity || ' CASCADE';
    END LOOP;
END
