-- Restores the privileges that archiving has revoked, as far as their roles exist, and lets the tenant's role log in again.
DECLARE
    tenant CONSTANT text := $tenant;
    mark CONSTANT text := format(
        'tenantry: database "%s": role of tenant "%s"', replace(current_database(), '"', '""'), replace(tenant, '"', '""')
    );
    rights jsonb;
    tenant_role text;
    granted record;
BEGIN
    SELECT t.archived_rights INTO rights
    FROM public.schema_tracker AS t
    WHERE t.name = tenant AND t.state = 'archived'
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '$changed';
    END IF;
    FOR granted IN
        SELECT
            g.privilege,
            coalesce(r.oid, 0) AS grantee,
            CASE WHEN g.grantee IS NULL THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS name,
            g.grantable
        FROM jsonb_to_recordset(rights -> 'grants') AS g (grantee text, privilege text, grantable boolean)
        LEFT JOIN pg_roles AS r ON r.rolname = g.grantee
        WHERE (g.grantee IS NULL OR r.oid IS NOT NULL) AND g.privilege IN ('CREATE', 'USAGE')
    LOOP
        EXECUTE format(
            'GRANT %s ON SCHEMA %I TO %s%s',
            granted.privilege, tenant, granted.name, CASE WHEN granted.grantable THEN ' WITH GRANT OPTION' ELSE '' END
        );
        -- Without the right to grant, GRANT only warns.
        IF NOT EXISTS (
            SELECT FROM pg_namespace AS n, aclexplode(n.nspacl) AS e
            WHERE n.nspname = tenant AND e.grantee = granted.grantee AND e.privilege_type = granted.privilege
        ) THEN
            RAISE insufficient_privilege USING MESSAGE = format('must be owner of schema %I', tenant);
        END IF;
    END LOOP;
    IF (rights ->> 'login')::boolean THEN
        SELECT r.rolname INTO tenant_role
        FROM public.schema_tracker AS t
        JOIN pg_roles AS r ON r.rolname = t.role_name
        JOIN pg_shdescription AS d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
        WHERE t.name = tenant AND d.description = mark;
        IF FOUND THEN
            EXECUTE format('ALTER ROLE %I LOGIN', tenant_role);
        END IF;
    END IF;
    UPDATE public.schema_tracker AS t
    SET state = 'active', archived_at = NULL, archived_rights = NULL, purge_after = NULL
    WHERE t.name = tenant;
END
