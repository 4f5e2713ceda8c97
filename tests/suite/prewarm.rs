//! `create --prewarm`: schemas that are made in advance, and renamed when a tenant is created.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, schemas, set_up, with};

fn two() -> Dir {
    Dir::new()
        .add("1_a", "CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
        .add("2_b", "CREATE INDEX CONCURRENTLY a_even ON a ((id % 2))")
        .metadata("run_in_transaction = false")
}

fn spares(db: &Database) -> i64 {
    db.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantry\\_spare\\_%'")
}

#[test]
fn number_of_spare_schemas_is_checked() {
    let db = set_up();
    for number in ["x", "0", "501", "-1", "1.5"] {
        let output = db.tenantry(["create", &format!("--prewarm={number}")]).run();
        output.assert_code(2);
        assert!(output.stderr.contains("expected a number from 1 to 500"), "{}", output.stderr);
    }
}

#[test]
fn tenants_take_spare_schemas_and_other_commands_know_the_rest() {
    let db = set_up();
    let migrations = two();
    let run =
        |args: &[&str]| with(&db, &migrations, args).hide(migrations.path().to_str().unwrap(), "MIGRATIONS").run();
    assert_snapshot!(run(&["create", "first", "--prewarm", "3"]), @r"
        --- stderr
        1 created
        3 spare schemas made, 3 ready
        --- exit 0
    ");
    assert_eq!(spares(&db), 3);
    let oids = db.strings("SELECT oid FROM pg_namespace WHERE nspname LIKE 'tenantry\\_spare\\_%'");
    let json = run(&["create", "acme", "Acme-2", "--any-name", "--format", "json"]);
    json.assert_code(0);
    assert_eq!((&json.json()["prewarmed"], &json.json()["created_from"]), (&2.into(), &serde_json::Value::Null));
    for name in ["acme", "Acme-2"] {
        assert!(oids.contains(&db.string(&format!("SELECT oid FROM pg_namespace WHERE nspname = '{name}'"))));
        assert_eq!(db.count(&format!("SELECT count(*) FROM \"{name}\".__diesel_schema_migrations")), 2);
    }
    assert_eq!(spares(&db), 1);
    assert_snapshot!(run(&["health-check"]), @r"
        --- stderr
        3 tenants checked, all healthy
        --- exit 0
    ");
    let list = run(&["list"]);
    assert!(list.stderr.contains("3 tenants\n1 spare schema for new tenants"), "{}", list.stderr);
    // More tenants than spares: the rest by the migrations.
    let more = run(&["create", "b1", "b2", "b3", "-v", "--jobs", "3"]);
    more.assert_code(0);
    assert!(more.stderr.contains("1 tenant took a spare schema"), "{}", more.stderr);
    assert!(more.stderr.contains("created by applying each migration"), "{}", more.stderr);
    run(&["health-check"]).assert_code(0);
    // --replay takes none.
    run(&["create", "--prewarm", "2"]).assert_code(0);
    run(&["create", "replayed", "--replay"]).assert_code(0);
    assert_eq!(spares(&db), 2);
    assert_snapshot!(run(&["cleanup", "--yes"]), @r"
        --- stderr
        7 dropped
        2 spare schemas dropped
        18 public migrations reverted
        public.schema_ledger dropped
        hint: to start again: tenantry migrate-public, then tenantry create NAME --tenant-migrations MIGRATIONS
        --- exit 0
    ");
    assert_eq!(schemas(&db), [""; 0]);
}

#[test]
fn changed_and_outdated_spares_are_not_used() {
    let db = set_up();
    let migrations = two();
    let run = |args: &[&str]| with(&db, &migrations, args).run();
    run(&["create", "--prewarm", "1"]).assert_code(0);
    let spare = db.string("SELECT name FROM schema_spare");
    db.execute(&format!("ALTER TABLE {spare}.a ADD COLUMN planted int"));
    run(&["create", "acme"]).assert_code(0);
    run(&["health-check"]).assert_code(0);
    assert_eq!(spares(&db), 1, "it was not taken");
    assert_snapshot!(run(&["create", "--prewarm", "2"]), @r"
        --- stderr
        2 spare schemas made, 1 dropped, 2 ready
        --- exit 0
    ");
    // Rows do not change the catalog, and a spare with other versions is found in its ledger.
    let spare = db.string("SELECT name FROM schema_spare ORDER BY name LIMIT 1");
    db.execute(&format!("DELETE FROM {spare}.__diesel_schema_migrations WHERE version = '2'"));
    for name in ["one", "two"] {
        run(&["create", name]).assert_code(0);
        assert_eq!(db.count(&format!("SELECT count(*) FROM {name}.__diesel_schema_migrations")), 2);
    }
    // Rows that were not written by this program are left alone.
    db.execute("ALTER TABLE schema_spare DROP CONSTRAINT schema_spare_name_check");
    db.execute("UPDATE schema_spare SET name = 'acme' WHERE name = (SELECT min(name) FROM schema_spare)");
    run(&["create", "three"]).assert_code(0);
    run(&["create", "--prewarm", "1"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 2);
    db.execute("DELETE FROM schema_spare WHERE name = 'acme'");
    // A rollout makes them useless.
    let migrations = migrations.add("3_c", "ALTER TABLE a ADD COLUMN c int");
    let rolled_out = with(&db, &migrations, &["migrate-all"]).run();
    rolled_out.assert_code(0);
    assert!(rolled_out.stderr.contains("dropped, made for other migrations"), "{}", rolled_out.stderr);
    assert_eq!(db.count("SELECT count(*) FROM schema_spare"), 0);
}

#[test]
fn spares_are_taken_once_by_concurrent_creates() {
    let db = set_up();
    let migrations = two();
    let run = |args: &[&str]| with(&db, &migrations, args);
    run(&["create", "--prewarm", "4"]).run().assert_code(0);
    let runs: Vec<_> = (0..3).map(|n| run(&["create", &format!("x{n}"), &format!("y{n}")]).spawn()).collect();
    runs.into_iter().for_each(|run| {
        run.wait().assert_code(0);
    });
    assert_eq!((spares(&db), db.count("SELECT count(*) FROM schema_spare")), (0, 0));
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE state = 'active'"), 6);
    run(&["health-check"]).run().assert_code(0);
}

#[test]
fn prewarm_needs_a_result_that_can_be_renamed() {
    let db = set_up();
    let rows = Dir::new().add("1_a", "CREATE TABLE a AS SELECT 1 AS i");
    assert_snapshot!(with(&db, &rows, &["create", "acme", "--prewarm", "1"]).run(), @r"
        --- stderr
        1 created
        error: no schema can be made in advance: the migrations leave rows in a
        hint: omit --prewarm: create applies each migration
        --- exit 3
    ");
    let named = Dir::new().add(
        "1_a",
        "DO $$ BEGIN EXECUTE format('CREATE TABLE a (i int DEFAULT length(%L))', current_schema()); END $$",
    );
    let other = set_up();
    let output = with(&other, &named, &["create", "--prewarm", "1"]).run();
    output.assert_code(3);
    assert!(output.stderr.contains("the schema's name is in the text of an object"), "{}", output.stderr);
}
