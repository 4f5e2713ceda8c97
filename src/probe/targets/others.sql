-- Roles, schemas, large objects and foreign servers, each with its kind. $1: the probed role; $2: roles of the layout.
SELECT kind, name FROM (
    SELECT 'role' AS kind, r.rolname::text AS name
    FROM pg_roles r
    WHERE r.rolname <> $1::text AND r.rolname <> 'pg_database_owner' AND (
        r.rolname = ANY ($2::text[]) OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication
        OR r.rolname ~ '^pg_'
    )
    UNION
    SELECT 'superuser', r.rolname::text FROM pg_roles r WHERE r.oid = 10
    UNION
    SELECT 'owner', pg_get_userbyid(c.relowner)::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION
    SELECT 'schema', n.nspname::text FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION
    (SELECT 'large object', o.oid::text FROM pg_largeobject_metadata o ORDER BY o.oid LIMIT 20)
    UNION
    SELECT 'own large object', o.oid::text FROM pg_largeobject_metadata o WHERE pg_get_userbyid(o.lomowner) = $1::text
    UNION
    SELECT 'wrapper', w.fdwname::text FROM pg_foreign_data_wrapper w
    UNION
    SELECT 'server', s.srvname::text FROM pg_foreign_server s
) AS found
ORDER BY kind, name COLLATE "C"
