-- A tenant's login role, if it has one, and the group whose member it is. The limits are those that the role was given; NULL
-- means no limit. Passwords are not stored.
ALTER TABLE public.schema_tracker
    ADD COLUMN role_name text UNIQUE,
    ADD COLUMN role_group text,
    -- In milliseconds.
    ADD COLUMN role_statement_timeout bigint,
    ADD COLUMN role_connection_limit bigint,
    -- In kilobytes.
    ADD COLUMN role_temp_file_limit bigint,
    ADD CONSTRAINT schema_tracker_role_check CHECK (
        (role_name IS NULL) = (role_group IS NULL) AND octet_length(role_name) BETWEEN 1 AND 63
    );

COMMENT ON COLUMN public.schema_tracker.role_name IS 'the tenant''s login role; NULL if it has none';
