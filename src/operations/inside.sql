-- The objects in the schemas of $1.
--
-- The catalogs have no index on the schema alone. The index of pg_depend leads to the objects that were created in a
-- schema (`member`). Their dependent objects are found by oid. Every lookup is a scalar subquery, or a LATERAL
-- one with OFFSET 0. The planner cannot turn it into a join that reads a whole catalog: the cost depends on the schemas of
-- $1, and not on the other schemas of the database.
WITH member AS (
    SELECT DISTINCT d.refobjid AS schema, d.classid, d.objid
    FROM pg_catalog.unnest($1) AS wanted (oid)
    CROSS JOIN LATERAL (
        SELECT d.refobjid, d.classid, d.objid
        FROM pg_catalog.pg_depend AS d
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid AND d.refobjid = wanted.oid
        OFFSET 0
    ) AS d
),
-- The row type of a table, and the multirange type of a range type, may depend on these alone.
base_type AS (
    SELECT m.schema, t.oid
    FROM member AS m
    CROSS JOIN LATERAL (
        SELECT t.oid FROM pg_catalog.pg_type AS t WHERE t.oid = m.objid AND t.tableoid = m.classid
        UNION ALL
        SELECT c.reltype FROM pg_catalog.pg_class AS c
        WHERE c.oid = m.objid AND c.tableoid = m.classid AND c.reltype <> '0'
        UNION ALL
        SELECT r.rngmultitypid
        FROM pg_catalog.pg_range AS r
        WHERE r.rngtypid = m.objid AND m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
        OFFSET 0
    ) AS t
),
type AS (
    SELECT schema, oid FROM base_type
    UNION
    SELECT b.schema, t.typarray
    FROM base_type AS b
    CROSS JOIN LATERAL (
        SELECT t.typarray FROM pg_catalog.pg_type AS t WHERE t.oid = b.oid AND t.typarray <> '0' OFFSET 0
    ) AS t
),
-- An index depends on its table, and the relation of a composite type on the type.
relation AS (
    SELECT m.schema, c.oid, c.relkind, c.reltype, c.reltoastrelid, c.of_table
    FROM member AS m
    CROSS JOIN LATERAL (
        SELECT c.oid, c.relkind, c.reltype, c.reltoastrelid, NULL::pg_catalog.oid AS of_table
        FROM pg_catalog.pg_class AS c
        WHERE c.oid = m.objid AND c.tableoid = m.classid
        UNION ALL
        SELECT c.oid, c.relkind, c.reltype, c.reltoastrelid, i.indrelid
        FROM pg_catalog.pg_index AS i
        CROSS JOIN LATERAL (
            SELECT c.oid, c.relkind, c.reltype, c.reltoastrelid
            FROM pg_catalog.pg_class AS c
            WHERE c.oid = i.indexrelid AND c.tableoid = m.classid
            OFFSET 0
        ) AS c
        WHERE i.indrelid = m.objid
        UNION ALL
        SELECT c.oid, c.relkind, c.reltype, c.reltoastrelid, NULL
        FROM pg_catalog.pg_type AS t
        CROSS JOIN LATERAL (
            SELECT c.oid, c.relkind, c.reltype, c.reltoastrelid
            FROM pg_catalog.pg_class AS c
            WHERE c.oid = t.typrelid AND c.relkind = 'c'
            OFFSET 0
        ) AS c
        WHERE t.oid = m.objid AND t.tableoid = m.classid
        OFFSET 0
    ) AS c
)
