//! Changes that make no difference, and names of tenants that could be confused with other names.

use super::mutations::{Change, silent};

/// Names that are also names of tables, columns, types, functions and aliases of the base, occur in its literals, are a
/// prefix of another schema's name, or need quotes.
pub const NAMES: [&str; 20] = [
    "users",
    "Teams",
    "s",
    "u",
    "id",
    "email",
    "mood",
    "touch",
    "public_x",
    "acme_2",
    "globe",
    "text",
    "integer",
    "a",
    "e",
    "nextval",
    "tenantry_reference",
    "pgx",
    "_",
    "value",
];

/// Every change that makes no difference.
pub fn all() -> Vec<Change> {
    [data(), maintenance(), there_and_back(), made_again(), rights(), beside_the_tenant()]
        .into_iter()
        .flatten()
        .collect()
}

fn data() -> Vec<Change> {
    vec![
        silent("nothing", "SELECT 1"),
        silent(
            "rows",
            "INSERT INTO acme.users (email, name) VALUES ('a@b', 'A'), ('c@d', 'C'); \
             UPDATE acme.users SET score = 7 WHERE name = 'A'; DELETE FROM acme.users WHERE name = 'C'",
        ),
        silent("a table is emptied", "INSERT INTO acme.readings (sensor) VALUES (1); TRUNCATE acme.readings"),
        silent(
            "numbers of sequences",
            "SELECT nextval('acme.order_numbers'), setval('acme.ticket_numbers', 700), setval('acme.users_id_seq', \
             9, false)",
        ),
        silent("a sequence starts again", "ALTER SEQUENCE acme.order_numbers RESTART"),
        silent("an identity continues at another value", "ALTER TABLE acme.users ALTER COLUMN id RESTART WITH 5000"),
        silent("a materialized view is refreshed", "REFRESH MATERIALIZED VIEW acme.score_board"),
        silent("a materialized view is refreshed beside work", "REFRESH MATERIALIZED VIEW acme.score_board")
            .then("REFRESH MATERIALIZED VIEW CONCURRENTLY acme.score_board"),
    ]
}

fn maintenance() -> Vec<Change> {
    vec![
        silent(
            "statistics are gathered",
            "INSERT INTO acme.users (email) SELECT 'u' || i FROM generate_series(1, 300) i; ANALYZE",
        ),
        silent("a table is vacuumed", "INSERT INTO acme.logs (message) VALUES ('x')")
            .then("VACUUM ANALYZE acme.logs")
            .then("VACUUM FULL acme.logs"),
        silent("a table is clustered again", "CLUSTER acme.teams"),
        silent("indexes are built again", "REINDEX TABLE acme.users"),
        silent("an index is built again beside work", "SELECT 1")
            .then("REINDEX INDEX CONCURRENTLY acme.users_name_idx"),
        silent("a constraint's index is built again beside work", "SELECT 1")
            .then("REINDEX TABLE CONCURRENTLY acme.memberships"),
        silent("an index is dropped and built beside work", "DROP INDEX acme.users_age_idx")
            .then("CREATE INDEX CONCURRENTLY users_age_idx ON acme.users (age)"),
        silent("counters of the server begin again", "SELECT pg_stat_reset()"),
    ]
}

