-- The archived tenants that others than the owners of their schemas can use.
SELECT a.name, a.grantees, a.login_role
FROM (
    SELECT
        t.name,
        ARRAY(
            SELECT DISTINCT CASE e.grantee
                WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)::pg_catalog.text)
            END
            FROM pg_catalog.aclexplode(n.nspacl) AS e
            WHERE e.grantee OPERATOR(pg_catalog.<>) n.nspowner
            ORDER BY 1
        ) AS grantees,
        (
            SELECT pg_catalog.quote_ident(r.rolname::pg_catalog.text)
            FROM pg_catalog.pg_roles AS r
            WHERE r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) t.role_name::pg_catalog.text AND r.rolcanlogin
        ) AS login_role
    FROM public.schema_tracker AS t
    JOIN pg_catalog.pg_namespace AS n ON n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) t.name::pg_catalog.text
    WHERE t.state::pg_catalog.text OPERATOR(pg_catalog.=) 'archived'
) AS a
WHERE pg_catalog.cardinality(a.grantees) OPERATOR(pg_catalog.>) 0 OR a.login_role IS NOT NULL
ORDER BY a.name COLLATE pg_catalog."C"
