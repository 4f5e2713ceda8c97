//! Tables, partitions, inheritance and foreign tables.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [tables(), partitions(), inheritance(), foreign_tables()].into_iter().flatten().collect()
}

fn tables() -> Vec<Change> {
    vec![
        change("a table is missing", "DROP TABLE acme.preferences").expects("table.missing", "preferences"),
        change("a table too many", "CREATE TABLE acme.leftover (i integer)").expects("table.extra", "leftover"),
        change("a table is renamed", "ALTER TABLE acme.readings RENAME TO measures")
            .expects("table.missing", "readings")
            .expects("table.extra", "measures"),
        change("a table is moved out of the schema", "ALTER TABLE acme.readings SET SCHEMA public")
            .expects("table.missing", "readings"),
        change(
            "a view stands in for a table",
            "DROP TABLE acme.preferences; \
             CREATE VIEW acme.preferences AS SELECT 'acme'::text AS tenant, ''::text AS value",
        )
        .expects("table.missing", "preferences")
        .expects("view.extra", "preferences"),
        change("a table is no longer logged", "ALTER TABLE acme.readings SET UNLOGGED")
            .expects("table.unlogged", "readings")
            .level("structural"),
        change("a table is logged", "ALTER TABLE acme.cache SET LOGGED").expects("table.unlogged", "cache"),
        change("a table's fillfactor", "ALTER TABLE acme.users SET (fillfactor = 80)")
            .expects("table.options", "users")
            .level("tuning"),
        change("a table's options are reset", "ALTER TABLE acme.users RESET (fillfactor, autovacuum_enabled)")
            .expects("table.options", "users"),
        change("a table has options", "ALTER TABLE acme.readings SET (autovacuum_vacuum_scale_factor = 0.01)")
            .expects("table.options", "readings"),
        change("the options of a table's toast", "ALTER TABLE acme.users SET (toast.autovacuum_enabled = true)")
            .expects("table.toast-options", "users")
            .level("tuning"),
        change("a table's toast has options", "ALTER TABLE acme.notes SET (toast.autovacuum_vacuum_threshold = 7)")
            .expects("table.toast-options", "notes"),
        change("a replica identity is no longer the whole row", "ALTER TABLE acme.logs REPLICA IDENTITY DEFAULT")
            .expects("table.replica-identity", "logs"),
        change("a replica identity of nothing", "ALTER TABLE acme.users REPLICA IDENTITY NOTHING")
            .expects("table.replica-identity", "users"),
        change("a replica identity by no index", "ALTER TABLE acme.teams REPLICA IDENTITY FULL")
            .expects("table.replica-identity", "teams"),
        change(
            "a replica identity by another index",
            "ALTER TABLE acme.teams REPLICA IDENTITY USING INDEX teams_name_slug_key",
        )
        .expects("index.replica-identity", "teams.teams_slug_key")
        .expects("index.replica-identity", "teams.teams_name_slug_key"),
        change("row security is off", "ALTER TABLE acme.documents DISABLE ROW LEVEL SECURITY")
            .expects("table.row-security", "documents")
            .level("security"),
        change("row security is on", "ALTER TABLE acme.users ENABLE ROW LEVEL SECURITY")
            .expects("table.row-security", "users"),
        change("row security spares the owner", "ALTER TABLE acme.notes NO FORCE ROW LEVEL SECURITY")
            .expects("table.force-row-security", "notes")
            .level("security"),
        change("row security spares nobody", "ALTER TABLE acme.documents FORCE ROW LEVEL SECURITY")
            .expects("table.force-row-security", "documents"),
        change("a table is of no type", "ALTER TABLE acme.places NOT OF").expects("table.of-type", "places"),
        change("a table's tablespace", "ALTER TABLE acme.readings SET TABLESPACE drift_space")
            .expects("table.tablespace", "readings")
            .since(15),
        change("a table's access method", "ALTER TABLE acme.readings SET ACCESS METHOD drift_heap")
            .expects("table.access-method", "readings")
            .since(15),
        change("a table's comment", "COMMENT ON TABLE acme.users IS 'those who signed up'")
            .expects("table.comment", "users")
            .level("cosmetic"),
        change("a table's comment is missing", "COMMENT ON TABLE acme.users IS NULL").expects("table.comment", "users"),
        change("a table has a comment", "COMMENT ON TABLE acme.teams IS 'new'").expects("table.comment", "teams"),
        change(
            "two tables change places",
            "ALTER TABLE acme.things RENAME TO aside; ALTER TABLE acme.cache RENAME TO things; \
             ALTER TABLE acme.aside RENAME TO cache",
        )
        .expects("column.missing", "things.weight")
        .expects("column.extra", "cache.weight"),
    ]
}

