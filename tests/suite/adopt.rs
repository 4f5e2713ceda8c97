//! `adopt`

use crate::assert_snapshot;
use crate::list::{create_older, fleet};
use crate::support::{Database, Tenantry};

/// All that is in a schema, and which transaction made it what it is.
fn contents(db: &Database, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT concat_ws(' ', oid, xmin, relname, relfilenode) FROM pg_class \
         WHERE relnamespace = '\"{schema}\"'::regnamespace ORDER BY oid"
    ))
}

fn tracked(db: &Database) -> String {
    db.tenantry(["list", "--names"]).run().assert_code(0).stdout.clone()
}

/// The URL of a database for a role that may read the tracker, and nothing else of anyone's.
pub(crate) fn url_of_a_stranger(db: &Database) -> String {
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    db.url().replace("postgresql://postgres@", &format!("postgresql://{role}@"))
}

/// A tenant's schema that nobody tracks any more.
fn untracked(name: &str) -> Database {
    let db = fleet(&[name]);
    db.execute("DELETE FROM schema_tracker");
    db
}

#[test]
fn a_schema_with_a_ledger_is_adopted_untouched() {
    let db = untracked("acme");
    let before = contents(&db, "acme");
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run());
    assert_eq!(contents(&db, "acme"), before);
    assert_eq!(db.string("SELECT state FROM schema_tracker"), "active");
    db.tenantry(["health-check"]).run().assert_code(0);
    let again = db.tenantry(["adopt", "acme"]).run();
    assert!(!again.stderr.contains("--if-not-exists"), "adopt has no such flag: {}", again.stderr);
    assert_snapshot!(again);
}

#[test]
fn an_empty_schema_is_adopted_and_migrated_later() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA acme");
    assert_snapshot!(db.tenantry(["adopt", "acme", "--verbose"]).run());
    assert_eq!(contents(&db, "acme"), [""; 0]);
    db.tenantry(["migrate-all"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn objects_without_a_ledger_want_a_baseline() {
    let db = untracked("acme");
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    let before = contents(&db, "acme");
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run());
    assert_eq!((contents(&db, "acme"), tracked(&db)), (before.clone(), String::new()));

    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "20260119090000"]).run());
    assert_eq!(
        db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"),
        ["20260105090000", "20260112090000", "20260119090000"]
    );
    let after = contents(&db, "acme");
    assert!(before.iter().all(|object| after.contains(object)), "only a ledger came: {before:?} {after:?}");
    assert_snapshot!(db.tenantry(["list"]).run());
}

#[test]
fn a_baseline_of_the_newest_migration_leaves_nothing_to_do() {
    let db = untracked("acme");
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "20260209090000"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn a_version_may_be_written_with_dashes_as_diesel_does() {
    let db = untracked("acme");
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "2026-02-09-090000"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn a_baseline_that_is_no_version() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA acme");
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "20260119090001"]).run());
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "the newest"]).run());
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", ""]).run());
    assert_eq!((contents(&db, "acme"), tracked(&db)), (vec![], String::new()));
}

#[test]
fn a_baseline_against_a_ledger() {
    let db = fleet(&[]);
    create_older(&db, &["acme"]);
    db.execute("DELETE FROM schema_tracker");
    let before = contents(&db, "acme");
    let refused = db.tenantry(["adopt", "acme", "--baseline", "20260209090000"]).run();
    assert!(!refused.stderr.contains("recorded as applied"), "nothing was: {}", refused.stderr);
    assert_snapshot!(refused);
    assert_eq!((contents(&db, "acme"), tracked(&db)), (before, String::new()));
    assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 3);

    // One that records nothing contradicts nothing.
    db.execute("DELETE FROM acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "20260119090000"]).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 3);
}

#[test]
fn there_is_no_schema() {
    let db = fleet(&["gone"]);
    db.execute("DROP SCHEMA gone CASCADE; INSERT INTO schema_tracker (name) VALUES ('registered')");
    let output = db.tenantry(["adopt", "nobody", "gone", "registered"]).run();
    // Three states, and three ways on.
    for way in ["create nobody", "drop gone", "create registered"] {
        assert!(output.stderr.contains(way), "{way}: {}", output.stderr);
    }
    assert_snapshot!(output);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('nobody', 'gone', 'registered')"), 0);
}

#[test]
fn a_tenant_registered_by_hand_is_made_active() {
    let db = untracked("acme");
    db.execute("INSERT INTO schema_tracker (name) VALUES ('acme')");
    db.tenantry(["adopt", "acme"]).run().assert_code(0);
    assert_eq!(db.string("SELECT state FROM schema_tracker"), "active");
}

#[test]
fn a_tracked_tenant_without_its_ledger_can_be_given_one() {
    let db = fleet(&["acme"]);
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "20260209090000"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn a_name_that_differs_only_by_case() {
    let db = fleet(&["acme"]);
    db.execute("CREATE SCHEMA \"Acme\"");
    assert_snapshot!(db.tenantry(["adopt", "Acme"]).run());
    db.execute("CREATE SCHEMA globex; CREATE SCHEMA \"GLOBEX\"");
    db.tenantry(["adopt", "globex", "GLOBEX"]).run().assert_code(1);
    assert_eq!(tracked(&db), "acme\nglobex\n");
}

#[test]
fn a_tenant_that_is_being_dropped() {
    let db = fleet(&["acme"]);
    db.execute("UPDATE schema_tracker SET state = 'dropping'");
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run());
}

#[test]
fn a_schema_that_this_role_may_not_read() {
    let db = untracked("acme");
    let url = url_of_a_stranger(&db);
    assert_snapshot!(db.tenantry(["adopt", "acme"]).env("DATABASE_URL", url).run());
    assert_eq!(tracked(&db), "");
}

#[test]
fn several_of_which_some_fail() {
    let db = fleet(&["acme", "tracked"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name = 'acme'; \
         CREATE SCHEMA empty; CREATE SCHEMA tables; CREATE TABLE tables.t(i int)",
    );
    assert_snapshot!(db.tenantry(["adopt", "acme", "tables", "nobody", "empty", "tracked"]).run());
    assert_eq!(tracked(&db), "acme\nempty\ntracked\n");
}

#[test]
fn as_json() {
    let db = fleet(&["acme", "tracked"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name = 'acme'; DROP TABLE acme.__diesel_schema_migrations; \
         CREATE SCHEMA tables; CREATE TABLE tables.t(i int)",
    );
    assert_snapshot!(db.tenantry(["adopt", "tables", "nobody", "tracked", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "20260209090000", "--format", "json"]).run());
}

#[test]
fn names_of_the_databases_own_schemas() {
    let db = fleet(&[]);
    for name in ["public", "information_schema", "pg_catalog", "pg_toast"] {
        db.tenantry(["adopt", name]).run().assert_code(2);
    }
    assert_eq!(tracked(&db), "");
}

#[test]
fn without_a_tracker_or_a_name() {
    assert_snapshot!(Database::new().tenantry(["adopt", "acme"]).run());
    assert_snapshot!(Tenantry::new().arg("adopt").run());
}