fn there_and_back() -> Vec<Change> {
    vec![
        // The numbers of the columns after it differ from those of every other tenant.
        silent(
            "a column came and went",
            "ALTER TABLE acme.teams ADD COLUMN passing text; ALTER TABLE acme.teams DROP COLUMN passing",
        ),
        silent(
            "a column came and went, before another came",
            "ALTER TABLE acme.preferences ADD COLUMN passing text; \
             ALTER TABLE acme.preferences DROP COLUMN value; ALTER TABLE acme.preferences ADD COLUMN value text; \
             ALTER TABLE acme.preferences DROP COLUMN passing",
        ),
        silent(
            "an attribute came and went",
            "ALTER TYPE acme.spare_parts ADD ATTRIBUTE passing text; \
             ALTER TYPE acme.spare_parts DROP ATTRIBUTE passing",
        ),
        silent("a table came and went", "CREATE TABLE acme.passing (id serial PRIMARY KEY); DROP TABLE acme.passing"),
        silent(
            "a table's name there and back",
            "ALTER TABLE acme.users RENAME TO aside; ALTER TABLE acme.aside RENAME TO users",
        ),
        silent(
            "a column's name there and back",
            "ALTER TABLE acme.users RENAME COLUMN score TO aside; \
             ALTER TABLE acme.users RENAME COLUMN aside TO score",
        ),
        silent(
            "an index's name there and back",
            "ALTER INDEX acme.users_email_key RENAME TO aside; ALTER INDEX acme.aside RENAME TO users_email_key",
        ),
        silent(
            "the schema's name there and back",
            "ALTER SCHEMA acme RENAME TO aside; ALTER SCHEMA aside RENAME TO acme",
        ),
        silent(
            "an enum's label there and back",
            "ALTER TYPE acme.mood RENAME VALUE 'ok' TO 'aside'; ALTER TYPE acme.mood RENAME VALUE 'aside' TO 'ok'",
        ),
        silent(
            "a table's schema there and back",
            "ALTER TABLE acme.readings SET SCHEMA public; ALTER TABLE public.readings SET SCHEMA acme",
        ),
        silent(
            "a column's type there and back",
            "ALTER TABLE acme.users ALTER COLUMN age TYPE integer; \
             ALTER TABLE acme.users ALTER COLUMN age TYPE smallint",
        ),
        silent(
            "a default and NOT NULL there and back",
            "ALTER TABLE acme.users ALTER COLUMN score DROP DEFAULT, ALTER COLUMN score DROP NOT NULL; \
             ALTER TABLE acme.users ALTER COLUMN score SET DEFAULT 0, ALTER COLUMN score SET NOT NULL",
        ),
        silent(
            "storage and statistics there and back",
            "ALTER TABLE acme.users ALTER COLUMN name SET STORAGE EXTERNAL, ALTER COLUMN name SET STATISTICS 7, \
             ALTER COLUMN name SET (n_distinct = 5); \
             ALTER TABLE acme.users ALTER COLUMN name SET STORAGE EXTENDED, ALTER COLUMN name SET STATISTICS -1, \
             ALTER COLUMN name RESET (n_distinct)",
        ),
        silent("statistics that are the default already", "ALTER TABLE acme.users ALTER COLUMN bio SET STATISTICS -1"),
        silent(
            "a table's options there and back",
            "ALTER TABLE acme.teams SET (fillfactor = 50); ALTER TABLE acme.teams RESET (fillfactor)",
        ),
        silent(
            "the order of a table's options",
            "ALTER TABLE acme.users RESET (fillfactor); ALTER TABLE acme.users SET (fillfactor = 90)",
        )
        .in_dump(),
        silent(
            "a table's log there and back",
            "ALTER TABLE acme.readings SET UNLOGGED; ALTER TABLE acme.readings SET LOGGED",
        ),
        silent(
            "triggers off and on",
            "ALTER TABLE acme.users DISABLE TRIGGER ALL; ALTER TABLE acme.users ENABLE TRIGGER ALL",
        ),
        silent(
            "row security off and on",
            "ALTER TABLE acme.documents DISABLE ROW LEVEL SECURITY; \
             ALTER TABLE acme.documents ENABLE ROW LEVEL SECURITY",
        ),
        silent(
            "a replica identity there and back",
            "ALTER TABLE acme.users REPLICA IDENTITY FULL; ALTER TABLE acme.users REPLICA IDENTITY DEFAULT",
        ),
        silent(
            "clustering there and back",
            "ALTER TABLE acme.teams CLUSTER ON teams_slug_key; ALTER TABLE acme.teams CLUSTER ON teams_pkey",
        ),
        silent(
            "a function's setting there and back",
            "ALTER FUNCTION acme.add_up(text, text) SET work_mem = '1MB'; \
             ALTER FUNCTION acme.add_up(text, text) RESET work_mem",
        ),
        silent(
            "a comment there and back",
            "COMMENT ON TABLE acme.teams IS 'passing'; COMMENT ON TABLE acme.teams IS NULL; \
             COMMENT ON TABLE acme.notes IS ''",
        ),
        silent(
            "a partition there and back",
            "ALTER TABLE acme.events DETACH PARTITION acme.events_2025; \
             ALTER TABLE acme.events ATTACH PARTITION acme.events_2025 FOR VALUES FROM ('2025-01-01') TO \
             ('2026-01-01')",
        ),
        silent(
            "a partition there and back, beside work",
            "ALTER TABLE acme.regions DETACH PARTITION acme.regions_north",
        )
        .then("ALTER TABLE acme.regions ATTACH PARTITION acme.regions_north FOR VALUES IN ('no', 'se', 'fi')"),
        silent(
            "a publication there and back",
            "ALTER PUBLICATION drift_feed DROP TABLE acme.users; \
             ALTER PUBLICATION drift_feed ADD TABLE acme.users",
        ),
        silent(
            "a sequence's column there and back",
            "ALTER SEQUENCE acme.orders_line_seq OWNED BY NONE; \
             ALTER SEQUENCE acme.orders_line_seq OWNED BY acme.orders.line",
        ),
    ]
}

