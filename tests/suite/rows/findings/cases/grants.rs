//! Privileges on tables, views and sequences.

use super::super::{Attack, Case};
use super::NONE;

/// Privileges on tables, views and sequences.
pub const GRANTS: &[Case] = &[
    Case {
        codes: &["grant.partition"],
        plant: "GRANT SELECT ON app.events_2026 TO {user}",
        attack: Attack::Runs(&["SELECT FROM app.events_2026"]),
        ..NONE
    },
    Case {
        codes: &["inherit.child"],
        plant: "CREATE SCHEMA side; CREATE TABLE side.child () INHERITS (app.customers); \
                INSERT INTO side.child (tenant_id, id, email) VALUES ('{globex}', 7, 'child@globex.example'); \
                GRANT USAGE ON SCHEMA side TO {user}; GRANT SELECT ON side.child TO {user}",
        attack: Attack::Reads(&["SELECT count(*) FROM side.child"]),
        clean_up: "DROP SCHEMA side CASCADE",
        ..NONE
    },
    Case {
        codes: &["grant.truncate"],
        plant: "GRANT TRUNCATE ON app.orders TO {user}",
        attack: Attack::Runs(&["TRUNCATE app.orders"]),
        ..NONE
    },
    Case {
        // By a role that the application is a member of.
        codes: &["grant.other-role", "grant.truncate"],
        plant: "CREATE ROLE {db}_group; GRANT {db}_group TO {user}; GRANT TRUNCATE ON app.orders TO {db}_group",
        attack: Attack::Runs(&["TRUNCATE app.orders"]),
        clean_up: "DROP ROLE {db}_group",
        ..NONE
    },
    Case { codes: &["grant.references"], plant: "GRANT REFERENCES (id) ON app.customers TO {user}", ..NONE },
    Case {
        // A foreign key shows whether another tenant has a row.
        codes: &["grant.references", "schema.create"],
        plant: "CREATE SCHEMA side; GRANT USAGE, CREATE ON SCHEMA side TO {user}; \
                GRANT REFERENCES ON app.customers TO {user}",
        attack: Attack::Runs(&[
            "CREATE TABLE side.probe (tenant uuid, id bigint, FOREIGN KEY (tenant, id) REFERENCES app.customers (tenant_id, id))",
            "INSERT INTO side.probe VALUES ('{globex}', 2)",
        ]),
        clean_up: "DROP SCHEMA side",
        ..NONE
    },
    Case {
        codes: &["grant.trigger"],
        plant: "GRANT TRIGGER ON app.customers TO {user}",
        attack: Attack::Runs(&["CREATE TRIGGER mine BEFORE UPDATE ON app.customers FOR EACH ROW \
                               EXECUTE FUNCTION suppress_redundant_updates_trigger()"]),
        ..NONE
    },
    Case { codes: &["grant.public"], plant: "GRANT SELECT ON app.countries TO PUBLIC", ..NONE },
    Case {
        codes: &["grant.public", "grant.exempt-write"],
        plant: "GRANT INSERT ON app.countries TO PUBLIC",
        attack: Attack::Runs(&["INSERT INTO app.countries VALUES ('xx', 'planted')"]),
        ..NONE
    },
    Case {
        codes: &["grant.other-role"],
        prepare: "CREATE ROLE {db}_stranger LOGIN; GRANT USAGE ON SCHEMA app TO {db}_stranger",
        plant: "GRANT SELECT (email) ON app.customers TO {db}_stranger; GRANT TRUNCATE ON app.orders TO {db}_stranger",
        attack: Attack::RunsAs("stranger", &["TRUNCATE app.orders"]),
        clean_up: "DROP OWNED BY {db}_stranger; DROP ROLE {db}_stranger",
        ..NONE
    },
    Case {
        codes: &["grant.exempt-write"],
        plant: "GRANT UPDATE (name) ON app.countries TO {user}",
        attack: Attack::Runs(&["UPDATE app.countries SET name = 'x'"]),
        ..NONE
    },
    Case {
        codes: &["grant.registry-write"],
        plant: "GRANT UPDATE ON app.tenants TO {user}",
        attack: Attack::Runs(&["UPDATE app.tenants SET name = 'x'"]),
        ..NONE
    },
    Case {
        codes: &["table.elsewhere"],
        plant: "CREATE SCHEMA \"Side\"; CREATE TABLE \"Side\".\"No\"\"tes\" AS SELECT 1 AS id; \
                GRANT USAGE ON SCHEMA \"Side\" TO {user}; GRANT SELECT ON \"Side\".\"No\"\"tes\" TO {user}",
        attack: Attack::Reads(&["SELECT count(*) FROM \"Side\".\"No\"\"tes\""]),
        clean_up: "DROP SCHEMA \"Side\" CASCADE",
        ..NONE
    },
    Case {
        codes: &["view.definer"],
        plant: "CREATE VIEW app.everyone AS SELECT * FROM app.customers; GRANT SELECT ON app.everyone TO {user}",
        attack: Attack::Reads(&["SELECT count(*) FROM app.everyone WHERE email LIKE '%globex%'"]),
        clean_up: "DROP VIEW app.everyone",
        ..NONE
    },
    Case {
        codes: &["matview"],
        plant: "CREATE MATERIALIZED VIEW app.copy AS SELECT * FROM app.customers; GRANT SELECT ON app.copy TO {user}",
        attack: Attack::Reads(&["SELECT count(*) FROM app.copy WHERE email LIKE '%globex%'"]),
        clean_up: "DROP MATERIALIZED VIEW app.copy",
        ..NONE
    },
    Case {
        codes: &["foreign-table", "user-mapping"],
        plant: "CREATE EXTENSION file_fdw SCHEMA app; CREATE SERVER elsewhere FOREIGN DATA WRAPPER file_fdw; \
                CREATE USER MAPPING FOR {user} SERVER elsewhere; \
                CREATE FOREIGN TABLE app.remote (line text) SERVER elsewhere OPTIONS (program 'echo globex'); \
                GRANT SELECT ON app.remote TO {user}",
        attack: Attack::Reads(&["SELECT count(*) FROM app.remote WHERE line = 'globex'"]),
        clean_up: "DROP EXTENSION file_fdw CASCADE",
        ..NONE
    },
    Case {
        codes: &["sequence.writable"],
        plant: "GRANT UPDATE ON SEQUENCE app.customers_id_seq TO {user}",
        attack: Attack::Runs(&["SELECT setval('app.customers_id_seq', 1)"]),
        ..NONE
    },
    Case {
        codes: &["large-objects"],
        plant: "SELECT lo_from_bytea(4711, 'secret'); GRANT SELECT ON LARGE OBJECT 4711 TO {user}; \
                SELECT lo_from_bytea(4712, 'secret'); ALTER LARGE OBJECT 4712 OWNER TO {user}",
        attack: Attack::Runs(&["SELECT lo_get(4711)", "SELECT lo_get(4712)"]),
        clean_up: "SELECT lo_unlink(4711), lo_unlink(4712)",
        ..NONE
    },
];
