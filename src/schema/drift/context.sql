-- A hash over $1, the reference, and over what else the structure of a tenant is read from: which database it is, roles'
-- names, and what lives outside of the tenants and may be named in them.
WITH outside AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
    WHERE NOT EXISTS (SELECT FROM public.schema_tracker t WHERE t.name = n.nspname) AND NOT pg_catalog.starts_with(n.nspname, 'pg_')
      AND n.nspname !~ '^tenantry_reference_[0-9a-f]{32}$'
)
SELECT pg_catalog.md5(pg_catalog.concat_ws(' ',
    $1,
    (SELECT system_identifier FROM pg_catalog.pg_control_system()),
    (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
    pg_catalog.current_setting('server_version_num'),
    (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (r.oid, r.rolname), 1), 0)) FROM pg_catalog.pg_roles r),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (o.oid, o.nspname), 2), 0)) FROM outside o),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (c.oid, c.xmin), 3), 0))
        FROM pg_catalog.pg_class c JOIN outside o ON o.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (p.oid, p.xmin), 4), 0))
        FROM pg_catalog.pg_proc p JOIN outside o ON o.oid = p.pronamespace),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (t.oid, t.xmin), 5), 0))
        FROM pg_catalog.pg_type t JOIN outside o ON o.oid = t.typnamespace),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (p.oid, p.xmin), 6), 0))
        FROM pg_catalog.pg_operator p JOIN outside o ON o.oid = p.oprnamespace),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (k.oid, k.xmin), 7), 0))
        FROM pg_catalog.pg_opclass k JOIN outside o ON o.oid = k.opcnamespace),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (k.oid, k.xmin), 8), 0))
        FROM pg_catalog.pg_collation k JOIN outside o ON o.oid = k.collnamespace),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (f.oid, f.xmin), 9), 0)) FROM pg_catalog.pg_foreign_server f),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (p.oid, p.xmin), 10), 0)) FROM pg_catalog.pg_publication p),
    (SELECT pg_catalog.bit_xor(pg_catalog.hashint8extended(pg_catalog.hash_record_extended(ROW (s.oid, s.spcname), 11), 0)) FROM pg_catalog.pg_tablespace s)
)) AS context
