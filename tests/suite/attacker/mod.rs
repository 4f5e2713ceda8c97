//! A tenant's role that plants code for the operator to run: in its own schema, in `public`, and in place of its
//! ledger.
//!
//! Each planted object is a trap: when it runs with the privileges of a superuser, it writes a file, which no rollback
//! removes. No command may trigger one.

mod archives;
mod ledgers;
mod sessions;

use std::fs;
use std::path::PathBuf;

use crate::support::migrations::Dir;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{Database, Tenantry, fleet, server};

const PLANT: &str = include_str!("plant.sql");

/// A fleet with a role that may create objects in `public`.
struct Attacked {
    db: Database,
    attacker: String,
    file: PathBuf,
}

impl Attacked {
    /// Creates the tenants `acme` and `mallory`. The attacker owns the schema of the latter.
    fn new() -> Self {
        let db = fleet(&[]);
        let migrations = older();
        db.tenantry(["create", "acme", "mallory"])
            .arg("--tenant-migrations")
            .arg(migrations.path())
            .run()
            .assert_code(0);
        let attacker = format!("attacker_{}", db.name());
        let file = server().data_folder().join(format!("executed_{}", db.name()));
        db.execute(&format!(
            "CREATE ROLE {attacker}; GRANT CREATE, USAGE ON SCHEMA public TO {attacker}; \
             GRANT CREATE ON DATABASE {} TO {attacker}; ALTER SCHEMA mallory OWNER TO {attacker}; \
             CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO {attacker}; \
             CREATE FUNCTION trap.spring(what text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN \
             IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN \
             EXECUTE format('COPY (SELECT %L) TO %L', what, '{}'); END IF; END $$",
            db.name(),
            file.display(),
        ));
        Self { db, attacker, file }
    }

    /// Runs statements as the attacker.
    #[track_caller]
    fn plant(&self, sql: &str) {
        self.db.execute(&format!("SET ROLE {}; {sql}", self.attacker));
    }

    /// The planted code that ran since the last call.
    fn executed(&self) -> Option<String> {
        let what = fs::read_to_string(&self.file).ok()?;
        fs::remove_file(&self.file).unwrap();
        Some(what.trim().to_owned())
    }

    #[track_caller]
    fn assert_nothing_executed(&self, during: &str) {
        if let Some(what) = self.executed() {
            panic!("{what} ran with the rights of a superuser during: {during}");
        }
    }
}