fn partitions() -> Vec<Change> {
    vec![
        change("a partition is detached", "ALTER TABLE acme.events DETACH PARTITION acme.events_rest")
            .expects("table.partition-bound", "events_rest"),
        change("a partition is missing", "DROP TABLE acme.events_2025").expects("table.missing", "events_2025"),
        change(
            "a partition too many",
            "CREATE TABLE acme.events_2027 PARTITION OF acme.events FOR VALUES FROM ('2027-01-01') TO \
             ('2028-01-01')",
        )
        .expects("table.extra", "events_2027"),
        change(
            "a partition's bound",
            "ALTER TABLE acme.events DETACH PARTITION acme.events_2025; \
             ALTER TABLE acme.events ATTACH PARTITION acme.events_2025 FOR VALUES FROM ('2024-12-01') TO \
             ('2026-01-01')",
        )
        .expects("table.partition-bound", "events_2025"),
        change(
            "the bounds of two partitions change places",
            "ALTER TABLE acme.regions DETACH PARTITION acme.regions_north; \
             ALTER TABLE acme.regions DETACH PARTITION acme.regions_south; \
             ALTER TABLE acme.regions ATTACH PARTITION acme.regions_north FOR VALUES IN ('it', 'es', NULL); \
             ALTER TABLE acme.regions ATTACH PARTITION acme.regions_south FOR VALUES IN ('no', 'se', 'fi')",
        )
        .expects("table.partition-bound", "regions_north")
        .expects("table.partition-bound", "regions_south"),
        change(
            "a partition that is divided into fewer",
            "DROP TABLE acme.events_2026_even; \
             CREATE TABLE acme.events_2026_even PARTITION OF acme.events_2026 FOR VALUES WITH (MODULUS 4, \
             REMAINDER 0)",
        )
        .expects("table.partition-bound", "events_2026_even"),
        change(
            "a partition that is a plain table",
            "DROP TABLE acme.events_2026; \
             CREATE TABLE acme.events_2026 PARTITION OF acme.events FOR VALUES FROM ('2026-01-01') TO \
             ('2027-01-01')",
        )
        .expects("table.partition-key", "events_2026")
        .expects("table.missing", "events_2026_even"),
        change(
            "a table's partition key",
            "DROP TABLE acme.regions; \
             CREATE TABLE acme.regions (code text NOT NULL, value text) PARTITION BY LIST (code); \
             CREATE TABLE acme.regions_north PARTITION OF acme.regions FOR VALUES IN ('no', 'se', 'fi'); \
             CREATE TABLE acme.regions_south PARTITION OF acme.regions FOR VALUES IN ('it', 'es', NULL) WITH \
             (fillfactor = 70)",
        )
        .expects("table.partition-key", "regions"),
        change(
            "a table's way of partitioning",
            "DROP TABLE acme.regions; \
             CREATE TABLE acme.regions (code text NOT NULL, value text) PARTITION BY RANGE (lower(code))",
        )
        .expects("table.partition-key", "regions"),
        change("a partition's options", "ALTER TABLE acme.regions_south SET (fillfactor = 75)")
            .expects("table.options", "regions_south"),
        change("a partition's default", "ALTER TABLE acme.events_2025 ALTER COLUMN kind SET DEFAULT 'view'")
            .expects("column.default", "events_2025.kind"),
        change(
            "a partition of another tenant's table",
            "ALTER TABLE globex.events DETACH PARTITION globex.events_2025; \
             ALTER TABLE acme.events DETACH PARTITION acme.events_2025; \
             ALTER TABLE globex.events ATTACH PARTITION acme.events_2025 FOR VALUES FROM ('2025-01-01') TO \
             ('2026-01-01')",
        )
        .expects("table.inherits", "events_2025")
        .references_globex(),
    ]
}

