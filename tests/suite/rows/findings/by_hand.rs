//! Defects that no statement repairs: each is found, the attack succeeds before the advice is followed, and fails after it.

use diesel::dsl::sql;
use diesel::sql_types::Bytea;
use tenantry::local::Ephemeral;

use super::*;
use crate::support::Database;

/// The rows of a customer of another tenant disappear with it: the other tenant deletes the orders of this one.
#[test]
fn rows_that_violate_a_key_are_found_and_kept_out() {
    let shop = with_safe_constructs(Shop::isolated());
    let crossing = Attack::Reads(&["SELECT count(*) FROM app.orders o \
                                   WHERE NOT EXISTS (SELECT FROM app.customers c WHERE c.id = o.customer_id)"]);
    assert!(!shop.attempt(&crossing));
    shop.db.execute(&shop.fill(
        "ALTER TABLE app.orders DROP CONSTRAINT orders_customer_id_fkey; \
         INSERT INTO app.orders (tenant_id, customer_id, number) VALUES ('{acme}', 2, 'of another tenant'); \
         ALTER TABLE app.orders ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (tenant_id, customer_id) \
         REFERENCES app.customers (tenant_id, id) ON DELETE CASCADE NOT VALID",
    ));
    assert!(shop.attempt(&crossing));
    assert_eq!(shop.codes(), ["data.orphans", "fk.not-valid"].map(str::to_owned).into());
    // The script has the query that finds the rows.
    let plan = shop.tenantry(&["repair-plan"]).run();
    let query = plan.stdout.lines().find_map(|line| Some(line.split_once("finds them: ")?.1.to_owned()));
    let query = query.unwrap_or_else(|| panic!("{}", plan.stdout));
    assert_eq!(shop.db.strings(&format!("SELECT number FROM ({query}) AS x")), ["of another tenant"]);
    shop.db.execute(&format!("DELETE FROM app.orders WHERE number IN (SELECT number FROM ({query}) AS x)"));
    shop.psql(shop.run(&["repair-plan"]));
    assert!(!shop.attempt(&crossing));
    let again = Attack::Runs(&["INSERT INTO app.orders (customer_id, number) VALUES (2, 'x')"]);
    assert!(!shop.attempt(&again));
    shop.assert_clean("after the repair");
}

#[test]
fn column_of_another_type_is_found_and_changed_by_hand() {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute(&shop.fill(
        "CREATE TABLE app.typed (tenant_id text PRIMARY KEY, secret text); ALTER TABLE app.typed OWNER TO {owner}; \
         INSERT INTO app.typed VALUES ('{globex}', 'of globex'); GRANT SELECT ON app.typed TO {user}",
    ));
    let attack = Attack::Reads(&["SELECT count(*) FROM app.typed WHERE secret = 'of globex'"]);
    assert!(shop.attempt(&attack));
    assert!(shop.codes().contains("column.type"));
    let plan = shop.tenantry(&["repair-plan"]).run();
    assert!(plan.stdout.contains("change the type of the column in a migration"), "{}", plan.stdout);
    // Nothing is isolated in part.
    shop.tenantry(&["isolate", "--yes"]).run().assert_code(3);
    shop.db.execute("ALTER TABLE app.typed ALTER COLUMN tenant_id TYPE uuid USING tenant_id::uuid");
    shop.psql(shop.run(&["repair-plan"]));
    assert!(!shop.attempt(&attack));
    shop.assert_clean("after the repair");
}

