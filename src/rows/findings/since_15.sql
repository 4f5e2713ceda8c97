-- What exists since PostgreSQL 15: privileges on parameters, and publications of schemas.
SELECT
    'role.parameter' AS code,
    p.parname AS object,
    format('%s may set the parameter %s', who.name, p.parname) AS message,
    ARRAY[format(
        'REVOKE ALL ON PARAMETER %s FROM %s',
        (SELECT string_agg(quote_ident(part), '.' ORDER BY place) FROM string_to_table(p.parname, '.') WITH ORDINALITY AS list (part, place)),
        who.name
    )] AS fix
FROM pg_parameter_acl p
CROSS JOIN LATERAL (SELECT DISTINCT acl.grantee FROM aclexplode(p.paracl) AS acl) AS acl
CROSS JOIN LATERAL (
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
) AS who (name)
WHERE acl.grantee IN (SELECT oid FROM grantee)
UNION ALL
SELECT
    'publication',
    quote_ident(p.pubname),
    format('publication %I publishes all tables of schema %s', p.pubname, n.pnnspid::regnamespace),
    '{}'::text[]
FROM layout
CROSS JOIN pg_publication p
JOIN pg_publication_namespace n ON n.pnpubid = p.oid
JOIN pg_namespace s ON s.oid = n.pnnspid
WHERE s.nspname IN (layout.schema, 'tenantry')
