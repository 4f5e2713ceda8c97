-- Objects outside a schema that depend on objects in it: DROP SCHEMA … CASCADE would take them along.
WITH inside (classid, objid, schema_oid) AS (
    SELECT 'pg_class'::regclass, oid, relnamespace FROM pg_class WHERE relnamespace = ANY($1)
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typnamespace = ANY($1)
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc WHERE pronamespace = ANY($1)
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator WHERE oprnamespace = ANY($1)
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass WHERE opcnamespace = ANY($1)
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace FROM pg_opfamily WHERE opfnamespace = ANY($1)
    UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace FROM pg_collation WHERE collnamespace = ANY($1)
    UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion WHERE connamespace = ANY($1)
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid, prsnamespace FROM pg_ts_parser WHERE prsnamespace = ANY($1)
    UNION ALL SELECT 'pg_ts_template'::regclass, oid, tmplnamespace FROM pg_ts_template WHERE tmplnamespace = ANY($1)
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config WHERE cfgnamespace = ANY($1)
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict WHERE dictnamespace = ANY($1)
),
dependents AS (
    SELECT
        inside.schema_oid,
        d.classid,
        d.objid,
        d.objsubid,
        -- The schema that the dependent is in; 0 for what is of the whole database.
        CASE d.classid
            WHEN 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
            WHEN 'pg_constraint'::regclass THEN (SELECT connamespace FROM pg_constraint WHERE oid = d.objid)
            WHEN 'pg_attrdef'::regclass
                THEN (SELECT relnamespace FROM pg_attrdef AS a JOIN pg_class AS c ON c.oid = a.adrelid WHERE a.oid = d.objid)
            WHEN 'pg_rewrite'::regclass
                THEN (SELECT relnamespace FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class WHERE r.oid = d.objid)
            WHEN 'pg_trigger'::regclass
                THEN (SELECT relnamespace FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid WHERE t.oid = d.objid)
            WHEN 'pg_policy'::regclass
                THEN (SELECT relnamespace FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid WHERE p.oid = d.objid)
            WHEN 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = d.objid)
            WHEN 'pg_proc'::regclass THEN (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
            WHEN 'pg_operator'::regclass THEN (SELECT oprnamespace FROM pg_operator WHERE oid = d.objid)
            WHEN 'pg_statistic_ext'::regclass THEN (SELECT stxnamespace FROM pg_statistic_ext WHERE oid = d.objid)
            WHEN 'pg_opclass'::regclass THEN (SELECT opcnamespace FROM pg_opclass WHERE oid = d.objid)
            WHEN 'pg_opfamily'::regclass THEN (SELECT opfnamespace FROM pg_opfamily WHERE oid = d.objid)
            WHEN 'pg_amop'::regclass
                THEN (SELECT opfnamespace FROM pg_amop AS a JOIN pg_opfamily AS f ON f.oid = a.amopfamily WHERE a.oid = d.objid)
            WHEN 'pg_amproc'::regclass
                THEN (SELECT opfnamespace FROM pg_amproc AS a JOIN pg_opfamily AS f ON f.oid = a.amprocfamily WHERE a.oid = d.objid)
            WHEN 'pg_collation'::regclass THEN (SELECT collnamespace FROM pg_collation WHERE oid = d.objid)
            WHEN 'pg_conversion'::regclass THEN (SELECT connamespace FROM pg_conversion WHERE oid = d.objid)
            WHEN 'pg_ts_config'::regclass THEN (SELECT cfgnamespace FROM pg_ts_config WHERE oid = d.objid)
            WHEN 'pg_ts_dict'::regclass THEN (SELECT dictnamespace FROM pg_ts_dict WHERE oid = d.objid)
            WHEN 'pg_ts_parser'::regclass THEN (SELECT prsnamespace FROM pg_ts_parser WHERE oid = d.objid)
            WHEN 'pg_ts_template'::regclass THEN (SELECT tmplnamespace FROM pg_ts_template WHERE oid = d.objid)
            -- A cast of the schema's own type goes with the type; a range type has one to its multirange type.
            WHEN 'pg_cast'::regclass THEN (
                SELECT CASE WHEN inside.schema_oid IN (source.typnamespace, target.typnamespace) THEN inside.schema_oid ELSE 0 END
                FROM pg_cast AS c
                JOIN pg_type AS source ON source.oid = c.castsource
                JOIN pg_type AS target ON target.oid = c.casttarget
                WHERE c.oid = d.objid
            )
            -- These hold nothing: memberships and defaults that only speak of the schema's objects.
            -- A publication of the whole schema is not among them: it depends on the schema, and on nothing in it.
            WHEN 'pg_publication_rel'::regclass THEN inside.schema_oid
            WHEN 'pg_default_acl'::regclass THEN inside.schema_oid
            ELSE 0
        END AS dependent_schema
    FROM inside
    JOIN pg_depend AS d ON d.refclassid = inside.classid AND d.refobjid = inside.objid
)
SELECT DISTINCT
    schema_oid,
    CASE classid
        -- A view depends by its rule; people know the view.
        WHEN 'pg_rewrite'::regclass
            THEN (SELECT pg_describe_object('pg_class'::regclass, ev_class, 0) FROM pg_rewrite WHERE oid = objid)
        ELSE pg_describe_object(classid, objid, objsubid)
    END AS description
FROM dependents
WHERE dependent_schema <> schema_oid AND dependent_schema <> 'pg_toast'::regnamespace
ORDER BY schema_oid, description
