-- Privileges on tables, sequences, materialized views and foreign tables.
, privilege AS (
    SELECT c.oid, acl.grantee, acl.privilege_type FROM pg_class c, aclexplode(c.relacl) AS acl
    UNION
    SELECT a.attrelid, acl.grantee, acl.privilege_type
    FROM pg_attribute a, aclexplode(a.attacl) AS acl
    WHERE a.attnum > 0 AND NOT a.attisdropped
), descendant (oid) AS (
    SELECT h.inhrelid FROM pg_inherits h JOIN shared ON shared.oid = h.inhparent
    UNION
    SELECT h.inhrelid FROM pg_inherits h JOIN descendant d ON d.oid = h.inhparent
), held AS (
    SELECT
        c.oid, c.relkind, c.relispartition, n.nspname, shared.use, p.grantee,
        format('%I.%I', n.nspname, c.relname) AS name,
        CASE p.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(p.grantee)) END AS who,
        p.grantee IN (SELECT oid FROM grantee) AS by_application,
        COALESCE(obj_description(c.oid, 'pg_class') ~ '^tenantry: exempt\M', false) AS is_exempt,
        array_agg(p.privilege_type ORDER BY p.privilege_type) AS privileges
    FROM pg_class c
    JOIN user_schema n ON n.oid = c.relnamespace
    JOIN privilege p ON p.oid = c.oid
    LEFT JOIN shared ON shared.oid = c.oid
    WHERE p.grantee <> c.relowner AND (c.oid, 'pg_class'::regclass) NOT IN (
        SELECT m.oid, m.class FROM member m WHERE n.nspname <> 'tenantry'
    )
    GROUP BY c.oid, n.nspname, shared.use, p.grantee
), found AS (
    SELECT
        held.*,
        CASE
            WHEN nspname = 'tenantry' THEN 'verifier.key-readable'
            WHEN relkind = 'm' AND by_application THEN 'matview'
            WHEN relkind = 'f' AND by_application THEN 'foreign-table'
            WHEN relkind NOT IN ('r', 'p') THEN NULL
            WHEN relispartition AND by_application AND (use IS NOT NULL OR oid IN (SELECT oid FROM descendant))
                THEN 'grant.partition'
            WHEN use IS NULL AND by_application AND oid IN (SELECT oid FROM descendant) THEN 'inherit.child'
            WHEN use IS NULL AND by_application AND NOT (is_exempt AND privileges = ARRAY['SELECT']) THEN 'table.elsewhere'
            WHEN use IS NOT NULL AND grantee = 0 THEN 'grant.public'
            WHEN use IS NOT NULL AND grantee <> layout.app AND grantee NOT IN (SELECT oid FROM own)
                THEN 'grant.other-role'
        END AS code
    FROM held CROSS JOIN layout
)
SELECT
    code,
    name AS object,
    CASE code
        WHEN 'table.elsewhere' THEN format('%s has %s on %s, which is not isolated', who, array_to_string(privileges, ', '), name)
        ELSE format('%s has %s on %s', who, array_to_string(privileges, ', '), name)
    END AS message,
    ARRAY[format('REVOKE ALL ON TABLE %s FROM %s', name, who)] AS fix
FROM found
WHERE code IS NOT NULL
UNION ALL
SELECT
    'grant.' || lower(privilege), name,
    format('%s has %s on %s', who, privilege, name),
    ARRAY[format('REVOKE %s ON TABLE %s FROM %s', privilege, name, who)]
FROM found CROSS JOIN unnest(privileges) AS privilege
WHERE use IS NOT NULL AND by_application AND privilege IN ('TRUNCATE', 'REFERENCES', 'TRIGGER')
UNION ALL
SELECT
    format('grant.%s-write', use), name,
    format('%s may change the rows of %s', who, name),
    ARRAY[format('REVOKE INSERT, UPDATE, DELETE ON TABLE %s FROM %s', name, who)]
FROM found
WHERE use IN ('exempt', 'registry') AND by_application AND privileges && ARRAY['INSERT', 'UPDATE', 'DELETE']
UNION ALL
SELECT
    'sequence.writable', name,
    format('%s may read or set the sequence %s', who, name),
    ARRAY[format('REVOKE SELECT, UPDATE ON SEQUENCE %s FROM %s', name, who)]
FROM found
WHERE relkind = 'S' AND by_application AND privileges && ARRAY['SELECT', 'UPDATE']
