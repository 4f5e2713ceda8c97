-- A stand-in for Citus, whose packages no registry has: an extension named citus that raises the errors that were captured on
-- Citus 13.2, and writes to the server's log what it was sent. It is registered without files, because a test may not write to
-- the folder of the server's installation.
SET allow_system_table_mods = on;
INSERT INTO pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
SELECT 900001, 'citus', 10, 'pg_catalog'::regnamespace, false, '13.2-1';
CREATE TABLE pg_catalog.pg_dist_schema (schemaid oid PRIMARY KEY, colocationid int NOT NULL);
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid oid PRIMARY KEY, partmethod "char" NOT NULL);
RESET allow_system_table_mods;

-- Citus sends the message with these statements to its workers again.
CREATE FUNCTION pg_catalog.citus_stand_in_before() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    message text := regexp_replace(pg_catalog.current_query(), '\s*;\s*$', '');
BEGIN
    IF pg_catalog.current_setting('citus.enable_schema_based_sharding', true) = 'on' THEN
        RAISE LOG 'citus stand-in: % [propagate %, lock_timeout %]', TG_TAG,
            COALESCE(pg_catalog.current_setting('citus.propagate_set_commands', true), ''), pg_catalog.current_setting('lock_timeout');
        IF TG_TAG IN ('CREATE INDEX', 'ALTER TABLE', 'ALTER SCHEMA') AND message ~ ';\s*\n' THEN
            RAISE EXCEPTION 'cannot execute multiple utility events';
        END IF;
        IF TG_TAG = 'CREATE TABLE' AND message ~* '\m(serial|bigserial|identity)\M'
            AND EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE xmin = pg_catalog.pg_current_xact_id()::xid) THEN
            RAISE EXCEPTION 'permission denied: the schema was created in the same transaction';
        END IF;
    END IF;
END $$;
CREATE EVENT TRIGGER citus_stand_in_before ON ddl_command_start EXECUTE FUNCTION pg_catalog.citus_stand_in_before();
