-- Functions, foreign servers and connections to other databases.
, routine AS (
    SELECT
        p.*, n.nspname, p.oid::regprocedure::text AS name,
        (SELECT substr(item, length('search_path=') + 1) FROM unnest(p.proconfig) AS item WHERE item LIKE 'search\_path=%') AS path,
        -- Whether the application may call it.
        EXISTS (
            SELECT FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS acl
            WHERE acl.grantee IN (SELECT oid FROM grantee)
        ) AND (n.nspowner IN (SELECT oid FROM reach) OR EXISTS (
            SELECT FROM aclexplode(n.nspacl) AS acl
            WHERE acl.privilege_type = 'USAGE' AND acl.grantee IN (SELECT oid FROM grantee)
        )) AS is_callable
    FROM pg_proc p JOIN user_schema n ON n.oid = p.pronamespace
)
SELECT
    'function.definer-bypasses' AS code,
    r.name AS object,
    format('%s runs as %I, who has access to the rows or keys of all tenants', r.name, pg_get_userbyid(r.proowner)) AS message,
    ARRAY[format('ALTER ROUTINE %s OWNER TO %I', r.name, layout.owner)] AS fix
FROM layout, routine r
WHERE r.is_callable AND r.prosecdef AND r.proowner IN (SELECT oid FROM bypassing)
    -- Only a trigger calls these.
    AND r.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
    AND NOT (r.nspname = 'tenantry' AND r.proname = 'current_tenant' AND r.pronargs = 0)
UNION ALL
SELECT
    'function.definer-path',
    r.name,
    format('%s runs as %I with the search path of its caller, or finds temporary tables first', r.name, pg_get_userbyid(r.proowner)),
    ARRAY[format(
        'ALTER ROUTINE %s SET search_path TO %s, pg_temp', r.name,
        CASE
            WHEN r.path IS NULL THEN format('pg_catalog, %I', r.nspname)
            ELSE COALESCE(NULLIF(ltrim(regexp_replace(r.path, '(^|, *)"?(pg_temp)?"?(?=,|$)', '', 'g'), ', '), ''), 'pg_catalog')
        END
    )]
FROM routine r JOIN pg_language l ON l.oid = r.prolang
WHERE r.is_callable AND r.prosecdef AND r.prosqlbody IS NULL AND l.lanname NOT IN ('c', 'internal')
    AND COALESCE(r.path, '') !~ '(^|, *)"?pg_temp"?$'
UNION ALL
SELECT
    'function.leakproof',
    r.name,
    format('%s is LEAKPROOF: it is given rows of other tenants', r.name),
    ARRAY[format('ALTER ROUTINE %s NOT LEAKPROOF', r.name)]
FROM routine r
WHERE r.proleakproof AND (r.oid, 'pg_proc'::regclass) NOT IN (SELECT oid, class FROM member)
UNION ALL
SELECT
    'function.owner',
    r.name,
    format('%s is owned by %I, which the application may become', r.name, pg_get_userbyid(r.proowner)),
    ARRAY[format('ALTER ROUTINE %s OWNER TO %I', r.name, layout.owner)]
FROM layout, routine r
WHERE r.proowner IN (SELECT oid FROM wrong_owner)
    AND NOT (r.nspname = 'tenantry' AND r.proname IN ('current_tenant', 'is_administrator', 'requires_context'))
UNION ALL
SELECT
    'verifier.changed',
    r.name,
    format('%s is owned by %I; expected: %I', r.name, pg_get_userbyid(r.proowner), layout.verifier),
    ARRAY[format('ALTER ROUTINE %s OWNER TO %I', r.name, layout.verifier)]
FROM layout, routine r
WHERE r.nspname = 'tenantry' AND r.proname IN ('current_tenant', 'is_administrator', 'requires_context')
    AND pg_get_userbyid(r.proowner) <> layout.verifier
UNION ALL
SELECT
    'dblink',
    'dblink',
    format('%s may connect to other databases with dblink', who.name),
    array_agg(format('REVOKE EXECUTE ON ROUTINE %s FROM %s', r.name, who.name) ORDER BY r.name)
FROM routine r
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = r.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'dblink'
CROSS JOIN aclexplode(COALESCE(r.proacl, acldefault('f', r.proowner))) AS acl
CROSS JOIN LATERAL (
    SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
) AS who (name)
WHERE r.is_callable AND acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> r.proowner
GROUP BY who.name
UNION ALL
SELECT
    'user-mapping',
    quote_ident(m.srvname),
    format('%s may connect to the foreign server %I', who.name, m.srvname),
    ARRAY[format('DROP USER MAPPING FOR %s SERVER %I', who.name, m.srvname)]
FROM pg_user_mappings m
CROSS JOIN LATERAL (
    SELECT CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(m.umuser)) END
) AS who (name)
WHERE m.umuser IN (SELECT oid FROM grantee)
