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
        -- The server quotes both names. An object that was moved to another schema is kept.
        WHERE i.schema = pg_catalog.quote_ident($schema)
        ORDER BY wanted.place
    LOOP
        -- The drop of a previous object may have dropped it by CASCADE.
        EXECUTE 'DROP ' || object.kind || ' IF EXISTS ' || object.identity || ' CASCADE';
    END LOOP;
END
