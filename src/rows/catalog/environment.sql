-- The roles, schemas and privileges around the shared tables.
-- $1: the shared schema; $2: the owner; $3: the role that owns the keys; $4: the administrator; $5: the application;
-- $6, $7, $8: the bodies of the functions that the policies call.
WITH role AS (
    SELECT
        (SELECT oid FROM pg_roles WHERE rolname = $2::text) AS owner,
        (SELECT oid FROM pg_roles WHERE rolname = $3::text) AS verifier,
        (SELECT oid FROM pg_roles WHERE rolname = $4::text) AS admin,
        (SELECT oid FROM pg_roles WHERE rolname = $5::text) AS app
), shared AS (
    SELECT n.* FROM pg_namespace n WHERE n.nspname = $1::text
), verifier AS (
    SELECT n.* FROM pg_namespace n WHERE n.nspname = 'tenantry'
), expected (name, arguments, body, is_definer, volatility, parallel) AS (
    VALUES
        ('current_tenant', '', $6::text, true, 's'::"char", 'r'::"char"),
        ('is_administrator', '', $7::text, false, 'i', 's'),
        ('requires_context', 'regclass', $8::text, false, 'i', 's')
), keys AS (
    SELECT c.* FROM pg_class c JOIN verifier ON c.relnamespace = verifier.oid WHERE c.relname = 'context_key' AND c.relkind = 'r'
)
SELECT
    role.owner IS NOT NULL AS has_owner,
    role.verifier IS NOT NULL AS has_verifier,
    role.admin IS NOT NULL AS has_admin,
    role.app IS NOT NULL AS has_app,
    EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = role.owner AND m.member = role.admin) AS admin_is_member,
    EXISTS (SELECT FROM shared) AS has_schema,
    EXISTS (SELECT FROM shared WHERE nspowner = role.owner) AS owns_schema,
    EXISTS (
        SELECT FROM shared, aclexplode(nspacl) AS acl WHERE acl.grantee = role.app AND acl.privilege_type = 'USAGE'
    ) AS app_uses_schema,
    EXISTS (SELECT FROM shared, aclexplode(nspacl) AS acl WHERE acl.grantee = 0) AS public_uses_schema,
    EXISTS (SELECT FROM verifier) AS has_verifier_schema,
    EXISTS (
        SELECT FROM verifier, aclexplode(nspacl) AS acl WHERE acl.grantee = role.app AND acl.privilege_type = 'USAGE'
    ) AND EXISTS (
        SELECT FROM verifier, aclexplode(nspacl) AS acl WHERE acl.grantee = role.owner AND acl.privilege_type = 'USAGE'
    ) AS roles_use_verifier,
    EXISTS (SELECT FROM keys) AS has_key_table,
    EXISTS (
        SELECT FROM keys, pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = keys.oid AND d.deptype = 'e'
    ) AS keys_are_undumped,
    NOT EXISTS (
        SELECT FROM expected e
        WHERE NOT EXISTS (
            SELECT FROM pg_proc p JOIN verifier ON p.pronamespace = verifier.oid
            WHERE p.proname = e.name AND oidvectortypes(p.proargtypes) = e.arguments
                AND p.proowner = role.verifier AND p.prosrc = e.body AND p.prosecdef = e.is_definer
                AND p.provolatile = e.volatility AND p.proparallel = e.parallel
                AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
                AND NOT EXISTS (
                    SELECT FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS acl WHERE acl.grantee = 0
                )
                AND EXISTS (SELECT FROM aclexplode(p.proacl) AS acl WHERE acl.grantee = role.app)
                AND EXISTS (SELECT FROM aclexplode(p.proacl) AS acl WHERE acl.grantee = role.owner)
        )
    ) AS has_context_functions,
    EXISTS (
        SELECT FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) AS acl
        WHERE d.datname = current_database() AND acl.grantee = 0 AND acl.privilege_type IN ('TEMPORARY', 'CREATE')
    ) AS public_creates_in_database,
    EXISTS (
        SELECT FROM pg_namespace n, aclexplode(n.nspacl) AS acl
        WHERE n.nspname = 'public' AND acl.grantee = 0 AND acl.privilege_type = 'CREATE'
    ) AS public_creates_in_public,
    NOT EXISTS (
        SELECT FROM pg_default_acl d
        WHERE d.defaclrole = role.owner AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f'
            AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) AS acl WHERE acl.grantee = 0)
    ) AS public_executes_new_functions,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
    current_user::text AS role,
    current_database()::text AS database
FROM role
