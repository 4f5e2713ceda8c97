-- What a migration says of its own schema it can only say by way of current_schema().
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO drift_reader, drift_writer', current_schema());
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', current_schema(), 'a tenant');
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA %I GRANT SELECT ON TABLES TO drift_reader',
        current_schema()
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE drift_owner IN SCHEMA %I GRANT USAGE ON SEQUENCES TO drift_writer',
        current_schema()
    );
END
$$;
