SELECT
    n.name,
    COALESCE(c.relkind::pg_catalog.text, '') AS kind,
    COALESCE(c.relreplident::pg_catalog.text, '') AS replica_identity,
    -- Code of the table, such as a trigger or the expression of an index, runs with the rights of a superuser that writes to it.
    COALESCE(
        pg_catalog.pg_has_role(c.relowner, 'USAGE') AND (
            NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER)
            OR (SELECT o.rolsuper FROM pg_catalog.pg_roles AS o WHERE o.oid = c.relowner)
        ),
        false
    ) AS is_owner,
    ARRAY(
        SELECT a.attname::pg_catalog.text
        FROM pg_catalog.pg_index AS i
        CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid AND i.indisprimary
        ORDER BY k.place
    ) AS key,
    ARRAY(
        SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ORDER BY a.attname
    ) AS columns,
    ARRAY(
        SELECT pg_catalog.concat(
            a.attname, ' ', pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN a.attgenerated <> '' THEN ' (generated)' END
        )
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY 1
    ) AS definitions,
    ARRAY(
        SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = 'a'
    ) AS always_identity,
    -- Tables whose rows a deleted row takes along or changes.
    ARRAY(
        SELECT DISTINCT f.conrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_constraint AS f
        WHERE f.confrelid = c.oid AND f.contype = 'f' AND f.confdeltype IN ('c', 'n', 'd') ORDER BY 1 LIMIT 5
    ) AS cascading,
    ARRAY(
        SELECT DISTINCT p.relname::pg_catalog.text FROM pg_catalog.pg_constraint AS f
        JOIN pg_catalog.pg_class AS p ON p.oid = f.confrelid
        WHERE f.conrelid = c.oid AND f.contype = 'f' AND p.relnamespace = c.relnamespace AND p.oid <> c.oid
    ) AS referenced
FROM pg_catalog.unnest($1) AS n (name)
LEFT JOIN pg_catalog.pg_class AS c ON c.relname = n.name AND c.relnamespace = pg_catalog.to_regnamespace('public')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
