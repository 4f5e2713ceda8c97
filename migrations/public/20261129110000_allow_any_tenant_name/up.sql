-- A tenant may have any name of a schema; tenantry always quotes it. create accepts other names than before with --any-name
-- only.
ALTER TABLE public.schema_tracker DROP CONSTRAINT schema_tracker_name_check;
ALTER TABLE public.schema_tracker ADD CONSTRAINT schema_tracker_name_check
    CHECK (octet_length(name) BETWEEN 1 AND 63 AND name !~* '^pg_');
