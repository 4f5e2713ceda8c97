//! `isolate`: what it makes of plain tables, that it does so once, and that it loses nothing.

use std::process::{Command, Stdio};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use tenantry::{RowTenancy, TenantId};

use super::{ACME, GLOBEX, Shop, shop};
use crate::support::migrations::Dir;

/// The keys of a table, as the server prints them.
fn keys(shop: &Shop, table: &str) -> Vec<String> {
    shop.db.strings(&format!(
        "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
         WHERE conrelid = 'app.{table}'::regclass AND contype IN ('p', 'u', 'f', 'x') ORDER BY 1"
    ))
}

#[test]
fn keys_include_the_tenant() {
    let shop = Shop::isolated();
    assert_eq!(
        keys(&shop, "customers"),
        [
            "customers_country_fkey FOREIGN KEY (country) REFERENCES app.countries(code)",
            "customers_email_key UNIQUE (tenant_id, email)",
            "customers_pkey PRIMARY KEY (tenant_id, id)",
            "customers_referrer_fkey FOREIGN KEY (tenant_id, referrer) REFERENCES app.customers(tenant_id, id)",
            "customers_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(id)",
        ]
    );
    assert_eq!(
        keys(&shop, "orders"),
        [
            "orders_customer_id_fkey FOREIGN KEY (tenant_id, customer_id) REFERENCES app.customers(tenant_id, id) \
             ON DELETE CASCADE",
            "orders_pkey PRIMARY KEY (tenant_id, id)",
            "orders_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(id)",
        ]
    );
    assert_eq!(
        keys(&shop, "events_2026"),
        [
            "events_2026_pkey PRIMARY KEY (tenant_id, id, at)",
            "events_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(id)"
        ]
    );
    assert_eq!(
        shop.db.string("SELECT pg_get_indexdef('app.orders_number'::regclass)"),
        "CREATE UNIQUE INDEX orders_number ON app.orders USING btree (tenant_id, lower(number) DESC) INCLUDE (total) \
         WHERE (total > (0)::numeric)"
    );
    // Neither the registry nor an exempt table has a tenant column.
    assert_eq!(
        shop.db.strings(
            "SELECT table_name FROM information_schema.columns \
             WHERE table_schema = 'app' AND column_name = 'tenant_id' ORDER BY 1"
        ),
        ["customers", "events", "events_2026", "orders"]
    );
}

#[test]
fn second_isolation_has_nothing_to_do() {
    let shop = Shop::isolated();
    let output = shop.tenantry(&["isolate", "--dry-run"]).run();
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), ""));
    assert_eq!(output.stderr, "0 statements to execute; nothing was changed\n");
    let output = shop.tenantry(&["isolate"]).run();
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), "all shared tables are isolated\n"));
}

/// What `isolate --dry-run` prints does the same as `isolate`.
#[test]
fn dry_run_prints_a_script_that_isolates() {
    let shop = Shop::migrated();
    let before =
        shop.db.strings("SELECT relname || relrowsecurity FROM pg_class WHERE relnamespace = 'app'::regnamespace");
    let script = shop.run(&["isolate", "--dry-run"]);
    let after =
        shop.db.strings("SELECT relname || relrowsecurity FROM pg_class WHERE relnamespace = 'app'::regnamespace");
    assert_eq!(before, after, "nothing was changed");
    let mut psql = Command::new(crate::support::binaries().psql().unwrap())
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", &shop.db.url()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut psql.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
}

