-- Roles that the application may become, and settings of its sessions.
, granted AS (
    -- How to take each reachable role away.
    SELECT
        m.roleid,
        array_agg(format(
            'REVOKE %I FROM %I%s', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member),
            -- Before PostgreSQL 16, a membership has no grantor of importance.
            CASE WHEN layout.version >= 160000 THEN format(' GRANTED BY %I', pg_get_userbyid(m.grantor)) ELSE '' END
        ) ORDER BY m.member, m.grantor) AS revoke
    FROM pg_auth_members m JOIN reach ON reach.oid = m.member CROSS JOIN layout
    GROUP BY m.roleid
), configured AS (
    SELECT
        s.setrole, s.setdatabase,
        split_part(item, '=', 1) AS name,
        substr(item, strpos(item, '=') + 1) AS value,
        ARRAY(
            SELECT btrim(part, ' "')
            FROM string_to_table(substr(item, strpos(item, '=') + 1), ',') WITH ORDINALITY AS list (part, place)
            ORDER BY place
        ) AS path
    FROM layout, pg_db_role_setting s, unnest(s.setconfig) AS item
    WHERE s.setdatabase IN (0, layout.database) AND (s.setrole = 0 OR s.setrole IN (SELECT oid FROM reach))
), writable (name) AS (
    -- The schemas in which the application may create objects.
    SELECT nspname::text FROM user_schema
    WHERE nspowner IN (SELECT oid FROM wrong_owner)
        OR EXISTS (
            SELECT FROM aclexplode(nspacl) AS acl
            WHERE acl.privilege_type = 'CREATE' AND acl.grantee IN (SELECT oid FROM grantee)
        )
)
SELECT
    attribute.code,
    quote_ident(r.rolname) AS object,
    format('role %I %s', r.rolname, attribute.meaning) AS message,
    CASE
        WHEN r.oid = layout.app THEN ARRAY[format('ALTER ROLE %I %s', r.rolname, attribute.option)]
        ELSE COALESCE(granted.revoke, '{}')
    END AS fix
FROM layout
CROSS JOIN reach
JOIN pg_roles r ON r.oid = reach.oid
LEFT JOIN granted ON granted.roleid = r.oid
CROSS JOIN LATERAL (VALUES
    ('role.superuser', r.rolsuper, 'is a superuser, to whom no policy applies', 'NOSUPERUSER'),
    ('role.bypassrls', r.rolbypassrls, 'has BYPASSRLS, so that no policy applies to it', 'NOBYPASSRLS'),
    ('role.createrole', r.rolcreaterole, 'has CREATEROLE and may grant roles', 'NOCREATEROLE'),
    ('role.replication', r.rolreplication, 'has REPLICATION and may read all changes', 'NOREPLICATION')
) AS attribute (code, has, meaning, option)
WHERE attribute.has
UNION ALL
SELECT
    CASE WHEN r.rolname ~ '^pg_' THEN 'role.predefined' ELSE 'role.reaches-owner' END,
    quote_ident(r.rolname),
    CASE
        WHEN r.rolname ~ '^pg_' THEN format('the application is a member of the predefined role %I', r.rolname)
        ELSE format('the application may become role %I, which owns tables or keys', r.rolname)
    END,
    COALESCE(granted.revoke, '{}')
FROM layout
CROSS JOIN reach
JOIN pg_roles r ON r.oid = reach.oid
LEFT JOIN granted ON granted.roleid = r.oid
WHERE r.oid <> layout.app
    AND (
        r.rolname ~ '^pg_'
        OR r.oid IN (SELECT oid FROM own)
        OR EXISTS (SELECT FROM pg_class c JOIN shared ON shared.oid = c.oid WHERE c.relowner = r.oid)
    )
UNION ALL
SELECT
    'role.settings',
    name,
    format(
        'sessions of %s begin with %s = %s',
        CASE WHEN setrole = 0 THEN 'every role' ELSE format('role %I', pg_get_userbyid(setrole)) END, name, quote_literal(value)
    ),
    ARRAY[CASE
        WHEN setrole = 0 AND setdatabase <> 0 THEN format('ALTER DATABASE %I RESET %s', current_database(), name)
        ELSE format(
            'ALTER ROLE %s %sRESET %s',
            CASE WHEN setrole = 0 THEN 'ALL' ELSE quote_ident(pg_get_userbyid(setrole)) END,
            CASE WHEN setdatabase = 0 THEN '' ELSE format('IN DATABASE %I ', current_database()) END,
            name
        )
    END]
FROM configured
WHERE name IN ('row_security', 'session_replication_role', 'tenantry.tenant', 'tenantry.context')
    OR (name = 'search_path' AND (
        array_position(path, 'pg_temp') < cardinality(path)
        OR array_position(path, 'pg_catalog') > 1
        OR path && ARRAY(SELECT name FROM writable)
    ))
