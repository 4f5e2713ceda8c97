//! Tenants whose ledgers record migrations that this release does not have.

use crate::support::migrations::Dir;
use crate::support::{Database, Output, set_up};

fn with(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    let path = migrations.path().to_str().unwrap();
    db.tenantry(args).args(["--tenant-migrations", path]).run()
}

/// A tenant that a newer release has migrated to version 9, and the migrations of an older release with a pending one.
fn rolled_back() -> (Database, Dir) {
    let db = set_up();
    let newer = Dir::new().add("1_a", "CREATE TABLE a (i int);").add("9_z", "CREATE TABLE z (i int);");
    with(&db, &newer, &["create", "acme"]).assert_code(0);
    let older = Dir::new().add("1_a", "CREATE TABLE a (i int);").add("2_b", "CREATE TABLE b (i int);");
    older.write("1_a/down.sql", "DROP TABLE a;");
    older.write("2_b/down.sql", "DROP TABLE b;");
    (db, older)
}

fn ledger(db: &Database) -> String {
    db.string("SELECT string_agg(version, ',' ORDER BY version) FROM acme.__diesel_schema_migrations")
}

#[test]
fn an_older_release_changes_no_tenant_of_a_newer_one() {
    let (db, older) = rolled_back();
    for args in [
        &["migrate-all"][..],
        &["migrate-all", "--dry-run"],
        &["migrate-one", "acme"],
        &["revert-all", "--to", "1", "--yes"],
        &["revert-one", "acme", "--steps", "1", "--yes"],
    ] {
        let output = with(&db, &older, args);
        output.assert_code(1);
        assert!(output.stderr.contains("migration ledger records unknown versions: 9"), "{args:?}: {}", output.stderr);
        let hint = "use the release that contains them, or accept them with 'tenantry repair --accept 9 --reason TEXT";
        assert!(output.stderr.contains(hint), "{args:?}: {}", output.stderr);
    }
    assert_eq!(ledger(&db), "1,9");
    let finding = with(&db, &older, &["health-check"]);
    assert!(finding.stdout.contains("unknown-migrations"), "{}", finding.stdout);
    assert!(finding.stdout.contains("tenantry repair --accept 9 --reason TEXT"), "{}", finding.stdout);
}

#[test]
fn an_accepted_version_is_known() {
    let (db, older) = rolled_back();
    let repair = ["repair", "--accept", "9", "--reason", "rolled back to 1.4"];
    let accepted = with(&db, &older, &repair);
    accepted.assert_code(0);
    assert_eq!(
        db.string("SELECT version || ' ' || change || ' ' || reason FROM schema_acceptance"),
        "9 removed rolled back to 1.4"
    );
    with(&db, &older, &["migrate-all"]).assert_code(0);
    assert_eq!(ledger(&db), "1,2,9");
    // It can be accepted only once.
    with(&db, &older, &repair).assert_code(3);
    // It has no down.sql.
    let revert = with(&db, &older, &["revert-all", "--to", "1", "--yes"]);
    revert.assert_code(1);
    assert!(revert.stderr.contains("no down.sql"), "{}", revert.stderr);
    assert_eq!(ledger(&db), "1,2,9");
}

#[test]
fn tenant_without_pending_migrations_is_reported_and_skipped() {
    let (db, _) = rolled_back();
    let older = Dir::new().add("1_a", "CREATE TABLE a (i int);");
    for args in [&["migrate-all"][..], &["migrate-one", "acme"]] {
        let output = with(&db, &older, args);
        output.assert_code(0);
        assert!(
            output.stderr.contains("warning: the ledgers of 1 tenant record unknown migrations"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn target_version_does_not_make_later_migrations_unknown() {
    let db = set_up();
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", "CREATE TABLE b (i int);")
        .add("3_c", "CREATE TABLE c (i int);");
    with(&db, &migrations, &["create", "acme"]).assert_code(0);
    let output = with(&db, &migrations, &["migrate-all", "--to", "2"]);
    output.assert_code(0);
    assert!(!output.stderr.contains("unknown"), "{}", output.stderr);
}