fn made_again() -> Vec<Change> {
    vec![
        silent(
            "a table is made again",
            "DROP TABLE acme.bookings; \
             CREATE TABLE acme.bookings ( id integer PRIMARY KEY, room integer, during tsrange, open_hours \
             acme.time_range, cancelled boolean NOT NULL DEFAULT false, CONSTRAINT bookings_during_excl EXCLUDE \
             USING gist (during WITH &&) WHERE (NOT cancelled) )",
        ),
        silent(
            "a partition is made like the others and attached",
            "DROP TABLE acme.events_rest; CREATE TABLE acme.events_rest (LIKE acme.events INCLUDING ALL); \
             ALTER TABLE acme.events ATTACH PARTITION acme.events_rest DEFAULT",
        ),
        silent(
            "a view is made again",
            "DROP VIEW acme.big_teams; SET search_path = acme; \
             CREATE VIEW big_teams AS SELECT s.name, s.members FROM team_sizes s WHERE s.members > 5; \
             ALTER VIEW big_teams OWNER TO drift_owner",
        ),
        // The names are resolved at creation, independent of the search path.
        silent(
            "a view is made again, with the schema's name",
            "DROP VIEW acme.low_scores; \
             CREATE VIEW acme.low_scores AS SELECT users.id, users.score FROM acme.users WHERE users.score < 10 \
             WITH LOCAL CHECK OPTION",
        ),
        silent(
            "a materialized view is made again",
            "DROP MATERIALIZED VIEW acme.recent_orders; \
             CREATE MATERIALIZED VIEW acme.recent_orders WITH (fillfactor = 60) AS SELECT number, price FROM \
             acme.orders WHERE price > 0",
        ),
        silent(
            "a function is made again",
            "DROP FUNCTION acme.user_count(); \
             CREATE FUNCTION acme.user_count() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) \
             FROM acme.users; END",
        ),
        silent(
            "a function's path is set again",
            "SET search_path = acme, pg_temp; ALTER FUNCTION acme.guarded() SET search_path FROM CURRENT",
        ),
        silent(
            "triggers are made again, in another order",
            "DROP TRIGGER touch_score ON acme.users; DROP TRIGGER touch ON acme.users; \
             CREATE TRIGGER touch_score BEFORE UPDATE OF score, karma ON acme.users FOR EACH ROW WHEN (OLD.score \
             IS DISTINCT FROM NEW.score) EXECUTE FUNCTION acme.touch(); \
             CREATE TRIGGER touch BEFORE UPDATE ON acme.users FOR EACH ROW EXECUTE FUNCTION acme.touch(); \
             COMMENT ON TRIGGER touch ON acme.users IS 'sets the time'",
        ),
        silent(
            "a rule is made again",
            "DROP RULE quiet_cache ON acme.cache; \
             CREATE RULE quiet_cache AS ON DELETE TO acme.cache WHERE OLD.key LIKE '\\_%' DO INSTEAD NOTHING",
        ),
        silent(
            "a policy is made again",
            "DROP POLICY author_writes ON acme.documents; \
             CREATE POLICY author_writes ON acme.documents FOR UPDATE USING (author = CURRENT_USER) WITH CHECK \
             (NOT secret)",
        ),
        silent(
            "a policy's roles in another order",
            "ALTER POLICY anyone_adds ON acme.documents TO drift_reader, drift_writer",
        ),
        silent(
            "a check is made again",
            "ALTER TABLE acme.users DROP CONSTRAINT users_karma_check; \
             ALTER TABLE acme.users ADD CONSTRAINT users_karma_check CHECK (karma < 1000) NO INHERIT",
        ),
        silent(
            "a check is made again, and validated",
            "ALTER TABLE acme.logs DROP CONSTRAINT logs_message_check; \
             ALTER TABLE acme.logs ADD CONSTRAINT logs_message_check CHECK (message <> '') NOT VALID; \
             ALTER TABLE acme.logs VALIDATE CONSTRAINT logs_message_check",
        ),
        silent(
            "a foreign key is made again, and validated",
            "ALTER TABLE acme.orders DROP CONSTRAINT orders_placed_by_fkey; \
             ALTER TABLE acme.orders ADD CONSTRAINT orders_placed_by_fkey FOREIGN KEY (placed_by) REFERENCES \
             acme.users NOT VALID; ALTER TABLE acme.orders VALIDATE CONSTRAINT orders_placed_by_fkey",
        ),
        silent(
            "a key is made again, by an index that is there",
            "ALTER TABLE acme.cache DROP CONSTRAINT cache_pkey; \
             CREATE UNIQUE INDEX cache_by_key ON acme.cache (key); \
             ALTER TABLE acme.cache ADD CONSTRAINT cache_pkey PRIMARY KEY USING INDEX cache_by_key",
        ),
        silent(
            "an index is made again",
            "DROP INDEX acme.users_expr_idx; \
             CREATE INDEX users_expr_idx ON acme.users ((score + karma), lower(name)); \
             ALTER INDEX acme.users_expr_idx ALTER COLUMN 1 SET STATISTICS 300",
        ),
        silent(
            "a partitioned index is put together",
            "DROP INDEX acme.events_kind_idx; CREATE INDEX events_kind_idx ON ONLY acme.events (kind); \
             CREATE INDEX events_2025_kind_idx ON acme.events_2025 (kind); \
             CREATE INDEX events_2026_kind_idx ON acme.events_2026 (kind); \
             CREATE INDEX events_rest_kind_idx ON acme.events_rest (kind); \
             ALTER INDEX acme.events_kind_idx ATTACH PARTITION acme.events_2025_kind_idx; \
             ALTER INDEX acme.events_kind_idx ATTACH PARTITION acme.events_2026_kind_idx; \
             ALTER INDEX acme.events_kind_idx ATTACH PARTITION acme.events_rest_kind_idx",
        ),
        // Its labels are the same, but their sort numbers differ.
        silent(
            "an enum is made again, label by label",
            "DROP TYPE acme.spare_label; CREATE TYPE acme.spare_label AS ENUM ('three'); \
             ALTER TYPE acme.spare_label ADD VALUE 'one' BEFORE 'three'; \
             ALTER TYPE acme.spare_label ADD VALUE 'two' BEFORE 'three'; \
             ALTER TYPE acme.spare_label OWNER TO drift_owner",
        ),
        silent(
            "a domain's checks are made again",
            "ALTER DOMAIN acme.percentage DROP CONSTRAINT percentage_range; \
             ALTER DOMAIN acme.percentage ADD CONSTRAINT percentage_range CHECK (VALUE BETWEEN 0 AND 100) NOT \
             VALID; ALTER DOMAIN acme.percentage VALIDATE CONSTRAINT percentage_range",
        ),
        silent(
            "a range is made again",
            "DROP TYPE acme.spare_range; \
             CREATE TYPE acme.spare_range AS RANGE (SUBTYPE = text, COLLATION = \"C\")",
        ),
        silent(
            "a base type is made again",
            "DROP TYPE acme.spare_token CASCADE; CREATE TYPE acme.spare_token; \
             CREATE FUNCTION acme.spare_token_in(cstring) RETURNS acme.spare_token LANGUAGE internal IMMUTABLE \
             STRICT AS 'textin'; \
             CREATE FUNCTION acme.spare_token_out(acme.spare_token) RETURNS cstring LANGUAGE internal IMMUTABLE \
             STRICT AS 'textout'; \
             CREATE TYPE acme.spare_token (INPUT = acme.spare_token_in, OUTPUT = acme.spare_token_out, LIKE = \
             text, CATEGORY = 'U')",
        ),
        silent(
            "an aggregate is made again",
            "CREATE OR REPLACE AGGREGATE acme.joined(text) (SFUNC = textcat, STYPE = text, INITCOND = '')",
        ),
        silent(
            "an operator is made again",
            "DROP OPERATOR acme.|~| (text, text); \
             CREATE OPERATOR acme.|~| (LEFTARG = text, RIGHTARG = text, PROCEDURE = acme.add_up)",
        ),
        silent(
            "an operator class is made again",
            "DROP INDEX acme.readings_value_idx; DROP OPERATOR CLASS acme.size_ops USING btree; \
             CREATE OPERATOR CLASS acme.size_ops FOR TYPE integer USING btree FAMILY acme.size_family AS FUNCTION \
             1 acme.size_cmp(integer, integer), OPERATOR 5 acme.|>|, OPERATOR 4 acme.|>=|, OPERATOR 3 acme.|=|, \
             OPERATOR 2 acme.|<=|, OPERATOR 1 acme.|<|; \
             COMMENT ON OPERATOR CLASS acme.size_ops USING btree IS 'by size'; \
             CREATE INDEX readings_value_idx ON acme.readings (value acme.size_ops)",
        ),
        silent(
            "a cast is made again",
            "DROP CAST (acme.mood AS integer); \
             CREATE CAST (acme.mood AS integer) WITH FUNCTION acme.rank_of(acme.mood) AS ASSIGNMENT; \
             COMMENT ON CAST (acme.mood AS integer) IS 'its rank'",
        ),
        silent(
            "a text search configuration's words are mapped again",
            "ALTER TEXT SEARCH CONFIGURATION acme.search DROP MAPPING FOR word; \
             ALTER TEXT SEARCH CONFIGURATION acme.search ADD MAPPING FOR word WITH acme.words, simple",
        ),
        silent(
            "statistics are made again",
            "DROP STATISTICS acme.readings_stats; \
             CREATE STATISTICS acme.readings_stats (mcv) ON value, sensor FROM acme.readings",
        ),
        silent(
            "a foreign table is made again",
            "DROP FOREIGN TABLE acme.remote_items; \
             CREATE FOREIGN TABLE acme.remote_items ( id integer OPTIONS (column_name 'item_id') NOT NULL, title \
             text, price numeric CONSTRAINT remote_items_price_check CHECK (price >= 0) ) SERVER drift_server \
             OPTIONS (schema_name 'shop', table_name 'items'); GRANT SELECT ON acme.remote_items TO drift_reader; \
             COMMENT ON FOREIGN TABLE acme.remote_items IS 'far away'",
        ),
    ]
}

