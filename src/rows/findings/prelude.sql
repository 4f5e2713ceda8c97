-- What all queries of findings share. The search path has only pg_catalog.
-- $1: the shared schema; $2: the registry; $3: the tenant column; $4: the owner; $5: the role that owns the keys; $6: the
-- administrator; $7: the application; $8: the isolated tables; $9: the exempt tables; $10: the policies of isolation.
WITH RECURSIVE layout AS (
    SELECT
        $1::text AS schema, $3::text AS tenant_column, $4::text AS owner, $5::text AS verifier, $6::text AS admin,
        $10::text[] AS policies,
        (SELECT oid FROM pg_roles WHERE rolname = $7::text) AS app,
        (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,
        current_setting('server_version_num')::int AS version
), own (oid) AS (
    -- The roles of the tool. Each owns what it should.
    SELECT oid FROM pg_roles WHERE rolname IN ($4::text, $5::text, $6::text)
), reach (oid) AS (
    -- The roles that the application may become.
    SELECT app FROM layout WHERE app IS NOT NULL
    UNION
    SELECT m.roleid FROM pg_auth_members m JOIN reach ON m.member = reach.oid
), wrong_owner (oid) AS (
    -- That the application may become a role of the tool is a finding of its own.
    SELECT oid FROM reach EXCEPT SELECT oid FROM own
), grantee (oid) AS (
    -- Whose privileges the application has.
    SELECT oid FROM reach UNION ALL SELECT 0::oid
), bypassing (oid) AS (
    -- The roles with access to rows of all tenants, or to the keys.
    SELECT oid FROM pg_roles WHERE rolsuper OR rolbypassrls OR rolname = $5::text
), user_schema AS (
    SELECT n.* FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), shared (oid, use) AS (
    SELECT
        c.oid,
        CASE WHEN c.relname = $2::text THEN 'registry' WHEN c.relname = ANY ($8::text[]) THEN 'isolated' ELSE 'exempt' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p')
        AND (c.relname = $2::text OR c.relname = ANY ($8::text[]) OR c.relname = ANY ($9::text[]))
), member (class, oid) AS (
    -- What belongs to an extension.
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
)
