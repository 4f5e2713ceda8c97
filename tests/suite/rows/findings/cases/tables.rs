//! Columns, keys, policies and triggers of the shared tables.

use super::super::{Attack, Case};
use super::{NONE, READ_BY_SETTING, READ_OTHER, READS_NOTHING};

/// Columns, keys, policies and triggers of the shared tables.
pub const TABLES: &[Case] = &[
    Case {
        codes: &["table.owner"],
        plant: "ALTER TABLE app.customers OWNER TO {user}",
        attack: Attack::Runs(&["ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY"]),
        ..NONE
    },
    Case {
        codes: &["column.missing", "policy.missing", "rls.not-forced", "rls.off", "unique.without-tenant"],
        plant: "CREATE TABLE app.notes (id bigint PRIMARY KEY); ALTER TABLE app.notes OWNER TO {owner}; \
                GRANT INSERT ON app.notes TO {user}",
        attack: Attack::RunsOutside(&["INSERT INTO app.notes (id) VALUES (1)"]),
        clean_up: "DROP TABLE app.notes",
        ..NONE
    },
    Case {
        codes: &[
            "column.nullable",
            "column.default",
            "column.no-registry-key",
            "index.none-led-by-tenant",
            "policy.missing",
            "rls.not-forced",
            "rls.off",
        ],
        plant: "CREATE TABLE app.log (tenant_id uuid, line text); ALTER TABLE app.log OWNER TO {owner}; \
                GRANT INSERT ON app.log TO {user}",
        attack: Attack::RunsOutside(&["INSERT INTO app.log (line) VALUES ('x')"]),
        clean_up: "DROP TABLE app.log",
        ..NONE
    },
    Case {
        codes: &["column.default"],
        plant: "ALTER TABLE app.customers ALTER COLUMN tenant_id DROP DEFAULT",
        attack: Attack::Breaks(&["INSERT INTO app.customers (id, email) VALUES (60, 'x')"]),
        ..NONE
    },
    Case {
        // Rows of tenants that do not exist, which a later tenant with the same id would get.
        codes: &["column.no-registry-key"],
        plant: "ALTER TABLE app.customers DROP CONSTRAINT customers_tenant_id_fkey",
        attack: Attack::RunsForUnknown(&["INSERT INTO app.customers (email) VALUES ('x')"]),
        ..NONE
    },
    Case {
        codes: &["unique.without-tenant"],
        plant: "CREATE UNIQUE INDEX customers_email ON app.customers (email)",
        attack: Attack::Reveals(&["INSERT INTO app.customers (id, email) VALUES (77, 'info@globex.example')"]),
        clean_up: "DROP INDEX app.customers_email",
        ..NONE
    },
    Case {
        codes: &["fk.without-tenant", "unique.without-tenant"],
        plant: "ALTER TABLE app.orders DROP CONSTRAINT orders_customer_id_fkey; \
                ALTER TABLE app.customers ADD CONSTRAINT customers_id_key UNIQUE (id); \
                ALTER TABLE app.orders ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) \
                REFERENCES app.customers (id) ON DELETE CASCADE",
        attack: Attack::Runs(&["INSERT INTO app.orders (customer_id, number) VALUES (2, 'x')"]),
        ..NONE
    },
    Case {
        // A row cannot be deleted while another refers to it, although the key allows it.
        codes: &["fk.set-null-tenant"],
        prepare: "ALTER TABLE app.customers ADD COLUMN partner bigint, ADD CONSTRAINT nulls \
                  FOREIGN KEY (tenant_id, partner) REFERENCES app.customers (tenant_id, id) ON DELETE SET NULL (partner)",
        plant: "ALTER TABLE app.customers DROP CONSTRAINT nulls, ADD CONSTRAINT nulls FOREIGN KEY (tenant_id, partner) \
                REFERENCES app.customers (tenant_id, id) ON DELETE SET NULL DEFERRABLE",
        attack: Attack::Breaks(&[
            "INSERT INTO app.customers (id, email) VALUES (50, 'x')",
            "INSERT INTO app.customers (id, email, partner) VALUES (51, 'y', 50)",
            "DELETE FROM app.customers WHERE id = 50",
        ]),
        clean_up: "ALTER TABLE app.customers DROP COLUMN partner",
        oldest: 15,
        ..NONE
    },
    // The server enforces the key for new rows. That existing ones violate it is a finding of its own.
    Case {
        codes: &["fk.not-valid"],
        plant: "ALTER TABLE app.orders ADD CONSTRAINT late FOREIGN KEY (tenant_id, customer_id) \
                REFERENCES app.customers (tenant_id, id) NOT VALID",
        clean_up: "ALTER TABLE app.orders DROP CONSTRAINT late",
        ..NONE
    },
    Case {
        codes: &["index.none-led-by-tenant"],
        plant: "ALTER TABLE app.events DROP CONSTRAINT events_pkey",
        attack: Attack::ReadsAll("SELECT * FROM app.events"),
        clean_up: "DROP INDEX app.events_tenant_id_idx; ALTER TABLE app.events ADD PRIMARY KEY (tenant_id, id, at)",
        ..NONE
    },
    Case {
        codes: &["rls.off"],
        plant: "ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY",
        attack: READ_OTHER,
        ..NONE
    },
    Case {
        // The definer function of the owner, which is safe on a forced table, is the way in.
        codes: &["rls.not-forced"],
        plant: "ALTER TABLE app.customers NO FORCE ROW LEVEL SECURITY",
        attack: Attack::Reads(&["SELECT count(*) FROM app.emails() AS email WHERE email LIKE '%globex%'"]),
        ..NONE
    },
    // Without the policy that verifies contexts, the application sees no rows.
    Case {
        codes: &["policy.missing"],
        plant: "DROP POLICY tenantry_context ON app.customers",
        attack: READS_NOTHING,
        ..NONE
    },
    Case {
        codes: &["policy.missing"],
        plant: "ALTER POLICY tenantry_context ON app.customers USING (true)",
        attack: READS_NOTHING,
        ..NONE
    },
    Case {
        codes: &["policy.missing"],
        plant: "ALTER POLICY tenantry_context ON app.customers TO {owner}",
        attack: READS_NOTHING,
        ..NONE
    },
    Case {
        codes: &["policy.missing"],
        plant: "ALTER POLICY tenantry_context ON app.customers WITH CHECK (true)",
        attack: Attack::Runs(&[
            "SELECT set_config('tenantry.tenant', '{globex}', true)",
            "INSERT INTO app.customers (id, email) VALUES (70, 'x')",
        ]),
        ..NONE
    },
    Case {
        codes: &["policy.missing"],
        plant: "DROP POLICY tenantry_context ON app.customers; \
                ALTER POLICY tenantry_tenant ON app.customers \
                USING (tenant_id = (SELECT nullif(current_setting('tenantry.tenant', true), '')::uuid))",
        attack: READ_BY_SETTING,
        ..NONE
    },
    Case {
        codes: &["trigger.disabled"],
        plant: "ALTER TABLE app.orders DISABLE TRIGGER ALL",
        attack: Attack::Runs(&["INSERT INTO app.orders (customer_id, number) VALUES (99, 'x')"]),
        ..NONE
    },
    Case {
        codes: &["trigger.definer"],
        plant: "CREATE FUNCTION app.spy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = app, pg_temp AS \
                $$ BEGIN NEW.email := (SELECT string_agg(email, ',') FROM app.customers); RETURN NEW; END $$; \
                CREATE TRIGGER spy BEFORE INSERT ON app.customers FOR EACH ROW EXECUTE FUNCTION app.spy()",
        attack: Attack::Reads(&["WITH new AS (INSERT INTO app.customers (email) VALUES ('x') RETURNING email) \
                                SELECT count(*) FROM new WHERE email LIKE '%globex%'"]),
        clean_up: "DROP FUNCTION app.spy() CASCADE",
        ..NONE
    },
    Case {
        codes: &["rule"],
        plant: "CREATE RULE purge AS ON DELETE TO app.customers DO ALSO DELETE FROM app.countries",
        attack: Attack::Reads(&["DELETE FROM app.customers", "SELECT (count(*) = 0)::int::bigint FROM app.countries"]),
        ..NONE
    },
    Case {
        codes: &["index.dead-under-rls"],
        plant: "CREATE INDEX dead ON app.customers (tenant_id, lower(email)); \
                CREATE INDEX dead_too ON app.orders USING gin (to_tsvector('simple', number)); \
                CREATE INDEX alive ON app.orders (tenant_id, number)",
        clean_up: "DROP INDEX app.dead, app.dead_too, app.alive",
        attack: Attack::NoStatement,
        ..NONE
    },
    Case {
        codes: &["data.orphans"],
        plant: "SET session_replication_role = replica; \
                INSERT INTO app.orders (tenant_id, customer_id, number) VALUES ('{acme}', 2, 'of another tenant')",
        clean_up: "DELETE FROM app.orders",
        attack: Attack::NoStatement,
        ..NONE
    },
    // The application's role cannot decode the log: a subscriber can.
    Case {
        codes: &["publication"],
        plant: "CREATE PUBLICATION everything FOR TABLE app.customers, app.countries",
        clean_up: "DROP PUBLICATION everything",
        attack: Attack::NoStatement,
        ..NONE
    },
    Case {
        codes: &["publication"],
        plant: "CREATE PUBLICATION everything FOR ALL TABLES",
        clean_up: "DROP PUBLICATION everything",
        attack: Attack::NoStatement,
        ..NONE
    },
    Case {
        codes: &["publication"],
        plant: "CREATE PUBLICATION everything FOR TABLES IN SCHEMA app",
        clean_up: "DROP PUBLICATION everything",
        attack: Attack::NoStatement,
        oldest: 15,
        ..NONE
    },
    Case {
        codes: &["column.type", "policy.missing", "rls.not-forced", "rls.off"],
        plant: "CREATE TABLE app.typed (tenant_id text PRIMARY KEY); ALTER TABLE app.typed OWNER TO {owner}",
        clean_up: "DROP TABLE app.typed",
        attack: Attack::NoStatement,
        ..NONE
    },
];
