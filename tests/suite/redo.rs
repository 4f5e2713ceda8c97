//! `redo`: the newest migration is reverted and applied again.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Screen, Terminal, fleet, run_with, with};

#[test]
fn the_newest_migration_is_reverted_and_applied() {
    let migrations = Dir::new().add("1_orders", "CREATE TABLE orders (i int)").down("DROP TABLE orders");
    let migrations = migrations.add("2_notes", "CREATE TABLE notes (i int)").down("DROP TABLE notes");
    let db = fleet(&[]);
    run_with(&db, &migrations, &["create", "acme", "globex"]).assert_code(0);
    db.execute(
        "INSERT INTO acme.notes VALUES (1); INSERT INTO acme.orders VALUES (1); INSERT INTO globex.notes VALUES (1)",
    );
    let rows = || {
        ["acme.orders", "acme.notes", "globex.notes"].map(|table| db.count(&format!("SELECT count(*) FROM {table}")))
    };
    let refused = with(&db, &migrations, &["redo", "acme"]).run();
    assert!(refused.assert_code(4).stderr.contains("confirmation required"), "{}", refused.stderr);
    let dry = with(&db, &migrations, &["redo", "acme", "--dry-run"]).run();
    assert!(dry.assert_code(0).stdout.contains("2_notes"), "{}", dry.stdout);
    let mut terminal = Terminal::spawn(with(&db, &migrations, &["redo", "acme"]));
    terminal.expect("Revert these migrations of tenant acme").type_line("n");
    Screen::of(&mut terminal).assert_code(4);
    assert_eq!(rows(), [1, 1, 1]);

    assert_snapshot!(with(&db, &migrations, &["redo", "acme", "--yes"]).run(), @r"
        --- stderr
        1 reverted
        1 migrated
        --- exit 0
    ");
    assert_eq!(rows(), [1, 0, 1]);
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
    let document = run_with(&db, &migrations, &["redo", "acme", "--yes", "--format", "json"]).json();
    assert_eq!(
        (&document["reverted"]["done"][0]["to"], &document["applied"]["done"][0]["to"]),
        (&"1".into(), &"2".into())
    );
    // Of a tenant that is behind, its own newest migration.
    let more = migrations.add("3_more", "CREATE TABLE more (i int)").down("DROP TABLE more");
    run_with(&db, &more, &["redo", "acme", "--yes"]).assert_code(0);
    assert_eq!(db.string("SELECT max(version) FROM acme.__diesel_schema_migrations"), "2");
}

#[test]
fn a_migration_that_fails_remains_reverted_and_the_hint_applies_it() {
    // Each redo leaves a table behind: the first one makes the next up.sql fail, and the next down.sql.
    let migrations = Dir::new()
        .add("1_orders", "CREATE TABLE orders (i int)")
        .down("DROP TABLE orders")
        .add("2_once", "CREATE TABLE once (i int); CREATE INDEX once_idx ON once (i)")
        .down("ALTER TABLE once RENAME TO kept");
    let db = fleet(&[]);
    run_with(&db, &migrations, &["create", "acme"]).assert_code(0);
    let version = || db.string("SELECT max(version) FROM acme.__diesel_schema_migrations");
    let failed = with(&db, &migrations, &["redo", "acme", "--yes"]).run();
    for text in
        ["1 reverted", "relation \"once_idx\" already exists", "0 migrated, 1 failed", "migrate-one acme --to 2"]
    {
        assert!(failed.assert_code(1).stderr.contains(text), "no {text:?} in {}", failed.stderr);
    }
    assert_eq!(version(), "1");
    db.execute("DROP INDEX acme.once_idx");
    run_with(&db, &migrations, &["migrate-one", "acme", "--to", "2"]).assert_code(0);
    // The revert fails: nothing is changed, and nothing is applied.
    let failed = with(&db, &migrations, &["redo", "acme", "--yes", "--format", "json"]).run();
    let document = failed.assert_code(1).json();
    assert_eq!(document["reverted"]["failed"][0]["code"], "migration-failed", "{document}");
    assert!(document["applied"].is_null());
    assert_eq!(version(), "2");
    let unknown = with(&db, &migrations, &["redo", "nobody", "--yes", "--format", "json"]).run();
    assert_eq!(unknown.assert_code(1).json()["reverted"]["failed"][0]["code"], "not-tracked");
}
