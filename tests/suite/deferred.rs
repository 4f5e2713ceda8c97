//! Deferred triggers of a migration: they run as the migration does, and before its checks.

use crate::support::migrations::Dir;
use crate::support::{Database, Output, set_up, with};

fn run_once(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    with(db, migrations, args).env("TENANTRY_RETRIES", "0").run()
}

/// A table with a deferred trigger that runs these statements in PL/pgSQL.
fn table_with_trigger(statements: &str) -> String {
    format!(
        "CREATE TABLE log (entry text); CREATE TABLE orders (id int); \
         CREATE FUNCTION on_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statements} RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER on_order AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION on_order();"
    )
}

const ORDER: &str = "INSERT INTO orders VALUES (1);";

/// A set of migrations whose last one fires the trigger.
fn orders(trigger: &str) -> Dir {
    Dir::new().add("1_base", &table_with_trigger(trigger)).add("2_order", ORDER)
}

#[test]
#[ignore = "long: make test-long"]
fn deferred_triggers_find_the_objects_of_the_tenant() {
    let migrations = orders("INSERT INTO log VALUES (current_schema());");
    let db = set_up();
    run_once(
        &db,
        &Dir::new().add("1_base", &table_with_trigger("INSERT INTO log VALUES (current_schema());")),
        &["create", "acme"],
    )
    .assert_code(0);
    run_once(&db, &migrations, &["migrate-all"]).assert_code(0);
    run_once(&db, &migrations, &["create", "globex"]).assert_code(0);
    for tenant in ["acme", "globex"] {
        assert_eq!(db.strings(&format!("SELECT entry FROM {tenant}.log")), [tenant]);
    }
    run_once(&db, &migrations, &["health-check"]).assert_code(0);

    // A value of an enum that is added and used makes the reference commit.
    let committed = migrations
        .add("3_mood", "CREATE TYPE mood AS ENUM ('calm');")
        .add("4_wild", "DO 'BEGIN ALTER TYPE mood ADD VALUE ''wild''; END';")
        .add("5_use", "CREATE TABLE moods (mood mood DEFAULT 'wild'); INSERT INTO orders VALUES (2);");
    run_once(&db, &committed, &["migrate-all"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM acme.log"), 2);
    run_once(&db, &committed, &["health-check"]).assert_code(0);
}

#[test]
fn deferred_trigger_that_changes_other_schemas_is_rolled_back() {
    let db = set_up();
    db.execute("CREATE SCHEMA shared; CREATE TABLE shared.orders (id int)");
    let trigger = "INSERT INTO shared.orders VALUES (NEW.id);";
    let base = Dir::new().add("1_base", &table_with_trigger(trigger));
    run_once(&db, &base, &["create", "acme"]).assert_code(0);
    let output = run_once(&db, &orders(trigger), &["migrate-all"]);
    output.assert_code(1);
    assert!(output.stderr.contains("2_order") && output.stderr.contains("table shared.orders"), "{}", output.stderr);
    assert_eq!(db.count("SELECT count(*) FROM shared.orders"), 0);
    assert_eq!(db.count("SELECT count(*) FROM acme.orders"), 0);
}

#[test]
fn error_of_a_deferred_trigger_names_the_migration_and_the_trigger() {
    let db = set_up();
    let trigger = "INSERT INTO log SELECT 1 / 0;";
    run_once(&db, &Dir::new().add("1_base", &table_with_trigger(trigger)), &["create", "acme"]).assert_code(0);
    let output = run_once(&db, &orders(trigger), &["migrate-all"]);
    output.assert_code(1);
    for part in ["2_order", "division by zero", "on_order()"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
}
