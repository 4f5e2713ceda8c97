-- The privileges in the schemas of tenants that are not the expected ones: $1 has the tenants, $2 their roles or NULL, $3 the
-- beginning of the marks of this database, and $4 the roles that run migrations, besides the owners of the schemas.
WITH tenant AS MATERIALIZED (
    SELECT w.tenant, n.oid AS schema, n.nspname, n.nspacl, n.nspowner, r.oid AS role, w.role IS NOT NULL AS has_role,
        $3 || 'role of tenant "' || replace(w.tenant, '"', '""') || '"' AS mark
    FROM unnest($1::text[], $2::text[]) AS w (tenant, role)
    JOIN pg_namespace n ON n.nspname = w.tenant::name
    LEFT JOIN pg_roles r ON r.rolname = w.role::name
),
-- The roles of tenants, and their group.
marked AS MATERIALIZED (
    SELECT d.objoid AS role, d.description AS mark FROM pg_shdescription d
    WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, $3)
),
migrating AS (
    SELECT t.tenant, o.owner FROM tenant t
    CROSS JOIN LATERAL (
        SELECT t.nspowner AS owner UNION SELECT r.oid FROM pg_roles r WHERE r.rolname = ANY ($4::name[])
    ) o
),
object AS (
    SELECT t.tenant, t.role, t.has_role, 'SCHEMA' AS kind, quote_ident(t.nspname) AS object, t.nspowner AS owner,
        t.nspacl AS acl, '{USAGE}'::text[] AS expected, 0::oid AS sequence
    FROM tenant t
    UNION ALL
    SELECT t.tenant, t.role, t.has_role, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
        quote_ident(t.nspname) || '.' || quote_ident(c.relname), c.relowner, c.relacl,
        CASE
            WHEN c.relname = '__diesel_schema_migrations' THEN '{}'
            WHEN c.relkind = 'S' THEN '{SELECT,USAGE}'
            ELSE '{DELETE,INSERT,SELECT,UPDATE}'
        END::text[],
        CASE c.relkind WHEN 'S' THEN c.oid ELSE 0 END
    FROM tenant t JOIN pg_class c ON c.relnamespace = t.schema
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    -- No privilege on a column is expected; the expected ones on the table are granted again when they are revoked.
    SELECT t.tenant, t.role, t.has_role, 'COLUMN', quote_ident(t.nspname) || '.' || quote_ident(c.relname), c.relowner,
        a.attacl,
        CASE WHEN c.relname = '__diesel_schema_migrations' THEN '{}' ELSE '{DELETE,INSERT,SELECT,UPDATE}' END::text[], 0
    FROM tenant t
    JOIN pg_class c ON c.relnamespace = t.schema
    JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT t.tenant, t.role, t.has_role, 'ROUTINE', p.oid::regprocedure::text, p.proowner, p.proacl, '{EXECUTE}', 0
    FROM tenant t JOIN pg_proc p ON p.pronamespace = t.schema
    UNION ALL
    -- What objects get that migrations will create. What other roles than those that migrate grant there is not expected to be
    -- anything.
    SELECT t.tenant, t.role, t.has_role, 'DEFAULT ' || kinds.plural,
        'FOR ROLE ' || w.owner::regrole || ' IN SCHEMA ' || quote_ident(t.nspname), NULL, a.defaclacl,
        CASE WHEN w.migrates THEN kinds.expected::text[] END, 0
    FROM tenant t
    JOIN (
        SELECT m.tenant, m.owner, true AS migrates FROM migrating m
        UNION
        SELECT t.tenant, a.defaclrole, false FROM tenant t JOIN pg_default_acl a ON a.defaclnamespace = t.schema
        WHERE (t.tenant, a.defaclrole) NOT IN (SELECT m.tenant, m.owner FROM migrating m)
    ) w ON w.tenant = t.tenant
    CROSS JOIN (VALUES
        ('r'::"char", 'TABLES', '{DELETE,INSERT,SELECT,UPDATE}'),
        ('S'::"char", 'SEQUENCES', '{SELECT,USAGE}'),
        ('f'::"char", 'ROUTINES', '{EXECUTE}')
    ) AS kinds (type, plural, expected)
    LEFT JOIN pg_default_acl a
        ON a.defaclnamespace = t.schema AND a.defaclrole = w.owner AND a.defaclobjtype = kinds.type
),
compared AS (
    SELECT o.tenant, o.has_role, o.kind, o.object,
        CASE WHEN o.kind <> 'COLUMN' OR own.privileges <> '{}' THEN o.expected END AS expected,
        coalesce(o.owner = o.role, false) AS is_owner,
        own.privileges AS granted,
        own.is_grantable,
        others.grantees || CASE
            WHEN EXISTS (SELECT FROM marked m WHERE m.role = o.owner AND m.mark <> t.mark AND m.role IS DISTINCT FROM o.role)
                -- The sequence of a column has the owner of the table.
                AND NOT EXISTS (
                    SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = o.sequence AND d.deptype IN ('a', 'i')
                        AND d.refclassid = 'pg_class'::regclass
                )
            THEN ARRAY['OWNER ' || o.owner::regrole] ELSE '{}'
        END AS strangers
    FROM object o
    JOIN tenant t ON t.tenant = o.tenant
    CROSS JOIN LATERAL (
        SELECT
            coalesce(array_agg(DISTINCT e.privilege_type ORDER BY e.privilege_type), '{}') AS privileges,
            coalesce(bool_or(e.is_grantable), false) AS is_grantable
        FROM aclexplode(o.acl) e WHERE e.grantee = o.role
    ) own
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(DISTINCT e.grantee::regrole::text), '{}') AS grantees
        FROM aclexplode(o.acl) e
        -- PUBLIC may execute functions, by default, and has no access to the schema.
        WHERE (e.grantee = 0 AND o.kind NOT IN ('ROUTINE', 'DEFAULT ROUTINES'))
            OR (
                e.grantee IS DISTINCT FROM o.role AND e.grantee IS DISTINCT FROM o.owner
                AND EXISTS (SELECT FROM marked m WHERE m.role = e.grantee AND m.mark <> t.mark)
            )
    ) others
)
SELECT c.tenant, c.kind, c.object, c.granted,
    CASE WHEN c.has_role AND NOT c.is_owner THEN c.expected END AS expected,
    c.is_grantable,
    -- A role of oid 0 is shown as a dash.
    array_replace(c.strangers, '-', 'PUBLIC') AS strangers
FROM compared c
WHERE c.strangers <> '{}' OR (
    c.has_role AND NOT c.is_owner
    AND (c.is_grantable OR c.granted <> c.expected)
)
ORDER BY c.tenant, c.kind, c.object
