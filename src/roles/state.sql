-- The roles of tenants as they are: $1 has the tenants, $2 their roles, $3 the schemas on their search paths after their own.
SELECT
    w.tenant,
    w.role,
    r.oid IS NOT NULL AS "exists",
    d.description AS mark,
    array_remove(ARRAY[
        CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
        CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' END,
        CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
        CASE WHEN NOT r.rolcanlogin THEN 'NOLOGIN' END,
        CASE WHEN NOT r.rolinherit THEN 'NOINHERIT' END
    ], NULL) AS attributes,
    nullif(r.rolconnlimit, -1)::bigint AS connections,
    -- With the grantor, who alone can revoke a membership since version 16.
    ARRAY(
        SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = r.oid ORDER BY m.roleid, m.grantor
    ) AS groups,
    ARRAY(
        SELECT CASE WHEN m.admin_option THEN 'ADMIN ' ELSE '' END || m.grantor::regrole::text
        FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = r.oid ORDER BY m.roleid, m.grantor
    ) AS grantors,
    -- In this database, and in all.
    ARRAY(
        SELECT s.setting FROM pg_db_role_setting x CROSS JOIN unnest(x.setconfig) AS s (setting)
        WHERE x.setrole = r.oid AND x.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS settings,
    ARRAY(
        SELECT s.setting FROM pg_db_role_setting x CROSS JOIN unnest(x.setconfig) AS s (setting)
        WHERE x.setrole = r.oid AND x.setdatabase = 0
    ) AS settings_everywhere,
    (
        SELECT string_agg(quote_ident(p.name), ', ' ORDER BY p.place)
        FROM unnest(ARRAY[w.tenant] || $3 || ARRAY['pg_temp']) WITH ORDINALITY AS p (name, place)
    ) AS search_path
FROM unnest($1::text[], $2::text[]) AS w (tenant, role)
LEFT JOIN pg_roles r ON r.rolname = w.role::name
LEFT JOIN pg_shdescription d ON d.classoid = 'pg_authid'::regclass AND d.objoid = r.oid
