-- The tenant's objects before the migrations, as catalog/oid. A dropped object leaves only its lock, which does not show its
-- schema. The cursor keeps the snapshot of its declaration and reads nothing until it is fetched.
DECLARE tenantry_inventory SCROLL CURSOR FOR
WITH inside AS (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend AS d
    WHERE d.refclassid = 2615 AND d.refobjid = $tenant
),
relation AS (
    SELECT c.oid, c.reltype, c.reltoastrelid FROM pg_catalog.pg_class AS c
    WHERE c.oid IN (SELECT i.objid FROM inside AS i WHERE i.classid = 1259)
),
type AS (
    SELECT i.objid AS oid FROM inside AS i WHERE i.classid = 1247
    UNION ALL SELECT r.reltype FROM relation AS r WHERE r.reltype <> 0
),
object (class, id) AS (
    SELECT i.classid, i.objid FROM inside AS i
    UNION ALL SELECT 1259::oid, x.indexrelid
        FROM relation AS r JOIN pg_catalog.pg_index AS x ON x.indrelid = r.oid
    UNION ALL SELECT 1259::oid, t.oid
        FROM relation AS r
        LEFT JOIN pg_catalog.pg_index AS x ON x.indrelid = r.reltoastrelid
        CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[r.reltoastrelid, x.indexrelid]) AS t (oid)
        WHERE r.reltoastrelid <> 0
    UNION ALL SELECT 1247::oid, t.oid FROM type AS t
    UNION ALL SELECT 1247::oid, t.typarray FROM type AS o JOIN pg_catalog.pg_type AS t ON t.oid = o.oid
    -- The multirange type of a range, its array type, and the relation of a composite type.
    UNION ALL SELECT 1247::oid, m.id
        FROM type AS o
        -- OFFSET 0 forces an index scan for each type, whatever number of ranges the planner estimates.
        CROSS JOIN LATERAL (
            SELECT g.rngmultitypid FROM pg_catalog.pg_range AS g WHERE g.rngtypid = o.oid OFFSET 0
        ) AS g
        JOIN pg_catalog.pg_type AS t ON t.oid = g.rngmultitypid
        CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[t.oid, t.typarray]) AS m (id)
    UNION ALL SELECT 1259::oid, t.typrelid FROM type AS o JOIN pg_catalog.pg_type AS t ON t.oid = o.oid
    UNION ALL SELECT 2606::oid, k.oid FROM relation AS r JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
    -- A domain constraint has conrelid 0, the first column of the index.
    UNION ALL SELECT 2606::oid, k.oid
        FROM type AS o
        CROSS JOIN LATERAL (
            SELECT k.oid FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = 0 AND k.contypid = o.oid OFFSET 0
        ) AS k
    UNION ALL SELECT 6106::oid, p.oid FROM relation AS r JOIN pg_catalog.pg_publication_rel AS p ON p.prrelid = r.oid
    -- Casts depend on their types, and the constructor functions of a range type on the range type.
    UNION ALL SELECT d.classid, d.objid
        FROM type AS o
        JOIN pg_catalog.pg_depend AS d ON d.refclassid = 1247 AND d.refobjid = o.oid AND d.classid IN (2605, 1255)
)
SELECT pg_catalog.array_agg(pg_catalog.concat(class, '/', id)) FROM object;