impl Drop for Attacked {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        if !std::thread::panicking() {
            self.db.execute(&format!("DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.attacker));
        }
    }
}

/// Migrations whose statements use no operators or functions, which would be the tenant's own code.
fn older() -> Dir {
    Dir::new().add("1_a", "CREATE TABLE a (i int);").down("DROP TABLE a;")
}

fn newer() -> Dir {
    older().add("2_b", "CREATE TABLE b (i int);").down("DROP TABLE b;")
}

/// Every command that connects, in an order in which each has work to do.
const COMMANDS: &[&[&str]] = &[
    &["list"],
    &["list", "--names"],
    &["list", "--format", "json"],
    &["health-check"],
    &["health-check", "--remember"],
    &["health-check", "--remember"],
    &["diff", "acme"],
    &["diff", "mallory"],
    // Not for mallory: a plan to drop thousands of operators one by one takes minutes. The test of ledgers covers it.
    &["repair-plan", "acme"],
    &["reference"],
    &["migrate-public"],
    &["migrate-all", "--dry-run"],
    &["migrate-one", "acme"],
    &["migrate-all"],
    &["migrate-all", "--verify"],
    &["runs"],
    &["runs", "show", "1"],
    &["revert-one", "acme", "--steps", "1", "--yes"],
    &["revert-all", "--steps", "1", "--yes"],
    &["migrate-all", "--shard", "1/2"],
    &["migrate-all", "--shard", "2/2"],
    &["create", "globex", "initech"],
    &["adopt", "stray", "--baseline", "1"],
    &["drop", "globex", "--dry-run"],
    &["drop", "globex", "--yes"],
    &["drop", "mallory", "--yes"],
    &["cleanup", "--dry-run"],
    &["cleanup", "--yes"],
];

fn attack(attacked: &Attacked, url: &str, commands: &[&[&str]]) {
    let (db, migrations) = (&attacked.db, newer());
    db.execute("CREATE SCHEMA stray; CREATE TABLE stray.a (i int)");
    let run = |args: &[&str]| -> Tenantry {
        let tenantry = db.tenantry(args).env("DATABASE_URL", url);
        match args[0] {
            "runs" | "migrate-public" => tenantry,
            _ => tenantry.arg("--tenant-migrations").arg(migrations.path()),
        }
    };
    for args in commands {
        let output = run(args).run();
        attacked.assert_nothing_executed(&format!("{args:?}: {}", output.stderr));
        assert!(matches!(output.code, Some(0 | 1)), "{args:?}: {:?} {}", output.code, output.stderr);
        assert!(!output.stderr.contains("server-error"), "{args:?}: {}", output.stderr);
    }
}

/// Shows that the traps work, without which the tests below would prove nothing.
#[test]
#[ignore = "long: make test-long"]
fn planted_code_is_detected_when_a_superuser_runs_it() {
    let attacked = Attacked::new();
    attacked.plant(&PLANT.replace(":schema", "public"));
    attacked.db.execute("SELECT 1::oid = 'pg_class'::regclass");
    assert_eq!(attacked.executed().as_deref(), Some("operator on oid, regclass"));
    attacked.db.execute("SELECT count('a'::name)");
    assert_eq!(attacked.executed().as_deref(), Some("function count(name)"));
    attacked.plant("SELECT 1::oid = 'pg_class'::regclass");
    assert_eq!(attacked.executed(), None, "code that runs as the attacker does not count");
}

#[test]
#[ignore = "long: make test-long"]
fn planted_code_never_runs_with_the_operators_privileges() {
    let attacked = Attacked::new();
    attacked.plant(&PLANT.replace(":schema", "public"));
    attacked.plant(&PLANT.replace(":schema", "mallory"));
    attack(&attacked, &attacked.db.url(), COMMANDS);
}

/// The operator's connection reads what a probe aims at, also in the schema of the attacker.
#[test]
#[ignore = "long: make test-long"]
fn planted_code_never_runs_with_the_operators_privileges_in_a_probe() {
    let attacked = Attacked::new();
    attacked.plant(&PLANT.replace(":schema", "public"));
    attacked.plant(
        "CREATE FUNCTION mallory.spring() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT trap.spring('function')::text $$; \
         CREATE TABLE mallory.secrets (id text DEFAULT 'secret-of-mallory-1'); INSERT INTO mallory.secrets DEFAULT VALUES; \
         CREATE VIEW mallory.view AS SELECT mallory.spring() AS id; \
         CREATE TABLE mallory.guarded (id text); INSERT INTO mallory.guarded VALUES ('secret-of-mallory-2'); \
         ALTER TABLE mallory.guarded ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY spring ON mallory.guarded USING (mallory.spring() IS NULL); \
         CREATE INDEX spring ON mallory.secrets ((id || mallory.spring()))",
    );
    let (db, victim) = (&attacked.db, format!("victim_{}", attacked.db.name()));
    db.execute(&format!(
        "CREATE ROLE {victim} LOGIN; GRANT USAGE ON SCHEMA acme TO {victim}; ALTER ROLE {} LOGIN",
        attacked.attacker
    ));
    for (role, tenant, other) in [(&victim, "acme", "mallory"), (&attacked.attacker, "mallory", "acme")] {
        let output = db.tenantry(["probe", "--as-role", role, "--tenant", tenant, other]).run();
        attacked.assert_nothing_executed(&format!("probe of {role}: {}", output.stderr));
        assert!(matches!(output.code, Some(0 | 1)), "{role}: {:?} {}", output.code, output.stderr);
    }
    db.execute(&format!("DROP OWNED BY {victim}; DROP ROLE {victim}"));
}

/// `repair-plan` counts the rows that a statement would lose. The server evaluates expressions of indexes as soon as it plans that.
#[test]
fn planted_code_never_runs_while_lost_rows_are_counted() {
    let attacked = Attacked::new();
    attacked.plant(
        "CREATE FUNCTION mallory.spring() RETURNS text LANGUAGE plpgsql IMMUTABLE AS \
         $$ BEGIN PERFORM trap.spring('index'); RETURN ''; END $$; \
         CREATE TABLE mallory.extra (id text); INSERT INTO mallory.extra VALUES ('1'), ('2'); \
         CREATE INDEX spring ON mallory.extra ((id || mallory.spring()))",
    );
    attacked.db.execute("GRANT USAGE ON SCHEMA trap TO PUBLIC; SELECT FROM mallory.extra WHERE id = ''");
    assert_eq!(attacked.executed().as_deref(), Some("index"), "the trap works");
    let (db, migrations) = (&attacked.db, older());
    let output = db
        .tenantry(["repair-plan", "mallory", "--allow-data-loss", "--tenant-migrations"])
        .arg(migrations.path())
        .run();
    attacked.assert_nothing_executed(&format!("repair-plan: {}", output.stderr));
    assert!(output.stdout.contains("(2 rows)"), "{}{}", output.stdout, output.stderr);
}

/// Behind a pooler the search path of the session is the server's default, which has `public` on it.
#[test]
#[ignore = "long: make test-long"]
fn planted_code_never_runs_behind_a_pooler() {
    let attacked = Attacked::new();
    attacked.plant(&PLANT.replace(":schema", "public"));
    attacked.plant(&PLANT.replace(":schema", "mallory"));
    let pooler = PgBouncer::start(server());
    attack(&attacked, &pooler.url(attacked.db.name()), COMMANDS);
}
