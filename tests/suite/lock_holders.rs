//! Refusals name the holder of a lock: any role of the database can acquire the tool's advisory locks.

use std::sync::LazyLock;
use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use tenantry::local::Ephemeral;
use tenantry::operations::migrate::{self, MigratePlan, Rollout};
use tenantry::{CreateError, Error, Fleet, Limits, MigrationSet, Stop, Tenancy, TenantError};

use crate::support::migrations::Dir;
use crate::support::{Database, Output, binaries, public_migrations, set_up, strings, url_of_a_stranger};

const FLEET: &str = "hashtextextended('tenantry: the fleet', 0)";
const RECORD: &str = "hashtextextended('tenantry: the recorded migrations', 0)";

/// A session of another role, which may only connect to the database.
struct Attacker {
    conn: PgConnection,
    role: String,
    pid: String,
}

impl Attacker {
    fn of(db: &Database) -> Self {
        let mut conn = PgConnection::establish(&url_of_a_stranger(db)).unwrap();
        conn.batch_execute("SET application_name TO 'psql'").unwrap();
        let pid = strings(&mut conn, "SELECT pg_backend_pid()").remove(0);
        Self { conn, role: format!("stranger_{}", db.name()), pid }
    }

    fn run(&mut self, sql: &str) {
        self.conn.batch_execute(sql).unwrap_or_else(|error| panic!("{error}, from: {sql}"));
    }

    /// Acquires a lock.
    fn hold(&mut self, key: &str) -> &mut Self {
        self.run(&format!("SELECT pg_advisory_unlock_all(); SELECT pg_advisory_lock({key})"));
        self
    }

    /// The beginning of the text that names it.
    fn named(&self, application: &str) -> String {
        format!("held by process {} (user {}, application {application}) since ", self.pid, self.role)
    }

    /// Asserts that the text names the session, and reports that it is not a run.
    #[track_caller]
    fn assert_named(&self, text: &str) {
        let (_, rest) =
            text.split_once(&self.named("psql")).unwrap_or_else(|| panic!("the holder is not named: {text}"));
        assert!(rest.contains("UTC, which is not a tenantry run"), "{text}");
    }

    /// The same for a command, which also reports how to release the lock.
    #[track_caller]
    fn assert_refused(&self, output: &Output) {
        output.assert_code(5);
        self.assert_named(&output.stderr);
        let hint = format!("hint: release the lock with SELECT pg_terminate_backend({}), then try again", self.pid);
        assert!(output.stderr.contains(&hint), "{}", output.stderr);
    }
}

/// A tenancy with a short lock timeout.
fn with_short_lock_timeout(migrations: &Dir) -> Tenancy {
    let set = MigrationSet::from_dir(migrations.path()).unwrap();
    Tenancy::new(set).unwrap().with_limits(Limits { busy_for: Duration::ZERO, ..Limits::default() })
}

fn connected(db: &Database) -> tenantry::Database {
    tenantry::Database::connect(crate::support::connector(&db.url()), 2).unwrap()
}

fn hint(error: &TenantError) -> String {
    error.hint("acme", &|line| line.to_owned()).unwrap_or_default()
}

/// The error of the only tenant.
fn migrate(db: &Database, tenancy: &Tenancy) -> TenantError {
    let mut connected = connected(db);
    let set = tenancy.tenant_migrations();
    let plan = MigratePlan::of(Fleet::read(connected.connection(), set).unwrap(), set, |_| true);
    let mut report =
        migrate::migrate(&mut connected, tenancy, plan, &Rollout::default(), &Stop::default(), &mut ()).unwrap();
    assert_eq!((report.done.len(), report.failed.len()), (0, 1));
    report.failed.remove(0).error
}

/// A tenant that is one migration behind.
fn behind() -> (Database, Dir) {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);").down("DROP TABLE a;");
    let path = migrations.path().to_str().unwrap().to_owned();
    db.tenantry(["create", "acme", "--tenant-migrations", &path]).run().assert_code(0);
    (db, migrations.add("2_b", "CREATE TABLE b (i int);").down("DROP TABLE b;"))
}