/// Tables with rows are changed without long locks, and keep their rows.
#[test]
fn tables_with_rows_are_isolated_on_the_safe_path() {
    let shop = Shop::migrated();
    shop.db.execute(&format!(
        "INSERT INTO app.tenants (id, name) VALUES ('{ACME}', 'acme');
         INSERT INTO app.customers (email, referrer) SELECT 'c' || i, NULLIF(i - 1, 0) FROM generate_series(1, 500) AS i;
         INSERT INTO app.orders (customer_id, number) SELECT i, 'n' || i FROM generate_series(1, 500) AS i;
         INSERT INTO app.events SELECT i, '2026-05-05' FROM generate_series(1, 10) AS i"
    ));
    let refused = shop.tenantry(&["isolate", "--yes"]).run();
    refused.assert_code(3);
    assert!(
        refused.stderr.contains("app.customers: has rows without a tenant in column \"tenant_id\""),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--assign ID"), "{}", refused.stderr);
    let script = shop.run(&["isolate", "--dry-run", "--assign", ACME]);
    for safe in [
        "CREATE UNIQUE INDEX CONCURRENTLY",
        "PRIMARY KEY USING INDEX",
        "REFERENCES \"app\".\"customers\" (\"tenant_id\", \"id\") ON DELETE CASCADE NOT VALID",
        "VALIDATE CONSTRAINT \"orders_customer_id_fkey\"",
    ] {
        assert!(script.contains(safe), "{safe}: {script}");
    }
    shop.run(&["isolate", "--yes", "--assign", ACME]);
    for (table, rows) in [("customers", 500), ("orders", 500), ("events", 10)] {
        assert_eq!(shop.db.count(&format!("SELECT count(*) FROM app.{table} WHERE tenant_id = '{ACME}'")), rows);
    }
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
    assert_eq!(shop.db.count("SELECT count(*) FROM pg_constraint WHERE NOT convalidated"), 0);
}

/// A tenant column that exists and has no value in some rows gets one in batches.
#[test]
fn nullable_tenant_column_is_completed() {
    let shop = Shop::with(Dir::new().add(
        "2026-01-01-000000_create_all",
        "CREATE TABLE tenants (id bigint PRIMARY KEY, name text);
         INSERT INTO tenants VALUES (200, 'acme'), (201, 'globex');
         CREATE TABLE notes (id bigint PRIMARY KEY, tenant_id bigint, text text);
         INSERT INTO notes SELECT i, CASE WHEN i % 2 = 0 THEN 201 END FROM generate_series(1, 25000) AS i;",
    ));
    shop.tenantry(&["isolate", "--yes"]).run().assert_code(3);
    shop.run(&["isolate", "--yes", "--assign", "200"]);
    assert_eq!(
        shop.db.strings("SELECT tenant_id || ': ' || count(*) FROM app.notes GROUP BY tenant_id ORDER BY 1"),
        ["200: 12500", "201: 12500"]
    );
    assert_eq!(
        keys(&shop, "notes"),
        [
            "notes_pkey PRIMARY KEY (tenant_id, id)",
            "notes_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES app.tenants(id)"
        ]
    );
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
}

/// The policies of a former version, which compared each row with the setting and with the context, still isolate.
/// `health-check` finds them, and `isolate` replaces them.
#[test]
fn policies_of_a_former_version_are_replaced() {
    let shop = Shop::isolated();
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, email) VALUES ('{ACME}', 'info@acme.example'), ('{GLOBEX}', 'info@globex.example')"
    ));
    let (owner, app) = (shop.role("owner"), shop.role("user"));
    for (table, column) in [
        ("customers", "tenant_id"),
        ("orders", "tenant_id"),
        ("events", "tenant_id"),
        ("events_2026", "tenant_id"),
        ("tenants", "id"),
    ] {
        let tenant = format!("{column} = (SELECT nullif(current_setting('tenantry.tenant', true), '')::uuid)");
        let context = format!(
            "(SELECT pg_has_role(session_user, '{owner}', 'MEMBER')) OR {column} = (SELECT tenantry.current_tenant())"
        );
        shop.db.execute(&format!(
            "DROP POLICY tenantry_tenant ON app.{table}; DROP POLICY tenantry_context ON app.{table};
             CREATE POLICY tenantry_tenant ON app.{table} TO {app} USING ({tenant}) WITH CHECK ({tenant});
             CREATE POLICY tenantry_context ON app.{table} AS RESTRICTIVE USING ({context}) WITH CHECK ({context})"
        ));
    }
    shop.db.execute("DROP FUNCTION tenantry.is_administrator(), tenantry.requires_context(regclass)");
    let visible = || {
        let acme = ACME.parse::<TenantId>().unwrap();
        let all = |conn: &mut PgConnection| sql::<Text>("SELECT email FROM app.customers").load::<String>(conn);
        assert!(all(&mut shop.application()).unwrap_or_default().is_empty(), "without a context");
        RowTenancy::new(shop.key.clone()).with_tenant(&mut shop.application(), acme, all).unwrap()
    };
    assert_eq!(visible(), ["info@acme.example"]);
    let output = shop.tenantry(&["health-check", "--ignore", "server.cve"]).run();
    output.assert_code(1);
    for found in [
        "policy tenantry_tenant of app.orders is not the one that isolation creates",
        "policy tenantry_context of app.tenants is not the one that isolation creates",
        "functions of schema tenantry are not those that this version creates, or their privileges differ",
    ] {
        assert!(output.stdout.contains(found), "{found}: {}", output.stdout);
    }
    assert!(output.stderr.contains("11 findings"), "{}", output.stderr);
    shop.run(&["isolate", "--yes"]);
    shop.run(&["health-check", "--ignore", "server.cve"]);
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
    assert_eq!(visible(), ["info@acme.example"]);
}

