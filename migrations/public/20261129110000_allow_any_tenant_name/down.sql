ALTER TABLE public.schema_tracker DROP CONSTRAINT schema_tracker_name_check;
ALTER TABLE public.schema_tracker ADD CONSTRAINT schema_tracker_name_check
    CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_]*$' AND octet_length(name) <= 63 AND name !~* '^pg_');