fn inheritance() -> Vec<Change> {
    vec![
        change("a table inherits no more", "ALTER TABLE acme.staff NO INHERIT acme.people")
            .expects("table.inherits", "staff"),
        change(
            "a table inherits",
            "ALTER TABLE acme.readings ADD COLUMN weight numeric; ALTER TABLE acme.readings INHERIT acme.things",
        )
        .expects("table.inherits", "readings"),
        // It determines which parent defines a column first.
        change(
            "the order of parents",
            "ALTER TABLE acme.robots NO INHERIT acme.people; ALTER TABLE acme.robots INHERIT acme.people",
        )
        .expects("table.inherits", "robots"),
        // The columns are kept when the parent drops its own.
        change(
            "columns that are inherited and a table's own",
            "ALTER TABLE acme.staff NO INHERIT acme.people; ALTER TABLE acme.staff INHERIT acme.people",
        )
        .expects("column.local", "staff.name"),
        change(
            "a constraint that is inherited and a table's own",
            "ALTER TABLE acme.staff ADD CONSTRAINT people_name_check CHECK (name <> '')",
        )
        .expects("constraint.local", "staff.people_name_check"),
        change(
            "a table that inherits from another tenant's",
            "ALTER TABLE acme.staff NO INHERIT acme.people; ALTER TABLE acme.staff INHERIT globex.people",
        )
        .expects("table.inherits", "staff")
        .references_globex(),
        change(
            "an inherited column's default",
            "ALTER TABLE acme.staff ALTER COLUMN birthday SET DEFAULT '2000-01-01'",
        )
        .expects("column.default", "staff.birthday"),
    ]
}

fn foreign_tables() -> Vec<Change> {
    vec![
        change("a foreign table is missing", "DROP FOREIGN TABLE acme.remote_items")
            .expects("foreign-table.missing", "remote_items"),
        change("a foreign table too many", "CREATE FOREIGN TABLE acme.remote_users (id integer) SERVER drift_server")
            .expects("foreign-table.extra", "remote_users"),
        change("a foreign table's options", "ALTER FOREIGN TABLE acme.remote_items OPTIONS (SET table_name 'goods')")
            .expects("foreign-table.foreign-options", "remote_items"),
        change(
            "a foreign table's option is missing",
            "ALTER FOREIGN TABLE acme.remote_items OPTIONS (DROP schema_name)",
        )
        .expects("foreign-table.foreign-options", "remote_items"),
        change(
            "a foreign table's server",
            "DROP FOREIGN TABLE acme.remote_items; \
             CREATE FOREIGN TABLE acme.remote_items ( id integer OPTIONS (column_name 'item_id') NOT NULL, title \
             text, price numeric CONSTRAINT remote_items_price_check CHECK (price >= 0) ) SERVER \
             drift_other_server OPTIONS (schema_name 'shop', table_name 'items')",
        )
        .expects("foreign-table.server", "remote_items"),
        change(
            "the options of a foreign table's column",
            "ALTER FOREIGN TABLE acme.remote_items ALTER COLUMN id OPTIONS (SET column_name 'number')",
        )
        .expects("column.foreign-options", "remote_items.id"),
        change(
            "a foreign table's column has options",
            "ALTER FOREIGN TABLE acme.remote_items ALTER COLUMN title OPTIONS (column_name 'name')",
        )
        .expects("column.foreign-options", "remote_items.title"),
        change(
            "a foreign table's column may be null",
            "ALTER FOREIGN TABLE acme.remote_items ALTER COLUMN id DROP NOT NULL",
        )
        .expects("column.not-null", "remote_items.id"),
        change("a foreign table's column is missing", "ALTER FOREIGN TABLE acme.remote_items DROP COLUMN title")
            .expects("column.missing", "remote_items.title"),
        change(
            "a foreign table's constraint is missing",
            "ALTER FOREIGN TABLE acme.remote_items DROP CONSTRAINT remote_items_price_check",
        )
        .expects("constraint.missing", "remote_items.remote_items_price_check"),
        change("a foreign table's comment", "COMMENT ON FOREIGN TABLE acme.remote_items IS 'near'")
            .expects("foreign-table.comment", "remote_items"),
        change(
            "a plain table stands in for a foreign one",
            "DROP FOREIGN TABLE acme.remote_items; \
             CREATE TABLE acme.remote_items ( id integer NOT NULL, title text, price numeric CONSTRAINT \
             remote_items_price_check CHECK (price >= 0) )",
        )
        .expects("foreign-table.missing", "remote_items"),
    ]
}