#[test]
fn holder_of_the_fleet_lock_is_named() {
    let (db, migrations) = behind();
    let mut attacker = Attacker::of(&db);
    let run = |args: &[&str]| db.tenantry(args).arg("--tenant-migrations").arg(migrations.path());
    let all: [&[&str]; 3] =
        [&["migrate-all"], &["migrate-all", "--shard", "1/2"], &["revert-all", "--steps", "1", "--yes"]];
    attacker.hold(FLEET);
    all.iter().for_each(|args| attacker.assert_refused(&run(args).run()));
    attacker.hold("hashtextextended('tenantry: shard 1/2', 0)");
    attacker.assert_refused(&run(all[1]).run());
    attacker.hold("hashtext('tenantry: shards'), 3");
    attacker.assert_refused(&run(all[1]).run());

    // The session takes the name of a recorded run that has not ended.
    db.execute("INSERT INTO schema_run (command, version) VALUES ('migrate-all', '1')");
    let run_id = db.string("SELECT max(id) FROM schema_run");
    for name in [&format!("tenantry/{run_id}: fleet"), "tenantry fleet 4711 ada@db1"] {
        attacker.hold(FLEET).run(&format!("SET application_name TO '{name}'"));
        let refused = run(&["migrate-all"]).run();
        refused.assert_code(5);
        assert!(refused.stderr.contains(&attacker.named(name)), "{}", refused.stderr);
        assert!(
            refused.stderr.contains(", which has the name of a tenantry run but another role"),
            "{}",
            refused.stderr
        );
        assert!(
            !refused.stderr.contains(&format!("run {run_id} (")) && !refused.stderr.contains("ada on"),
            "{}",
            refused.stderr
        );
    }

    // The holder is also named during the wait.
    attacker.run("SET application_name TO 'psql'");
    let waiting = run(&["migrate-all", "--lock-wait", "1min"]).spawn();
    let line = waiting.wait_for_stderr_line("waiting for process");
    assert!(line.contains("which is not a tenantry run"), "{line}");
    attacker.run("SELECT pg_advisory_unlock_all()");
    waiting.wait().assert_code(0);
}

/// No session holds the fleet lock, but a prepared transaction does.
#[test]
#[ignore = "long: make test-long"]
fn prepared_transaction_that_holds_the_fleet_lock_is_named() {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(|| {
        Ephemeral::options().setting("max_prepared_transactions", "2").start(binaries()).expect("a server")
    });
    let db = Database::on(&SERVER);
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db.execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({FLEET}); PREPARE TRANSACTION 'left over'"));
    let refused = db.tenantry(["migrate-all"]).run();
    refused.assert_code(5);
    let held = "the fleet lock is held by prepared transaction \"left over\" (user postgres) since ";
    assert!(refused.stderr.contains(held), "{}", refused.stderr);
    assert!(refused.stderr.contains("release the lock with ROLLBACK PREPARED 'left over'"), "{}", refused.stderr);
    db.execute("ROLLBACK PREPARED 'left over'");
    db.tenantry(["migrate-all"]).run().assert_code(0);
}

#[test]
fn holder_of_a_tenant_lock_is_named() {
    let (db, migrations) = behind();
    let tenancy = with_short_lock_timeout(&migrations);
    let mut attacker = Attacker::of(&db);
    attacker.hold("hashtextextended('tenantry:acme', 0)");
    let error = migrate(&db, &tenancy);
    assert!(matches!(error, TenantError::Busy { .. }), "{error}");
    attacker.assert_named(&error.to_string());
    let release = format!("release the lock with SELECT pg_terminate_backend({}), then try again", attacker.pid);
    assert_eq!(hint(&error), release);

    attacker.hold("hashtextextended('tenantry:globex', 0)");
    match tenantry::create_tenant(&mut connected(&db), &tenancy, &"globex".parse().unwrap()) {
        Err(CreateError::Tenant { error, .. }) => attacker.assert_named(&error.to_string()),
        other => panic!("it cannot be created: {other:?}"),
    }
    assert_eq!(crate::support::schemas(&db), ["acme"]);
}

#[test]
fn holder_of_the_lock_on_recorded_migrations_is_named() {
    let (db, migrations) = behind();
    let path = migrations.path().to_str().unwrap().to_owned();
    let tenancy = with_short_lock_timeout(&migrations);
    let mut attacker = Attacker::of(&db);
    attacker.hold(RECORD);
    tenantry::record::integrity::record(&mut connected(&db), &tenancy).unwrap();
    let error = migrate(&db, &tenancy);
    assert!(matches!(error, TenantError::RecordLocked { .. }), "{error}");
    attacker.assert_named(&error.to_string());

    // The recorded migrations can be changed only without another holder.
    migrations.write("1_a/up.sql", "CREATE TABLE a (i bigint);");
    attacker.run(&format!("SELECT pg_advisory_unlock_all(); SELECT pg_advisory_lock_shared({RECORD})"));
    let repair = ["repair", "--accept", "1", "--reason", "a test", "--tenant-migrations", &path];
    attacker.assert_refused(&db.tenantry(repair).run());
    attacker.run("SELECT pg_advisory_unlock_all()");
    db.tenantry(repair).run().assert_code(0);
}

#[test]
fn holder_of_the_public_schema_lock_is_named() {
    let db = Database::new();
    let mut attacker = Attacker::of(&db);
    attacker.hold("hashtextextended('tenantry:public', 0)");
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);");
    let tenancy = with_short_lock_timeout(&migrations);
    let error = migrate::migrate_public(&mut connected(&db), &tenancy, &Stop::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    attacker.assert_named(&error.to_string());

    attacker.run("SELECT pg_advisory_unlock_all()");
    db.tenantry(["migrate-public"]).run().assert_code(0);
    attacker.hold("hashtextextended('tenantry:public', 0)");
    attacker.assert_refused(&db.tenantry(["cleanup", "--yes"]).run());
    assert_eq!(db.count("SELECT count(*) FROM schema_ledger"), public_migrations(), "nothing is reverted");
}
