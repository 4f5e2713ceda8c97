-- Owners of tables, views, rules, triggers and children of shared tables.
, relation AS (
    SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS name, shared.use
    FROM pg_class c JOIN user_schema n ON n.oid = c.relnamespace LEFT JOIN shared ON shared.oid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND (c.oid, 'pg_class'::regclass) NOT IN (SELECT oid, class FROM member)
), accessible (oid) AS (
    SELECT r.oid FROM relation r, aclexplode(r.relacl) AS acl WHERE acl.grantee IN (SELECT oid FROM grantee)
    UNION
    SELECT a.attrelid FROM pg_attribute a, aclexplode(a.attacl) AS acl WHERE acl.grantee IN (SELECT oid FROM grantee)
), descendant (oid) AS (
    SELECT h.inhrelid FROM pg_inherits h JOIN shared ON shared.oid = h.inhparent
    UNION
    SELECT h.inhrelid FROM pg_inherits h JOIN descendant d ON d.oid = h.inhparent
)
SELECT
    'table.owner' AS code,
    r.name AS object,
    format('%s is owned by %I; expected: %I', r.name, pg_get_userbyid(r.relowner), layout.owner) AS message,
    ARRAY[format('ALTER TABLE %s OWNER TO %I', r.name, layout.owner)] || CASE
        -- The new owner gets the privileges of the former one, which has none then.
        WHEN r.relowner = layout.app AND r.use IS NOT NULL AND NOT r.relispartition THEN ARRAY[format(
            'GRANT %s ON TABLE %s TO %I',
            CASE r.use WHEN 'isolated' THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE 'SELECT' END, r.name, pg_get_userbyid(layout.app)
        )]
        ELSE '{}'
    END || ARRAY(
        SELECT format('GRANT USAGE ON SEQUENCE %s TO %I', d.objid::regclass, pg_get_userbyid(layout.app))
        FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE r.relowner = layout.app AND r.use = 'isolated'
            AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid
            AND d.deptype IN ('a', 'i')
        ORDER BY 1
    ) AS fix
FROM layout, relation r
WHERE (r.relowner IN (SELECT oid FROM wrong_owner) OR (r.use IS NOT NULL AND pg_get_userbyid(r.relowner) <> layout.owner))
    -- The owner of a table owns the sequences of its columns.
    AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE r.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = r.oid
            AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    )
UNION ALL
SELECT
    'inherit.child',
    r.name,
    format('%s inherits from a shared table and has no forced row-level security', r.name),
    ARRAY[format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', r.name)]
FROM relation r
WHERE r.oid IN (SELECT oid FROM descendant) AND r.use IS NULL AND NOT (r.relrowsecurity AND r.relforcerowsecurity)
    AND r.relkind IN ('r', 'p')
UNION ALL
SELECT
    'rule',
    format('%s.%I', r.name, w.rulename),
    format('%s has the rule %I, which runs with the privileges of %I', r.name, w.rulename, pg_get_userbyid(r.relowner)),
    ARRAY[format('DROP RULE %I ON %s', w.rulename, r.name)]
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class
WHERE w.rulename <> '_RETURN' AND (r.use IS NOT NULL OR r.oid IN (SELECT oid FROM accessible))
UNION ALL
SELECT
    'policy.foreign',
    format('%s.%I', r.name, p.polname),
    format(
        'policy %I of %s allows rows%s', p.polname, r.name,
        COALESCE(' where ' || pg_get_expr(COALESCE(p.polqual, p.polwithcheck), p.polrelid), '')
    ),
    ARRAY[format('DROP POLICY %I ON %s', p.polname, r.name)]
FROM layout, pg_policy p JOIN relation r ON r.oid = p.polrelid
WHERE r.use IN ('isolated', 'registry') AND p.polpermissive AND p.polname <> ALL (layout.policies)
    AND p.polroles && ARRAY(SELECT oid FROM grantee)
UNION ALL
SELECT
    'trigger.disabled',
    format('%s.%I', r.name, t.tgname),
    format(
        'trigger %I of %s %s', t.tgname, r.name,
        CASE t.tgenabled WHEN 'D' THEN 'is disabled' ELSE 'runs only in replicas' END
    ),
    ARRAY[format('ALTER TABLE %s ENABLE TRIGGER %I', r.name, t.tgname)]
FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
WHERE r.use IS NOT NULL AND t.tgenabled IN ('D', 'R')
UNION ALL
SELECT
    'trigger.definer',
    format('%s.%I', r.name, t.tgname),
    format(
        'trigger %I of %s runs %s as %I, who has access to the rows of all tenants', t.tgname, r.name,
        p.oid::regprocedure, pg_get_userbyid(p.proowner)
    ),
    ARRAY[format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, layout.owner)]
FROM layout, pg_trigger t JOIN relation r ON r.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
WHERE r.use IS NOT NULL AND NOT t.tgisinternal AND p.prosecdef AND p.proowner IN (SELECT oid FROM bypassing)
UNION ALL
SELECT
    'view.definer',
    r.name,
    format('view %s reads as %I, who has access to the rows of all tenants', r.name, pg_get_userbyid(r.relowner)),
    ARRAY[CASE
        WHEN layout.version >= 150000 THEN format('ALTER VIEW %s SET (security_invoker = true)', r.name)
        ELSE format('ALTER VIEW %s OWNER TO %I', r.name, layout.owner)
    END]
FROM layout, relation r
WHERE r.relkind = 'v'
    AND r.oid IN (SELECT oid FROM accessible)
    AND r.relowner IN (SELECT oid FROM bypassing)
    AND NOT EXISTS (
        SELECT FROM pg_options_to_table(r.reloptions) AS o WHERE o.option_name = 'security_invoker' AND o.option_value::bool
    )