#[test]
fn undo_restores_the_keys_and_revokes_access() {
    let shop = Shop::migrated();
    let tables = ["customers", "orders", "events", "tenants", "countries"];
    let before: Vec<Vec<String>> = tables.iter().map(|table| keys(&shop, table)).collect();
    let index = "SELECT pg_get_indexdef('app.orders_number'::regclass)";
    let index_before = shop.db.string(index);
    shop.run(&["isolate", "--yes"]);
    shop.run(&["isolate", "--undo", "--yes"]);
    let after: Vec<Vec<String>> = tables.iter().map(|table| keys(&shop, table)).collect();
    assert_eq!((after, shop.db.string(index)), (before, index_before));
    assert_eq!(shop.db.count("SELECT count(*) FROM pg_policy"), 0);
    assert_eq!(shop.db.count("SELECT count(*) FROM pg_class WHERE relrowsecurity"), 0);
    let app = shop.role("user");
    let accessible = format!(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p') \
         AND has_table_privilege('{app}', oid, 'SELECT, INSERT, UPDATE, DELETE')"
    );
    assert_eq!(shop.db.count(&accessible), 0, "without policies the application would see the rows of all tenants");
    shop.run(&["isolate", "--yes"]);
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
}

/// Two tenants have the same key: the isolation cannot be undone, and remains.
#[test]
fn undo_that_fails_changes_nothing() {
    let shop = Shop::isolated();
    shop.db.execute(&format!(
        "INSERT INTO app.customers (tenant_id, id, email) VALUES ('{ACME}', 1, 'a@example.org'), ('{GLOBEX}', 1, 'b@example.org')"
    ));
    let output = shop.tenantry(&["isolate", "--undo", "--yes"]).run();
    output.assert_code(3);
    assert!(output.stderr.contains("cannot isolate customers: could not create unique index"), "{}", output.stderr);
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
}

/// What cannot be isolated is named, and nothing is changed.
#[test]
fn obstacles_are_named_and_nothing_is_changed() {
    let migrations = shop().add(
        "2026-01-03-000000_add_obstacles",
        "CREATE TABLE labels (id bigint PRIMARY KEY, order_id bigint REFERENCES orders);
         COMMENT ON TABLE labels IS 'tenantry: exempt';
         CREATE TABLE typed (id bigint PRIMARY KEY, tenant_id text);",
    );
    let shop = Shop::with(migrations);
    let output = shop.tenantry(&["isolate", "--yes"]).run();
    output.assert_code(3);
    let named = [
        "app.labels: is exempt, and its foreign key \"labels_order_id_fkey\" refers to the isolated table orders",
        "app.typed: column \"tenant_id\" has type text; the registry's ids have type uuid",
        "2 of the shared tables cannot be isolated; nothing was changed",
    ];
    for text in named {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
    assert_eq!(shop.db.count("SELECT count(*) FROM pg_policy"), 0);
    let json = shop.tenantry(&["isolate", "--dry-run", "--format", "json"]).run();
    json.assert_code(1);
    assert_eq!(json.json()["obstacles"].as_array().unwrap().len(), 2);
}

#[test]
fn database_without_registry_is_refused() {
    let shop =
        Shop::with(Dir::new().add("2026-01-01-000000_create_items", "CREATE TABLE items (id bigint PRIMARY KEY);"));
    let output = shop.tenantry(&["isolate", "--yes"]).run();
    output.assert_code(3);
    assert!(
        output.stderr.contains("\"app\".\"tenants\" is not a registry of tenants: it does not exist"),
        "{}",
        output.stderr
    );
}

#[test]
fn tenancy_of_a_database_does_not_change() {
    let shop = Shop::migrated();
    let refused = shop.tenantry(&["migrate-public", "--tenancy", "schemas"]).run();
    refused.assert_code(2);
    assert!(refused.stderr.contains("the tenants of this database share tables"), "{}", refused.stderr);
    let refused = shop.tenantry(&["migrate-public", "--tenant-column", "other"]).run();
    refused.assert_code(2);
    assert!(refused.stderr.contains("differ from those that the database records"), "{}", refused.stderr);
    shop.run(&["migrate-public"]);
    let schemas = crate::support::set_up();
    let output = schemas.tenantry(["key", "list"]).run();
    output.assert_code(3);
    assert!(output.stderr.contains("have schemas of their own"), "{}", output.stderr);
}
