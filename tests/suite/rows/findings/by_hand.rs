//! Defects that no statement repairs: each is found, the attack succeeds before the advice is followed, and fails after it.

use super::*;

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