fn rights() -> Vec<Change> {
    vec![
        silent(
            "rights are granted in another order",
            "REVOKE ALL ON acme.users FROM drift_reader; GRANT INSERT ON acme.users TO drift_reader; \
             GRANT SELECT ON acme.users TO drift_reader; \
             REVOKE ALL ON SCHEMA acme FROM drift_reader, drift_writer; \
             GRANT USAGE ON SCHEMA acme TO drift_writer; GRANT USAGE ON SCHEMA acme TO drift_reader",
        )
        .in_dump(),
        silent(
            "rights that are there by default are granted",
            "GRANT ALL ON acme.readings TO postgres; GRANT EXECUTE ON FUNCTION acme.user_count() TO PUBLIC; \
             GRANT USAGE ON TYPE acme.address TO PUBLIC; GRANT ALL ON SEQUENCE acme.orders_line_seq TO postgres",
        ),
        silent(
            "rights came and went",
            "GRANT SELECT ON acme.readings TO drift_reader; REVOKE SELECT ON acme.readings FROM drift_reader; \
             GRANT EXECUTE ON FUNCTION acme.user_count() TO drift_reader; \
             REVOKE EXECUTE ON FUNCTION acme.user_count() FROM drift_reader; \
             GRANT USAGE ON TYPE acme.priority TO drift_reader; \
             REVOKE USAGE ON TYPE acme.priority FROM drift_reader",
        ),
        silent(
            "rights on columns came and went",
            "GRANT SELECT (id) ON acme.teams TO drift_reader; REVOKE SELECT (id) ON acme.teams FROM drift_reader",
        )
        .then(
            "GRANT UPDATE (name) ON acme.users TO drift_writer; \
                 REVOKE UPDATE (name) ON acme.users FROM drift_writer",
        ),
        silent(
            "default rights came and went",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA acme GRANT SELECT ON TABLES TO drift_reader; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA acme REVOKE SELECT ON TABLES FROM drift_reader",
        ),
        silent(
            "owners there and back",
            "ALTER TABLE acme.orders OWNER TO drift_owner; ALTER TABLE acme.orders OWNER TO postgres; \
             ALTER FUNCTION acme.guarded() OWNER TO drift_owner; ALTER FUNCTION acme.guarded() OWNER TO postgres; \
             ALTER TYPE acme.mood OWNER TO drift_owner; ALTER TYPE acme.mood OWNER TO postgres",
        ),
    ]
}

