-- What DROP SCHEMA … CASCADE locks: every object that is deleted. Each is a part of an object that can be dropped by
-- itself (`of_class`, `of_id`), as an index is of its table; or of none but the schema (0, 0).
WITH type AS (
    -- A type that is made with another one is that one's: its array, and the multirange of a range.
    SELECT
        t.oid,
        t.typnamespace AS schema,
        root.oid AS root,
        CASE WHEN c.relkind <> 'c' THEN c.oid END AS relation
    FROM pg_type AS t
    LEFT JOIN pg_type AS e ON e.oid = t.typelem AND e.typarray = t.oid
    LEFT JOIN pg_range AS r ON r.rngmultitypid = coalesce(e.oid, t.oid)
    JOIN pg_type AS root ON root.oid = coalesce(r.rngtypid, e.oid, t.oid)
    LEFT JOIN pg_class AS c ON c.oid = root.typrelid
    WHERE t.typnamespace = ANY($1)
),
relation AS (
    SELECT
        c.oid,
        c.relnamespace AS schema,
        CASE WHEN c.relkind = 'c' THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END AS of_class,
        -- A sequence may belong to a column.
        CASE WHEN c.relkind = 'c' THEN c.reltype ELSE coalesce(i.indrelid, owner.oid, c.oid) END AS of_id
    FROM pg_class AS c
    LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
    LEFT JOIN pg_depend AS d
        ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
        AND d.deptype IN ('a', 'i')
    LEFT JOIN pg_class AS owner ON owner.oid = d.refobjid AND owner.relnamespace = c.relnamespace
    WHERE c.relnamespace = ANY($1)
),
rule AS (
    SELECT r.oid, r.ev_class FROM pg_rewrite AS r JOIN relation ON relation.oid = r.ev_class
),
con AS (
    SELECT
        c.oid,
        c.connamespace AS schema,
        CASE WHEN c.conrelid <> 0 THEN 'pg_class'::regclass ELSE 'pg_type'::regclass END AS of_class,
        CASE WHEN c.conrelid <> 0 THEN c.conrelid ELSE c.contypid END AS of_id
    FROM pg_constraint AS c
    WHERE c.connamespace = ANY($1)
),
part (schema, classid, objid, of_class, of_id) AS (
    SELECT schema, 'pg_class'::regclass, oid, of_class, of_id FROM relation
    UNION ALL
    SELECT relation.schema, 'pg_class'::regclass, toast.oid, relation.of_class, relation.of_id
    FROM relation
    JOIN pg_class AS c ON c.oid = relation.oid
    LEFT JOIN pg_index AS i ON i.indrelid = c.reltoastrelid
    CROSS JOIN unnest(ARRAY[c.reltoastrelid, i.indexrelid]) AS toast (oid)
    WHERE c.reltoastrelid <> 0 AND toast.oid IS NOT NULL
    UNION ALL
    SELECT
        schema, 'pg_type'::regclass, oid,
        CASE WHEN relation IS NULL THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END, coalesce(relation, root)
    FROM type
    UNION ALL
    SELECT schema, 'pg_constraint'::regclass, oid, of_class, of_id FROM con
    UNION ALL
    SELECT relation.schema, 'pg_attrdef'::regclass, a.oid, relation.of_class, relation.of_id
    FROM pg_attrdef AS a JOIN relation ON relation.oid = a.adrelid
    UNION ALL
    SELECT relation.schema, 'pg_rewrite'::regclass, rule.oid, relation.of_class, relation.of_id
    FROM rule JOIN relation ON relation.oid = rule.ev_class
    UNION ALL
    SELECT relation.schema, 'pg_policy'::regclass, p.oid, relation.of_class, relation.of_id
    FROM pg_policy AS p JOIN relation ON relation.oid = p.polrelid
    UNION ALL
    SELECT relation.schema, 'pg_publication_rel'::regclass, p.oid, relation.of_class, relation.of_id
    FROM pg_publication_rel AS p JOIN relation ON relation.oid = p.prrelid
    UNION ALL
    -- Those of a foreign key are on both of its tables, and go with the key.
    SELECT coalesce(con.schema, relation.schema), 'pg_trigger'::regclass, t.oid,
        coalesce(con.of_class, relation.of_class), coalesce(con.of_id, relation.of_id)
    FROM pg_trigger AS t
    LEFT JOIN con ON con.oid = t.tgconstraint
    LEFT JOIN relation ON relation.oid = t.tgrelid
    WHERE con.oid IS NOT NULL OR relation.oid IS NOT NULL
    UNION ALL
    SELECT
        s.stxnamespace, 'pg_statistic_ext'::regclass, s.oid,
        CASE WHEN relation.oid IS NULL THEN 'pg_statistic_ext'::regclass ELSE 'pg_class'::regclass END,
        coalesce(relation.oid, s.oid)
    FROM pg_statistic_ext AS s
    LEFT JOIN relation ON relation.oid = s.stxrelid AND relation.schema = s.stxnamespace
    WHERE s.stxnamespace = ANY($1)
    UNION ALL
    SELECT coalesce(s.schema, t.schema), 'pg_cast'::regclass, c.oid,
        CASE WHEN coalesce(s.relation, t.relation) IS NULL THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END,
        coalesce(s.relation, s.root, t.relation, t.root)
    FROM pg_cast AS c
    LEFT JOIN type AS s ON s.oid = c.castsource
    LEFT JOIN type AS t ON t.oid = c.casttarget AND s.oid IS NULL
    WHERE s.oid IS NOT NULL OR t.oid IS NOT NULL
    UNION ALL
    -- The functions that make values of a range go with its type.
    SELECT
        p.pronamespace, 'pg_proc'::regclass, p.oid,
        CASE WHEN type.oid IS NULL THEN 'pg_proc'::regclass ELSE 'pg_type'::regclass END, coalesce(type.root, p.oid)
    FROM pg_proc AS p
    LEFT JOIN pg_depend AS d
        ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i'
    LEFT JOIN type ON type.oid = d.refobjid
    WHERE p.pronamespace = ANY($1)
    UNION ALL
    SELECT oprnamespace, 'pg_operator'::regclass, oid, 'pg_operator'::regclass, oid
    FROM pg_operator WHERE oprnamespace = ANY($1)
    UNION ALL
    SELECT opfnamespace, 'pg_opfamily'::regclass, oid, 'pg_opfamily'::regclass, oid
    FROM pg_opfamily WHERE opfnamespace = ANY($1)
    UNION ALL
    SELECT f.opfnamespace, 'pg_amop'::regclass, a.oid, 'pg_opfamily'::regclass, f.oid
    FROM pg_amop AS a JOIN pg_opfamily AS f ON f.oid = a.amopfamily WHERE f.opfnamespace = ANY($1)
    UNION ALL
    SELECT f.opfnamespace, 'pg_amproc'::regclass, a.oid, 'pg_opfamily'::regclass, f.oid
    FROM pg_amproc AS a JOIN pg_opfamily AS f ON f.oid = a.amprocfamily WHERE f.opfnamespace = ANY($1)
    UNION ALL
    SELECT
        c.opcnamespace, 'pg_opclass'::regclass, c.oid,
        CASE WHEN f.oid IS NULL THEN 'pg_opclass'::regclass ELSE 'pg_opfamily'::regclass END, coalesce(f.oid, c.oid)
    FROM pg_opclass AS c
    LEFT JOIN pg_opfamily AS f ON f.oid = c.opcfamily AND f.opfnamespace = c.opcnamespace
    WHERE c.opcnamespace = ANY($1)
    UNION ALL
    SELECT collnamespace, 'pg_collation'::regclass, oid, 'pg_collation'::regclass, oid
    FROM pg_collation WHERE collnamespace = ANY($1)
    UNION ALL
    SELECT connamespace, 'pg_conversion'::regclass, oid, 'pg_conversion'::regclass, oid
    FROM pg_conversion WHERE connamespace = ANY($1)
    UNION ALL
    SELECT cfgnamespace, 'pg_ts_config'::regclass, oid, 'pg_ts_config'::regclass, oid
    FROM pg_ts_config WHERE cfgnamespace = ANY($1)
    UNION ALL
    SELECT dictnamespace, 'pg_ts_dict'::regclass, oid, 'pg_ts_dict'::regclass, oid
    FROM pg_ts_dict WHERE dictnamespace = ANY($1)
    UNION ALL
    SELECT prsnamespace, 'pg_ts_parser'::regclass, oid, 'pg_ts_parser'::regclass, oid
    FROM pg_ts_parser WHERE prsnamespace = ANY($1)
    UNION ALL
    SELECT tmplnamespace, 'pg_ts_template'::regclass, oid, 'pg_ts_template'::regclass, oid
    FROM pg_ts_template WHERE tmplnamespace = ANY($1)
    UNION ALL
    SELECT defaclnamespace, 'pg_default_acl'::regclass, oid, 0, 0 FROM pg_default_acl WHERE defaclnamespace = ANY($1)
)
