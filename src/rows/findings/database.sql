-- Privileges on the database and its schemas, default privileges, publications of single tables, and large objects.
, large_object AS (
    SELECT format('ALTER LARGE OBJECT %s OWNER TO %I', o.oid, layout.owner) AS fix
    FROM layout, pg_largeobject_metadata o
    WHERE o.lomowner IN (SELECT oid FROM wrong_owner)
    UNION ALL
    SELECT format(
        'REVOKE ALL ON LARGE OBJECT %s FROM %s', o.oid,
        CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
    )
    FROM pg_largeobject_metadata o, aclexplode(o.lomacl) AS acl
    WHERE acl.grantee IN (SELECT oid FROM grantee)
)
SELECT
    'database.owner' AS code,
    quote_ident(d.datname) AS object,
    format('the database is owned by %I, which the application may become', pg_get_userbyid(d.datdba)) AS message,
    ARRAY[format('ALTER DATABASE %I OWNER TO %I', d.datname, layout.admin)] AS fix
FROM layout JOIN pg_database d ON d.oid = layout.database
WHERE d.datdba IN (SELECT oid FROM wrong_owner)
UNION ALL
SELECT
    'database.temp',
    quote_ident(d.datname),
    format('%s may create %s in the database', who.name, CASE acl.privilege_type WHEN 'CREATE' THEN 'schemas' ELSE 'temporary tables' END),
    ARRAY[format('REVOKE %s ON DATABASE %I FROM %s', acl.privilege_type, d.datname, who.name)]
FROM layout
JOIN pg_database d ON d.oid = layout.database
CROSS JOIN aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) AS acl
CROSS JOIN LATERAL (
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
) AS who (name)
WHERE acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> d.datdba AND acl.privilege_type IN ('CREATE', 'TEMPORARY')
UNION ALL
SELECT
    'schema.owner',
    quote_ident(n.nspname),
    format('schema %I is owned by %I, which the application may become', n.nspname, pg_get_userbyid(n.nspowner)),
    ARRAY[format('ALTER SCHEMA %I OWNER TO %I', n.nspname, layout.owner)]
FROM layout, user_schema n
WHERE n.nspowner IN (SELECT oid FROM wrong_owner)
UNION ALL
SELECT
    'schema.create',
    quote_ident(n.nspname),
    format('%s may create objects in schema %I', who.name, n.nspname),
    ARRAY[format('REVOKE CREATE ON SCHEMA %I FROM %s', n.nspname, who.name)]
FROM user_schema n
CROSS JOIN aclexplode(n.nspacl) AS acl
CROSS JOIN LATERAL (
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
) AS who (name)
WHERE acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> n.nspowner AND acl.privilege_type = 'CREATE'
UNION ALL
SELECT
    'default-privileges',
    format('%I', pg_get_userbyid(d.defaclrole)),
    format(
        '%s that role %I creates%s give %s to %s', kind.plural, pg_get_userbyid(d.defaclrole),
        CASE WHEN d.defaclnamespace = 0 THEN '' ELSE format(' in schema %s', d.defaclnamespace::regnamespace) END,
        acl.privilege_type, who.name
    ),
    ARRAY[format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE %s ON %s FROM %s', pg_get_userbyid(d.defaclrole),
        CASE WHEN d.defaclnamespace = 0 THEN '' ELSE format(' IN SCHEMA %s', d.defaclnamespace::regnamespace) END,
        acl.privilege_type, upper(kind.plural), who.name
    )]
FROM layout
CROSS JOIN pg_default_acl d
CROSS JOIN aclexplode(d.defaclacl) AS acl
CROSS JOIN LATERAL (
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
) AS who (name)
JOIN (VALUES ('r', 'tables'), ('S', 'sequences'), ('f', 'functions'), ('n', 'schemas')) AS kind (code, plural)
    ON kind.code = d.defaclobjtype
WHERE acl.grantee IN (SELECT oid FROM grantee)
    AND acl.grantee <> d.defaclrole
    AND CASE d.defaclobjtype
        WHEN 'r' THEN acl.grantee = 0 OR acl.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
        WHEN 'S' THEN acl.grantee = 0 OR acl.privilege_type <> 'USAGE'
        -- Of other roles, PUBLIC has the privilege by default.
        WHEN 'f' THEN acl.grantee = 0 AND (d.defaclnamespace <> 0 OR pg_get_userbyid(d.defaclrole) = layout.owner)
        ELSE acl.privilege_type = 'CREATE'
    END
UNION ALL
SELECT
    'default-privileges',
    format('%I', r.rolname),
    format('functions that role %I creates give EXECUTE to PUBLIC', r.rolname),
    ARRAY[format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC', r.rolname)]
FROM layout JOIN pg_roles r ON r.rolname = layout.owner
WHERE NOT EXISTS (
    SELECT FROM pg_default_acl d
    WHERE d.defaclrole = r.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f'
)
UNION ALL
SELECT
    'publication',
    quote_ident(p.pubname),
    CASE
        WHEN p.puballtables THEN format('publication %I publishes all tables', p.pubname)
        ELSE format('publication %I publishes the rows of all tenants in %s', p.pubname, r.prrelid::regclass)
    END,
    '{}'::text[]
FROM pg_publication p
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND NOT p.puballtables
LEFT JOIN shared ON shared.oid = r.prrelid
LEFT JOIN pg_class c ON c.oid = r.prrelid
WHERE p.puballtables
    -- The column prqual exists since PostgreSQL 15.
    OR (shared.use <> 'exempt' AND to_jsonb(r) ->> 'prqual' IS NULL)
    OR c.relnamespace = to_regnamespace('tenantry')
UNION ALL
SELECT
    'large-objects',
    'large objects',
    format('the application owns or has access to %s', CASE count(*) WHEN 1 THEN '1 large object' ELSE count(*) || ' large objects' END),
    CASE WHEN count(*) <= 1000 THEN array_agg(fix ORDER BY fix) ELSE '{}' END
FROM large_object
HAVING count(*) > 0
