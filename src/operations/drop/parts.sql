,
-- The objects that DROP SCHEMA … CASCADE deletes and locks. Each is part of an object that can be dropped separately
-- (`of_class`, `of_id`), as an index is part of its table, or of the schema alone (0, 0). As in inside.sql, every catalog
-- is read by a LATERAL subquery with OFFSET 0.
--
-- A type that is created with another type is part of it: its array type, and the multirange type of a range type.
typed AS (
    SELECT t.schema, t.oid, root.oid AS root, root.relation
    FROM type AS t
    CROSS JOIN LATERAL (
        SELECT coalesce(
            (
                SELECT (SELECT e.oid FROM pg_catalog.pg_type AS e WHERE e.oid = a.typelem AND e.typarray = a.oid)
                FROM pg_catalog.pg_type AS a
                WHERE a.oid = t.oid
            ),
            t.oid
        ) AS oid
        OFFSET 0
    ) AS element
    CROSS JOIN LATERAL (
        SELECT coalesce(
            (SELECT r.rngtypid FROM pg_catalog.pg_range AS r WHERE r.rngmultitypid = element.oid),
            element.oid
        ) AS oid
        OFFSET 0
    ) AS single
    CROSS JOIN LATERAL (
        SELECT
            root.oid,
            (SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.oid = root.typrelid AND c.relkind <> 'c') AS relation
        FROM pg_catalog.pg_type AS root
        WHERE root.oid = single.oid
        OFFSET 0
    ) AS root
),
catalog AS (
    SELECT
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS class,
        'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid AS type
),
placed AS (
    SELECT
        r.schema,
        r.oid,
        r.reltoastrelid,
        CASE WHEN r.relkind = 'c' THEN catalog.type ELSE catalog.class END AS of_class,
        -- A sequence may belong to a column.
        CASE WHEN r.relkind = 'c' THEN r.reltype ELSE coalesce(r.of_table, owner.oid, r.oid) END AS of_id
    FROM relation AS r
    CROSS JOIN catalog
    LEFT JOIN LATERAL (
        SELECT c.oid
        FROM pg_catalog.pg_depend AS d
        CROSS JOIN LATERAL (
            SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.oid = d.refobjid AND c.relnamespace = r.schema OFFSET 0
        ) AS c
        WHERE r.relkind = 'S' AND d.classid = catalog.class AND d.objid = r.oid AND d.refclassid = catalog.class
            AND d.deptype IN ('a', 'i')
        LIMIT 1
    ) AS owner ON true
),
con AS (
    SELECT p.schema, c.oid, p.of_class, p.of_id
    FROM placed AS p
    CROSS JOIN LATERAL (SELECT c.oid FROM pg_catalog.pg_constraint AS c WHERE c.conrelid = p.oid OFFSET 0) AS c
    UNION ALL
    SELECT t.schema, c.oid, catalog.type, t.oid
    FROM type AS t
    CROSS JOIN catalog
    CROSS JOIN LATERAL (SELECT c.oid FROM pg_catalog.pg_constraint AS c WHERE c.contypid = t.oid OFFSET 0) AS c
),
part (schema, classid, objid, of_class, of_id) AS (
    SELECT p.schema, catalog.class, p.oid, p.of_class, p.of_id FROM placed AS p CROSS JOIN catalog
    UNION ALL
    SELECT p.schema, catalog.class, toast.oid, p.of_class, p.of_id
    FROM placed AS p
    CROSS JOIN catalog
    CROSS JOIN LATERAL (
        SELECT p.reltoastrelid AS oid
        UNION ALL
        SELECT i.indexrelid FROM pg_catalog.pg_index AS i WHERE i.indrelid = p.reltoastrelid
        OFFSET 0
    ) AS toast
    WHERE p.reltoastrelid <> '0'
    UNION ALL
    SELECT
        t.schema, catalog.type, t.oid,
        CASE WHEN t.relation IS NULL THEN catalog.type ELSE catalog.class END, coalesce(t.relation, t.root)
    FROM typed AS t
    CROSS JOIN catalog
    UNION ALL
    SELECT schema, 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid, oid, of_class, of_id FROM con
    UNION ALL
    SELECT p.schema, o.classid, o.oid, p.of_class, p.of_id
    FROM placed AS p
    CROSS JOIN LATERAL (
        SELECT a.tableoid AS classid, a.oid FROM pg_catalog.pg_attrdef AS a WHERE a.adrelid = p.oid
        UNION ALL
        SELECT r.tableoid, r.oid FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = p.oid
        UNION ALL
        SELECT l.tableoid, l.oid FROM pg_catalog.pg_policy AS l WHERE l.polrelid = p.oid
        UNION ALL
        SELECT m.tableoid, m.oid FROM pg_catalog.pg_publication_rel AS m WHERE m.prrelid = p.oid
        UNION ALL
        -- The triggers of a foreign key are on both tables, and are dropped with the key.
        SELECT t.tableoid, t.oid
        FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = p.oid AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS c
            WHERE c.oid = t.tgconstraint AND c.connamespace = ANY ($1)
            OFFSET 0
        )
        OFFSET 0
    ) AS o
    UNION ALL
    SELECT con.schema, t.tableoid, t.oid, con.of_class, con.of_id
    FROM con
    CROSS JOIN LATERAL (
        SELECT t.tableoid, t.oid FROM pg_catalog.pg_trigger AS t WHERE t.tgconstraint = con.oid OFFSET 0
    ) AS t
    UNION ALL
    SELECT m.schema, m.classid, m.objid, coalesce(s.class, m.classid), coalesce(s.relation, m.objid)
    FROM member AS m
    CROSS JOIN LATERAL (
        SELECT c.tableoid AS class, c.oid AS relation
        FROM pg_catalog.pg_statistic_ext AS s
        LEFT JOIN LATERAL (
            SELECT c.tableoid, c.oid
            FROM pg_catalog.pg_class AS c
            WHERE c.oid = s.stxrelid AND c.relnamespace = s.stxnamespace
            OFFSET 0
        ) AS c ON true
        WHERE s.oid = m.objid
        OFFSET 0
    ) AS s
    WHERE m.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass::pg_catalog.oid
    UNION ALL
    -- A cast is dropped with its source type, or else with its target type.
    SELECT * FROM (
        SELECT DISTINCT ON (c.oid)
            t.schema, c.tableoid, c.oid,
            CASE WHEN t.relation IS NULL THEN catalog.type ELSE catalog.class END, coalesce(t.relation, t.root)
        FROM typed AS t
        CROSS JOIN catalog
        CROSS JOIN LATERAL (
            SELECT c.tableoid, c.oid, c.castsource = t.oid AS is_source
            FROM pg_catalog.pg_depend AS d
            CROSS JOIN LATERAL (
                SELECT c.tableoid, c.oid, c.castsource
                FROM pg_catalog.pg_cast AS c
                WHERE c.oid = d.objid AND c.tableoid = d.classid AND t.oid IN (c.castsource, c.casttarget)
                OFFSET 0
            ) AS c
            WHERE d.refclassid = catalog.type AND d.refobjid = t.oid
            OFFSET 0
        ) AS c
        ORDER BY c.oid, c.is_source DESC
    ) AS c
    UNION ALL
    -- The constructor functions of a range type are dropped with the type.
    SELECT m.schema, m.classid, m.objid, coalesce(p.of_class, m.classid), coalesce(p.of_id, m.objid)
    FROM member AS m
    CROSS JOIN catalog
    LEFT JOIN LATERAL (
        SELECT root.tableoid AS of_class, root.oid AS of_id
        FROM pg_catalog.pg_depend AS d
        CROSS JOIN LATERAL (
            SELECT t.tableoid, t.oid
            FROM pg_catalog.pg_type AS t
            WHERE t.typnamespace = m.schema AND t.oid = coalesce(
                (SELECT r.rngtypid FROM pg_catalog.pg_range AS r WHERE r.rngmultitypid = d.refobjid),
                d.refobjid
            )
            OFFSET 0
        ) AS root
        WHERE d.classid = m.classid AND d.objid = m.objid AND d.refclassid = catalog.type AND d.deptype = 'i'
        LIMIT 1
    ) AS p ON true
    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
    UNION ALL
    SELECT
        m.schema, m.classid, m.objid,
        coalesce(c.family_class, m.classid), coalesce(c.family, m.objid)
    FROM member AS m
    CROSS JOIN LATERAL (
        SELECT f.tableoid AS family_class, f.oid AS family
        FROM pg_catalog.pg_opclass AS c
        LEFT JOIN LATERAL (
            SELECT f.tableoid, f.oid
            FROM pg_catalog.pg_opfamily AS f
            WHERE f.oid = c.opcfamily AND f.opfnamespace = c.opcnamespace
            OFFSET 0
        ) AS f ON true
        WHERE c.oid = m.objid
        OFFSET 0
    ) AS c
    WHERE m.classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass::pg_catalog.oid
    UNION ALL
    SELECT f.schema, a.tableoid, a.oid, f.classid, f.objid
    FROM member AS f
    CROSS JOIN LATERAL (
        SELECT a.tableoid, a.oid FROM pg_catalog.pg_amop AS a WHERE a.amopfamily = f.objid
        UNION ALL
        SELECT a.tableoid, a.oid FROM pg_catalog.pg_amproc AS a WHERE a.amprocfamily = f.objid
        OFFSET 0
    ) AS a
    WHERE f.classid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass::pg_catalog.oid
    UNION ALL
    SELECT schema, classid, objid, classid, objid
    FROM member
    WHERE classid IN (
        'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_opfamily'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_collation'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_conversion'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_ts_config'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_ts_dict'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_ts_parser'::pg_catalog.regclass::pg_catalog.oid,
        'pg_catalog.pg_ts_template'::pg_catalog.regclass::pg_catalog.oid
    )
    UNION ALL
    SELECT schema, classid, objid, '0', '0'
    FROM member
    WHERE classid = 'pg_catalog.pg_default_acl'::pg_catalog.regclass::pg_catalog.oid
)
