-- What a script depends on in the database, as one digest. $1 contains words of the migrations that may name roles.
SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(
    E'\n',
    CURRENT_USER,
    (
        SELECT pg_catalog.string_agg(pg_catalog.concat(s.name, '=', s.setting), ',' ORDER BY s.name COLLATE "C")
        FROM pg_catalog.pg_settings AS s
        WHERE s.name IN (
            'array_nulls', 'bytea_output', 'DateStyle', 'default_statistics_target', 'default_table_access_method',
            'default_tablespace', 'default_text_search_config', 'default_toast_compression', 'extra_float_digits',
            'IntervalStyle', 'lc_monetary', 'password_encryption', 'standard_conforming_strings', 'TimeZone',
            'transform_null_equals', 'xmlbinary', 'xmloption'
        )
    ),
    (
        SELECT pg_catalog.string_agg(
            pg_catalog.concat(e.extname, ' ', e.extversion, ' ', pg_catalog.pg_get_userbyid(e.extowner), ' ', n.nspname), ','
            ORDER BY e.extname COLLATE "C"
        )
        FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    ),
    (
        SELECT pg_catalog.string_agg(
            pg_catalog.concat(pg_catalog.pg_get_userbyid(a.defaclrole), ' ', a.defaclobjtype, ' ', a.defaclacl), ','
            ORDER BY pg_catalog.pg_get_userbyid(a.defaclrole) COLLATE "C", a.defaclobjtype
        )
        FROM pg_catalog.pg_default_acl AS a WHERE a.defaclnamespace = 0
    ),
    (
        SELECT pg_catalog.string_agg(r.rolname, ',' ORDER BY r.rolname COLLATE "C")
        FROM pg_catalog.pg_roles AS r WHERE pg_catalog.lower(r.rolname::pg_catalog.text) = ANY ($1)
    ),
    (SELECT pg_catalog.string_agg(l.version, ',' ORDER BY l.version COLLATE "C") FROM public.schema_ledger AS l)
), 'UTF8')), 'hex') AS digest
