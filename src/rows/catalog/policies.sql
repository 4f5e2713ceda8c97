-- The policies of the tables of a schema. $1: the schema.
SELECT
    c.relname::text AS table_name,
    p.polrelid::regclass::text AS printed_table,
    p.polname::text AS name,
    p.polpermissive AS is_permissive,
    p.polcmd::text AS command,
    ARRAY(
        SELECT CASE role WHEN 0 THEN 'public' ELSE pg_get_userbyid(role)::text END
        FROM unnest(p.polroles) AS role
        ORDER BY 1
    ) AS roles,
    pg_get_expr(p.polqual, p.polrelid) AS using_expression,
    pg_get_expr(p.polwithcheck, p.polrelid) AS check_expression
FROM pg_policy p
JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text
ORDER BY c.relname::text COLLATE "C", p.polname::text COLLATE "C"
