-- Findings of the database: $1 is the beginning of the marks of this database, $2 the mark of the group. The marks of roles of
-- tenants are compared with the tracker.
WITH marked AS MATERIALIZED (
    SELECT r.oid AS role, r.rolname, d.description AS mark, r.rolcanlogin, r.rolsuper, r.rolcreaterole, r.rolcreatedb,
        r.rolbypassrls, r.rolreplication
    FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
    WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, $1)
),
owner AS MATERIALIZED (
    SELECT n.nspowner AS role FROM public.schema_tracker t JOIN pg_namespace n ON n.nspname = t.name::name
    GROUP BY n.nspowner
)
SELECT 'tenant-role.orphaned' AS code, NULL::text AS tenant, quote_ident(m.rolname) AS object,
    format('role %s is marked as that of a tenant that does not have it', m.rolname) AS message,
    format('DROP OWNED BY %1$I; DROP ROLE %1$I', m.rolname) AS fix
FROM marked m
WHERE m.mark <> $2 AND NOT EXISTS (
    SELECT FROM public.schema_tracker t
    WHERE t.role_name = m.rolname::text AND m.mark = $1 || 'role of tenant "' || replace(t.name, '"', '""') || '"'
)
UNION ALL
SELECT 'tenant-role.membership', NULL, quote_ident(m.rolname),
    format('group %s is a member of %s', m.rolname, a.roleid::regrole),
    format('REVOKE %s FROM %I', a.roleid::regrole, m.rolname)
FROM marked m JOIN pg_auth_members a ON a.member = m.role
WHERE m.mark = $2
UNION ALL
SELECT 'tenant-role.attribute', NULL, quote_ident(m.rolname), format('group %s may log in, or has a privileged attribute', m.rolname),
    format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOBYPASSRLS NOREPLICATION', m.rolname)
FROM marked m
WHERE m.mark = $2
    AND (m.rolcanlogin OR m.rolsuper OR m.rolcreaterole OR m.rolcreatedb OR m.rolbypassrls OR m.rolreplication)
UNION ALL
SELECT DISTINCT 'tenant-role.public-create', NULL, 'public', format('%s may create objects in the schema public', g.name),
    format('REVOKE CREATE ON SCHEMA public FROM %s', g.name)
FROM pg_namespace n
CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) e
CROSS JOIN LATERAL (SELECT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS name) g
WHERE n.nspname = 'public' AND e.privilege_type = 'CREATE'
    AND (e.grantee = 0 OR e.grantee IN (SELECT m.role FROM marked m))
    AND EXISTS (SELECT FROM marked)
UNION ALL
-- Outside of the schemas of tenants.
SELECT 'tenant-role.definer', NULL, p.oid::regprocedure::text,
    format('function %s runs with the privileges of %s', p.oid::regprocedure, o.rolname),
    format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::regprocedure)
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_roles o ON o.oid = p.proowner
WHERE p.prosecdef AND (o.rolsuper OR o.oid IN (SELECT w.role FROM owner w))
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname::text NOT IN (SELECT t.name FROM public.schema_tracker t WHERE t.name IS NOT NULL)
    AND EXISTS (SELECT FROM marked)
    AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
    AND EXISTS (
        SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) e
        WHERE e.privilege_type = 'USAGE' AND (e.grantee = 0 OR e.grantee IN (SELECT m.role FROM marked m))
    )
    AND EXISTS (
        SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
        WHERE e.grantee = 0 OR e.grantee IN (SELECT m.role FROM marked m)
    )
ORDER BY 1, 3