/// An index is dead under the policies if its operators are not leakproof: the server may not evaluate its condition before the
/// policies.
#[test]
fn dead_index_is_not_used_by_the_application() {
    let shop = with_safe_constructs(Shop::isolated());
    shop.db.execute(
        "CREATE INDEX dead ON app.customers (tenant_id, lower(email)); CREATE INDEX alive ON app.customers (tenant_id, email)",
    );
    let condition = |query: &str, column: &str| {
        shop.plan(query).iter().any(|line| line.contains("Index Cond") && line.contains(column))
    };
    assert!(!condition("SELECT * FROM app.customers WHERE lower(email) = 'x'", "lower(email)"));
    assert!(condition("SELECT * FROM app.customers WHERE email = 'x'", "email = "));
    // Without policies it would be.
    let plan = "EXPLAIN (COSTS OFF) SELECT * FROM app.customers WHERE tenant_id = '{acme}' AND lower(email) = 'x'";
    let mut conn = shop.db.connect();
    conn.batch_execute("SET enable_seqscan = off").unwrap();
    let lines: Vec<String> = diesel::dsl::sql::<Text>(&shop.fill(plan)).load(&mut conn).unwrap();
    assert!(lines.iter().any(|line| line.contains("Index Cond") && line.contains("lower(email)")), "{lines:?}");
    assert_eq!(shop.codes(), ["index.dead-under-rls".to_owned()].into());
    shop.db.execute("DROP INDEX app.dead");
    shop.assert_clean("without the index");
}

/// A subscriber gets the rows of all tenants that a publication has. The application's role cannot decode the log, so that the
/// attack is that of a role with REPLICATION.
#[test]
#[ignore = "long: make test-long"]
fn publication_sends_the_rows_of_all_tenants_to_subscribers() {
    let settings = [("wal_level", "logical"), ("synchronous_commit", "on"), ("timezone", "UTC")];
    let server: &'static Ephemeral = Box::leak(Box::new(Ephemeral::start(binaries(), &settings).unwrap()));
    let shop = with_safe_constructs(Shop::isolated_in(Database::on(server)));
    shop.db.execute(&shop.fill("CREATE ROLE {db}_subscriber LOGIN REPLICATION"));
    let mut subscriber = shop.connect_as("subscriber");
    // Inserts a row of each tenant, and returns which of them the subscriber receives.
    let mut received = || -> Vec<&str> {
        let receive = "SELECT data FROM pg_logical_slot_get_binary_changes('slot', NULL, NULL, 'proto_version', '1', \
                       'publication_names', 'published')";
        subscriber.batch_execute("SELECT pg_create_logical_replication_slot('slot', 'pgoutput', true)").unwrap();
        shop.db.execute(&shop.fill(
            "INSERT INTO app.customers (tenant_id, id, email) SELECT id, (random() * 1e9)::int8 + 10, 'of ' || name || gen_random_uuid() \
             FROM app.tenants",
        ));
        let changes: Vec<Vec<u8>> = sql::<Bytea>(receive).load(&mut subscriber).unwrap();
        subscriber.batch_execute("SELECT pg_drop_replication_slot('slot')").unwrap();
        let contains =
            |text: &str| changes.iter().any(|change| change.windows(text.len()).any(|at| at == text.as_bytes()));
        ["of acme", "of globex"].into_iter().filter(|text| contains(text)).collect()
    };
    let mut published = vec!["FOR TABLE app.customers", "FOR ALL TABLES"];
    // Schemas and row filters exist since PostgreSQL 15.
    let has_filters = binaries().major() >= 15;
    if has_filters {
        published.push("FOR TABLES IN SCHEMA app");
    }
    for tables in published {
        shop.db.execute(&format!("CREATE PUBLICATION published {tables}"));
        assert_eq!(received(), ["of acme", "of globex"], "{tables}");
        assert_eq!(shop.codes(), ["publication".to_owned()].into(), "{tables}");
        let plan = shop.tenantry(&["repair-plan"]).run();
        assert!(plan.stdout.contains("give each table a row filter, or drop the publication"), "{}", plan.stdout);
        shop.db.execute("DROP PUBLICATION published");
        shop.assert_clean(tables);
    }
    if has_filters {
        let filtered = "CREATE PUBLICATION published FOR TABLE app.customers WHERE (tenant_id = '{acme}')";
        shop.db.execute(&shop.fill(filtered));
        assert_eq!(received(), ["of acme"]);
        shop.assert_clean("with a row filter");
    }
    let mut application = shop.application();
    assert!(application.batch_execute("SELECT pg_create_logical_replication_slot('mine', 'pgoutput')").is_err());
    drop((subscriber, application, shop));
    server.stop_immediate().unwrap();
}