fn beside_the_tenant() -> Vec<Change> {
    vec![
        silent(
            "another tenant is not as it should be",
            "ALTER TABLE globex.users ADD COLUMN phone text; DROP TABLE globex.preferences; \
             DROP VIEW globex.low_scores",
        ),
        silent(
            "tables of the same names in public",
            "CREATE TABLE public.users (id integer); CREATE TYPE public.mood AS ENUM ('none'); \
             CREATE FUNCTION public.touch() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        ),
        silent(
            "another schema refers to the tenant's",
            "CREATE SCHEMA reports; CREATE VIEW reports.everyone AS SELECT * FROM acme.users; \
             CREATE TABLE reports.seen (user_id bigint REFERENCES acme.users, mood acme.mood)",
        ),
        // The connection stays open while the tenant is compared.
        silent(
            "temporary tables of another session",
            "CREATE TEMP TABLE users (id integer); CREATE TEMP TABLE teams (id integer)",
        ),
        silent(
            "settings of the database",
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = globex, public', current_database()); \
             EXECUTE format('ALTER DATABASE %I SET default_tablespace = %L', current_database(), ''); \
             EXECUTE format('ALTER DATABASE %I SET quote_all_identifiers = on', current_database()); \
             EXECUTE format('ALTER DATABASE %I SET DateStyle = \"German\"', current_database()); \
             EXECUTE format('ALTER DATABASE %I SET TimeZone = \"Asia/Tokyo\"', current_database()); \
             EXECUTE format('ALTER DATABASE %I SET default_toast_compression = pglz', current_database()); END $$",
        )
        .in_dump(),
    ]
}
