//! The ledger is Diesel's own: Diesel's harness and tenantry agree on the applied migrations.

use diesel::connection::SimpleConnection;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use tenantry::MigrationSet;

use crate::support::migrations::Dir;
use crate::support::set_up;

fn names<DB>(migrations: Vec<Box<dyn diesel::migration::Migration<DB>>>) -> Vec<String>
where
    DB: diesel::backend::Backend,
{
    migrations.iter().map(|migration| migration.name().to_string()).collect()
}

#[test]
fn diesel_harness_finds_nothing_pending_after_create() {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    let mut conn = db.connect();
    conn.batch_execute("SET search_path TO acme").unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/tenant");
    let diesels = FileBasedMigrations::from_path(&root).unwrap();
    assert_eq!(names(conn.pending_migrations(diesels).unwrap()), Vec::<String>::new());
    let ours = MigrationSet::from_dir(&root).unwrap();
    assert!(!conn.has_pending_migration(ours.clone()).unwrap());
    let applied = conn.applied_migrations().unwrap();
    let versions: Vec<&str> = ours.iter().rev().map(|migration| migration.version().as_str()).collect();
    assert_eq!(applied.iter().map(ToString::to_string).collect::<Vec<_>>(), versions);
}

#[test]
fn diesel_and_tenantry_agree_on_applied_and_pending_migrations() {
    let db = set_up();
    db.execute("CREATE SCHEMA acme");
    let mut conn = db.connect();
    conn.batch_execute("SET search_path TO acme").unwrap();
    let migrations = Dir::copy_of_tenant();
    let set = MigrationSet::from_dir(migrations.path()).unwrap();
    // Diesel's harness accepts our set, including the non-transactional migration.
    conn.run_pending_migrations(set).unwrap();
    db.tenantry(["adopt", "acme"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);

    let migrations = migrations.add("20270101000000_notes", "CREATE TABLE notes (i int);").down("DROP TABLE notes;");
    let pending = names(conn.pending_migrations(FileBasedMigrations::from_path(migrations.path()).unwrap()).unwrap());
    assert_eq!(pending, ["20270101000000_notes"]);
    let path = migrations.path().to_str().unwrap();
    let plan = db.tenantry(["migrate-all", "--dry-run", "--format", "json", "--tenant-migrations", path]).run();
    assert_eq!(plan.json()["migrate"][0]["pending"], serde_json::json!(["20270101000000"]));
    db.tenantry(["migrate-all", "--tenant-migrations", path]).run().assert_code(0);
    // Diesel reverts migrations that tenantry applied.
    let reverted = conn.revert_last_migration(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap();
    assert_eq!(reverted.to_string(), "20270101000000");
    assert_eq!(db.string("SELECT to_regclass('acme.notes') IS NULL"), "true");
}

#[test]
fn ledger_with_a_customized_definition_is_checked_and_written() {
    let db = set_up();
    db.tenantry(["create", "acme", "globex", "initech"]).run().assert_code(0);
    // None of these ledgers runs code, and none has the definition that tenantry creates.
    db.execute("ALTER TABLE acme.__diesel_schema_migrations ADD COLUMN note text, ALTER COLUMN version TYPE text");
    db.execute("CREATE STATISTICS globex.s ON version, run_on FROM globex.__diesel_schema_migrations");
    let migrations = Dir::copy_of_tenant().add("20270101000000_notes", "CREATE TABLE notes (i int);");
    let path = migrations.path().to_str().unwrap();
    db.tenantry(["migrate-all", "--jobs", "1", "--tenant-migrations", path]).run().assert_code(0);
    for tenant in ["acme", "globex", "initech"] {
        let newest = format!("SELECT max(version) FROM {tenant}.__diesel_schema_migrations");
        assert_eq!(db.string(&newest), "20270101000000", "{tenant}");
    }
    // A ledger that runs code is refused, even if it is changed between the plan and the message.
    db.execute("CREATE RULE r AS ON INSERT TO initech.__diesel_schema_migrations DO ALSO NOTHING");
    let migrations = migrations.add("20270201000000_more", "CREATE TABLE more (i int);");
    let path = migrations.path().to_str().unwrap();
    db.tenantry(["migrate-all", "--tenant-migrations", path]).run().assert_code(1);
    assert_eq!(
        db.string("SELECT to_regclass('initech.more') IS NULL AND to_regclass('acme.more') IS NOT NULL"),
        "true"
    );
}
