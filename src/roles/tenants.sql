-- Findings in the schemas of the tenants in $1: what runs with the privileges of a role that has access to other tenants.
WITH tenant AS MATERIALIZED (
    SELECT n.oid AS schema, n.nspname::text AS name FROM unnest($1::text[]) AS w (name) JOIN pg_namespace n ON n.nspname = w.name::name
),
-- The owners of more than one schema of a tenant.
owner AS MATERIALIZED (
    SELECT n.nspowner AS role FROM public.schema_tracker t JOIN pg_namespace n ON n.nspname = t.name::name
    GROUP BY n.nspowner HAVING count(*) > 1
)
SELECT 'tenant-role.definer' AS code, t.name AS tenant, p.oid::regprocedure::text AS object,
    format('function %s runs with the privileges of %s', p.oid::regprocedure, o.rolname) AS message,
    format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::regprocedure) AS fix
FROM tenant t
JOIN pg_proc p ON p.pronamespace = t.schema
JOIN pg_roles o ON o.oid = p.proowner
WHERE p.prosecdef AND (o.rolsuper OR o.oid IN (SELECT w.role FROM owner w))
UNION ALL
SELECT DISTINCT 'tenant-role.view', t.name, v.oid::regclass::text,
    format('view %s reads %s, which is another tenant''s', v.oid::regclass, c.oid::regclass),
    CASE
        WHEN v.relkind = 'm' THEN format('DROP MATERIALIZED VIEW %s', v.oid::regclass)
        WHEN current_setting('server_version_num')::integer >= 150000
        THEN format('ALTER VIEW %s SET (security_invoker = true)', v.oid::regclass)
        ELSE format('DROP VIEW %s', v.oid::regclass)
    END
FROM tenant t
JOIN pg_class v ON v.relnamespace = t.schema AND v.relkind IN ('v', 'm')
JOIN pg_rewrite w ON w.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid AND c.relnamespace <> t.schema
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname::text IN (SELECT k.name FROM public.schema_tracker k)
    AND NOT coalesce(v.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1'], false)
ORDER BY 1, 2, 3
