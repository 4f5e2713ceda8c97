-- The roles, schemas and privileges around the shared tables.
-- $1: the shared schema; $2: the owner; $3: the role that owns the keys; $4: the administrator; $5: the application;
-- $6: the body of the context function.
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
), context AS (
    SELECT p.* FROM pg_proc p JOIN verifier ON p.pronamespace = verifier.oid WHERE p.proname = 'current_tenant' AND p.pronargs = 0
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
    EXISTS (
        SELECT FROM context
        WHERE proowner = role.verifier AND prosrc = $6::text AND prosecdef AND provolatile = 's' AND proparallel = 'r'
            AND proconfig = ARRAY['search_path=pg_catalog, pg_temp']
            AND NOT EXISTS (SELECT FROM aclexplode(COALESCE(proacl, acldefault('f', proowner))) AS acl WHERE acl.grantee = 0)
            AND EXISTS (SELECT FROM aclexplode(proacl) AS acl WHERE acl.grantee = role.app)
            AND EXISTS (SELECT FROM aclexplode(proacl) AS acl WHERE acl.grantee = role.owner)
    ) AS has_context_function,
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
