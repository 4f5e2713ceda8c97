-- Revokes the privileges on a schema from everyone but its owner, keeps the tenant's role from logging in, and records both.
DECLARE
    tenant CONSTANT text := $tenant;
    mark CONSTANT text := format(
        'tenantry: database "%s": role of tenant "%s"', replace(current_database(), '"', '""'), replace(tenant, '"', '""')
    );
    space record;
    grants jsonb;
    login boolean := false;
    tenant_role text;
    grantee record;
BEGIN
    SELECT n.oid, n.nspowner, n.nspacl INTO space FROM pg_namespace AS n WHERE n.nspname = tenant;
    IF NOT FOUND OR EXISTS (SELECT FROM aclexplode(space.nspacl) AS e WHERE e.grantor <> space.nspowner) THEN
        RAISE EXCEPTION '$changed';
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'grantee', r.rolname, 'privilege', e.privilege_type, 'grantable', e.is_grantable
    ) ORDER BY r.rolname, e.privilege_type), '[]')
    INTO grants
    FROM aclexplode(space.nspacl) AS e
    LEFT JOIN pg_roles AS r ON r.oid = e.grantee
    WHERE e.grantee <> space.nspowner;
    FOR grantee IN
        SELECT DISTINCT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS name
        FROM aclexplode(space.nspacl) AS e
        LEFT JOIN pg_roles AS r ON r.oid = e.grantee
        WHERE e.grantee <> space.nspowner
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s', tenant, grantee.name);
    END LOOP;
    -- Without the right to revoke, REVOKE only warns.
    IF EXISTS (
        SELECT FROM pg_namespace AS n, aclexplode(n.nspacl) AS e WHERE n.oid = space.oid AND e.grantee <> n.nspowner
    ) THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of schema %I', tenant);
    END IF;
    SELECT r.rolname, r.rolcanlogin INTO tenant_role, login
    FROM public.schema_tracker AS t
    JOIN pg_roles AS r ON r.rolname = t.role_name
    JOIN pg_shdescription AS d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
    WHERE t.name = tenant AND d.description = mark;
    IF login THEN
        EXECUTE format('ALTER ROLE %I NOLOGIN', tenant_role);
    END IF;
    UPDATE public.schema_tracker AS t
    SET state = 'archived',
        archived_at = now(),
        archived_rights = jsonb_build_object('grants', grants, 'login', coalesce(login, false)),
        purge_after = $purge
    WHERE t.name = tenant AND t.state = 'active';
    IF NOT FOUND THEN
        RAISE EXCEPTION '$changed';
    END IF;
END
