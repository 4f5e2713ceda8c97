//! The guards of a large run are prepared once for each connection, where no code can replace them.

use tenantry::operations::migrate::{self, MigratePlan, Report, Rollout};
use tenantry::{Database as Connected, Fleet, MigrationSet, Stop, Tenancy};

use crate::support::migrations::Dir;
use crate::support::proxy::{CutPoint, Proxy};
use crate::support::{Database, connector, server, set_up, small_fleet};

const TENANTS: usize = 60;

/// Migrates all tenants through one connection.
fn roll_out(url: &str, migrations: &Dir) -> Report {
    let tenancy = Tenancy::new(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap();
    let mut db = Connected::connect(connector(url), 1).unwrap();
    let fleet = Fleet::read(db.connection(), tenancy.tenant_migrations()).unwrap();
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    migrate::migrate(&mut db, &tenancy, plan, &Rollout::default(), &Stop::default(), &mut ()).unwrap()
}

fn tables(db: &Database, name: &str) -> i64 {
    db.count(&format!("SELECT count(*) FROM pg_class WHERE relname = '{name}'"))
}

/// The messages that migrate a tenant with `script`, each with whether it executes a statement by name.
fn messages(proxy: &Proxy, script: &str) -> Vec<(String, bool)> {
    let with_script = proxy.queries().into_iter().filter(|query| query.contains(script));
    with_script.map(|query| (query.clone(), query.contains("EXECUTE \"tenantry_"))).collect()
}

fn prepares(proxy: &Proxy) -> usize {
    proxy.queries().iter().filter(|query| query.contains("PREPARE \"tenantry_")).count()
}

#[test]
fn guards_are_planned_once_for_a_connection() {
    let db = set_up();
    small_fleet(&db, TENANTS, &["1"]);
    let proxy = Proxy::start(server());
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)").add("2_b", "CREATE TABLE b (i int);");
    let report = roll_out(&proxy.url(db.name()), &migrations);
    assert_eq!(report.done.len(), TENANTS, "{:?}", report.failed);
    let messages = messages(&proxy, "CREATE TABLE b");
    assert!(messages.iter().all(|(_, by_name)| *by_name), "{messages:#?}");
    assert_eq!((messages.len(), prepares(&proxy), tables(&db, "b")), (TENANTS, 1, 60));
    let rows =
        "SELECT count(*) FROM schema_run_tenant WHERE outcome = 'done' AND from_version = '1' AND to_version = '2'";
    assert_eq!(db.count(rows), 60);
}

/// A migration with code sees the names of prepared statements, and can prepare others with these names.
#[test]
fn a_migration_with_code_switches_off_no_guard_of_a_later_tenant() {
    let db = set_up();
    small_fleet(&db, TENANTS, &["1", "3"]);
    // In the middle are tenants without the migration with code, too.
    db.execute(
        "DO $$ BEGIN FOR n IN 20..22 LOOP \
         EXECUTE format('DELETE FROM t%s.__diesel_schema_migrations WHERE version = ''3''', lpad(n::text, 5, '0')); \
         END LOOP; END $$",
    );
    let hostile = "DO $$ DECLARE p text; BEGIN FOR p IN SELECT name FROM pg_prepared_statements LOOP \
                   EXECUTE format('DEALLOCATE %I', p); EXECUTE format('PREPARE %I (text) AS SELECT 1', p); \
                   END LOOP; CREATE TABLE hostile (i int); END $$;";
    let migrations =
        Dir::new().add("1_a", "CREATE TABLE a (i int)").add("3_hostile", hostile).add("4_b", "CREATE TABLE b (i int);");
    let proxy = Proxy::start(server());
    let report = roll_out(&proxy.url(db.name()), &migrations);
    assert_eq!(report.done.len(), TENANTS, "{:?}", report.failed);
    let by_name: Vec<bool> = messages(&proxy, "CREATE TABLE b").into_iter().map(|(_, by_name)| by_name).collect();
    let expected: Vec<bool> = (0..TENANTS).map(|n| n < 20).collect();
    assert_eq!(by_name, expected);
    assert_eq!((tables(&db, "hostile"), tables(&db, "b")), (3, 60));
}

