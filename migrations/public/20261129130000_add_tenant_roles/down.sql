ALTER TABLE public.schema_tracker
    DROP CONSTRAINT schema_tracker_role_check,
    DROP COLUMN role_name,
    DROP COLUMN role_group,
    DROP COLUMN role_statement_timeout,
    DROP COLUMN role_connection_limit,
    DROP COLUMN role_temp_file_limit;
