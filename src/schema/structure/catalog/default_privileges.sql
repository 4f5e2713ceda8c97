SELECT n.oid AS schema, line, NULL::text AS ddl
FROM namespace n
JOIN pg_default_acl a ON a.defaclnamespace = n.oid
CROSS JOIN LATERAL (SELECT
    'default privileges' AS kind,
    NULL::text AS "on",
    CASE WHEN a.defaclrole = n.nspowner THEN '(owner)' ELSE quote_ident(pg_get_userbyid(a.defaclrole)) END
        || ' on '
        || CASE a.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
            WHEN 'T' THEN 'types' ELSE a.defaclobjtype::text END AS name,
    -- What is granted here is added to what is granted everywhere: there is no default to compare it with.
    coalesce(grants(a.defaclacl, 'c', a.defaclrole, n.tenant_role), '{}') AS grants
) line
-- Those of nobody but the role of the tenant are none.
WHERE EXISTS (SELECT FROM aclexplode(a.defaclacl) e WHERE e.grantee IS DISTINCT FROM n.tenant_role)