#[test]
fn guards_find_what_they_guard_against_when_executed_by_name() {
    let db = set_up();
    small_fleet(&db, TENANTS, &["1"]);
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)").add("2_b", "CREATE TABLE b (i int);");
    let tenancy = Tenancy::new(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap();
    let mut connected = Connected::connect(connector(&db.url()), 1).unwrap();
    let fleet = Fleet::read(connected.connection(), tenancy.tenant_migrations()).unwrap();
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    // Since the fleet was read, tenants were dropped, are being dropped, have another ledger, or run code.
    db.execute(
        "DROP SCHEMA t00010 CASCADE; UPDATE schema_tracker SET state = 'dropping' WHERE name = 't00020'; \
         INSERT INTO t00030.__diesel_schema_migrations (version) VALUES ('2'); \
         CREATE FUNCTION t00040.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'it ran'; END $$; \
         CREATE TRIGGER t BEFORE INSERT ON t00040.__diesel_schema_migrations FOR EACH ROW EXECUTE FUNCTION t00040.f(); \
         CREATE FUNCTION t00050.f() RETURNS timestamp LANGUAGE plpgsql AS $$ BEGIN RAISE 'it ran'; END $$; \
         ALTER TABLE t00050.__diesel_schema_migrations ALTER run_on SET DEFAULT t00050.f()",
    );
    let report =
        migrate::migrate(&mut connected, &tenancy, plan, &Rollout::default(), &Stop::default(), &mut ()).unwrap();
    let unchanged: Vec<&str> = report.unchanged.iter().map(|name| name.as_str()).collect();
    let failed: Vec<(&str, &str)> =
        report.failed.iter().map(|failed| (failed.tenant.as_str(), failed.error.code())).collect();
    assert_eq!(unchanged, ["t00030"]);
    assert_eq!(failed[..2], [("t00010", "schema-missing"), ("t00020", "dropping")]);
    assert_eq!(failed[2], ("t00040", "invalid-ledger"));
    // A default is not evaluated: the row has both columns.
    assert!(failed.len() == 3 || failed[3..] == [("t00050", "invalid-ledger")], "{failed:?}");
    assert_eq!(report.done.len() + failed.len() + unchanged.len(), TENANTS);
}

#[test]
fn after_a_lost_connection_guards_are_prepared_again() {
    let db = set_up();
    small_fleet(&db, TENANTS, &["1"]);
    let proxy = Proxy::start(server());
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)").add("2_b", "CREATE TABLE b (i int);");
    proxy.cut_at(50, CutPoint::Before);
    let report = roll_out(&proxy.url(db.name()), &migrations);
    assert_eq!(report.done.len(), TENANTS, "{:?}", report.failed);
    assert_eq!((prepares(&proxy), tables(&db, "b")), (2, 60));
}

/// The place of an error may be one in a prepared statement. So the message is sent again with its guards as text.
#[test]
fn the_error_of_a_migration_has_its_line_after_guards_that_were_executed_by_name() {
    let db = set_up();
    small_fleet(&db, TENANTS, &["1"]);
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int)")
        .add("2_b", "CREATE TABLE b (i int);\nALTER TABLE missing ADD COLUMN i int;\nALTER TABLE b ADD COLUMN j;");
    let proxy = Proxy::start(server());
    let report = roll_out(&proxy.url(db.name()), &migrations);
    let errors: Vec<String> = report.failed.iter().map(|failed| failed.error.to_string()).collect();
    assert_eq!(errors.len(), TENANTS);
    let expected = "migration 2_b/up.sql:3 failed: syntax error at or near \";\"";
    assert!(errors.iter().all(|error| error.starts_with(expected)), "{errors:#?}");
}
