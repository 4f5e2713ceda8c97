,
inside (schema, classid, objid) AS (
    SELECT schema, classid, objid FROM member
    UNION
    SELECT schema, 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, oid FROM relation
    UNION
    SELECT schema, 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, oid FROM type
),
-- The objects outside that DROP SCHEMA … CASCADE would drop: those that depend on an object inside, and the object or the
-- extension that an object inside is part of.
dropped AS (
    SELECT DISTINCT i.schema, d.classid, d.objid, d.objsubid
    FROM inside AS i
    CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid
        FROM pg_catalog.pg_depend AS d
        WHERE d.refclassid = i.classid AND d.refobjid = i.objid
        UNION ALL
        SELECT d.refclassid, d.refobjid, d.refobjsubid
        FROM pg_catalog.pg_depend AS d
        WHERE d.classid = i.classid AND d.objid = i.objid AND d.deptype IN ('i', 'e')
        OFFSET 0
    ) AS d
),
dependent AS MATERIALIZED (
    SELECT
        d.schema,
        d.classid,
        d.objid,
        d.objsubid,
        -- The schema of the dependent object; 0 for an object of the whole database.
        CASE d.classid
            WHEN 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.relnamespace FROM pg_catalog.pg_class AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.connamespace FROM pg_catalog.pg_constraint AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT (SELECT y.relnamespace FROM pg_catalog.pg_class AS y WHERE y.oid = x.adrelid)
                FROM pg_catalog.pg_attrdef AS x
                WHERE x.oid = d.objid
            )
            WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT (SELECT y.relnamespace FROM pg_catalog.pg_class AS y WHERE y.oid = x.ev_class)
                FROM pg_catalog.pg_rewrite AS x
                WHERE x.oid = d.objid
            )
            WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT (SELECT y.relnamespace FROM pg_catalog.pg_class AS y WHERE y.oid = x.tgrelid)
                FROM pg_catalog.pg_trigger AS x
                WHERE x.oid = d.objid
            )
            WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT (SELECT y.relnamespace FROM pg_catalog.pg_class AS y WHERE y.oid = x.polrelid)
                FROM pg_catalog.pg_policy AS x
                WHERE x.oid = d.objid
            )
            WHEN 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.typnamespace FROM pg_catalog.pg_type AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.pronamespace FROM pg_catalog.pg_proc AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.oprnamespace FROM pg_catalog.pg_operator AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.stxnamespace FROM pg_catalog.pg_statistic_ext AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_opclass'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.opcnamespace FROM pg_catalog.pg_opclass AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_opfamily'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.opfnamespace FROM pg_catalog.pg_opfamily AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_amop'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT (SELECT y.opfnamespace FROM pg_catalog.pg_opfamily AS y WHERE y.oid = x.amopfamily)
                FROM pg_catalog.pg_amop AS x
                WHERE x.oid = d.objid
            )
            WHEN 'pg_catalog.pg_amproc'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT (SELECT y.opfnamespace FROM pg_catalog.pg_opfamily AS y WHERE y.oid = x.amprocfamily)
                FROM pg_catalog.pg_amproc AS x
                WHERE x.oid = d.objid
            )
            WHEN 'pg_catalog.pg_collation'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.collnamespace FROM pg_catalog.pg_collation AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_conversion'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.connamespace FROM pg_catalog.pg_conversion AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_ts_config'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.cfgnamespace FROM pg_catalog.pg_ts_config AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_ts_dict'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.dictnamespace FROM pg_catalog.pg_ts_dict AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_ts_parser'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.prsnamespace FROM pg_catalog.pg_ts_parser AS x WHERE x.oid = d.objid)
            WHEN 'pg_catalog.pg_ts_template'::pg_catalog.regclass::pg_catalog.oid
                THEN (SELECT x.tmplnamespace FROM pg_catalog.pg_ts_template AS x WHERE x.oid = d.objid)
            -- A cast of the schema's own type is dropped with the type. A range type has one to its multirange type.
            WHEN 'pg_catalog.pg_cast'::pg_catalog.regclass::pg_catalog.oid THEN (
                SELECT CASE
                    WHEN d.schema = (SELECT t.typnamespace FROM pg_catalog.pg_type AS t WHERE t.oid = c.castsource)
                        THEN d.schema
                    WHEN d.schema = (SELECT t.typnamespace FROM pg_catalog.pg_type AS t WHERE t.oid = c.casttarget)
                        THEN d.schema
                    ELSE '0'
                END
                FROM pg_catalog.pg_cast AS c
                WHERE c.oid = d.objid
            )
            -- These have no data of their own: memberships and defaults that only name objects of the schema. A
            -- publication of the whole schema is not among them: it depends on the schema, and on no object in it.
            WHEN 'pg_catalog.pg_publication_rel'::pg_catalog.regclass::pg_catalog.oid THEN d.schema
            WHEN 'pg_catalog.pg_default_acl'::pg_catalog.regclass::pg_catalog.oid THEN d.schema
            ELSE '0'
        END AS dependent_schema
    FROM dropped AS d
),
described AS (
    SELECT DISTINCT
        schema AS schema_oid,
        coalesce(
            -- A view depends by its rule, and is described instead of it.
            (
                SELECT pg_catalog.pg_describe_object(
                    'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, r.ev_class, 0
                )
                FROM pg_catalog.pg_rewrite AS r
                WHERE r.oid = objid AND r.tableoid = classid
            ),
            pg_catalog.pg_describe_object(classid, objid, objsubid)
        ) AS description
    FROM dependent
    WHERE dependent_schema <> schema AND dependent_schema <> 'pg_toast'::pg_catalog.regnamespace::pg_catalog.oid
)
SELECT schema_oid, description
FROM described
-- An object that another session drops at the same time has no description.
WHERE description IS NOT NULL
ORDER BY schema_oid, description
