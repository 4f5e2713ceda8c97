//! `public.schema_ledger`: public migrations are recorded separately from diesel_cli's ledger.

use diesel::connection::SimpleConnection;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use crate::support::migrations::Dir;
use crate::support::{Database, Tenantry, set_up};

const DIESEL: &str = "public.__diesel_schema_migrations";

const TRACKER: [&str; 18] = [
    "20260105080000",
    "20260216080000",
    "20260504080000",
    "20260504090000",
    "20261128090000",
    "20261129090000",
    "20261129100000",
    "20261129110000",
    "20261129120000",
    "20261129130000",
    "20261130090000",
    "20261130100000",
    "20261130110000",
    "20261130120000",
    "20261130130000",
    "20261130140000",
    "20261130150000",
    "20261130160000",
];

const CREATE_DIESEL: &str = "CREATE TABLE IF NOT EXISTS public.__diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY \
                             NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);";

/// The state of an earlier release: all public migrations in Diesel's ledger.
fn downgrade(db: &Database) {
    db.execute(&format!(
        "{CREATE_DIESEL} INSERT INTO {DIESEL} TABLE public.schema_ledger; DROP TABLE public.schema_ledger"
    ));
}

fn versions(db: &Database, table: &str) -> Vec<String> {
    db.strings(&format!("SELECT version FROM {table} ORDER BY 1"))
}

fn exists(db: &Database, table: &str) -> bool {
    db.string(&format!("SELECT to_regclass('{table}') IS NOT NULL")) == "true"
}

/// The project's public migrations.
fn plans() -> Dir {
    Dir::new()
        .add("20260301000000_plans", "CREATE TABLE plans (i int);")
        .down("DROP TABLE plans;")
        .add("20990102000000_prices", "CREATE TABLE prices (i int);")
        .down("DROP TABLE prices;")
}

fn migrate_public(db: &Database, dir: &Dir) -> Tenantry {
    db.tenantry(["migrate-public", "--public-migrations"]).arg(dir.path())
}

#[test]
fn new_database_has_its_own_public_ledger() {
    let db = Database::new();
    let report = db.tenantry(["migrate-public", "--format", "json"]).run();
    report.assert_code(0);
    let json = report.json();
    assert_eq!(json["applied"].as_array().map(Vec::len), Some(TRACKER.len()), "{json}");
    assert_eq!(json["version"], TRACKER[TRACKER.len() - 1]);
    assert_eq!((&json["moved"], &json["imported"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(versions(&db, "public.schema_ledger"), TRACKER);
    assert!(!exists(&db, DIESEL), "diesel_cli creates its own");
}

#[test]
fn diesel_reverts_project_migrations_and_not_the_tracker() {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    let dir = plans();
    let project = || FileBasedMigrations::from_path(dir.path()).unwrap();
    let mut conn = db.connect();
    conn.run_pending_migrations(project()).unwrap();
    assert_eq!(versions(&db, DIESEL), ["20260301000000", "20990102000000"]);
    for version in ["20990102000000", "20260301000000"] {
        assert_eq!(conn.revert_last_migration(project()).unwrap().to_string(), version);
    }
    assert!(conn.revert_last_migration(project()).is_err(), "there is no more to revert");
    assert_eq!(
        (versions(&db, DIESEL).len(), versions(&db, "public.schema_ledger")),
        (0, TRACKER.map(String::from).to_vec())
    );
    let list = db.tenantry(["list"]).run();
    list.assert_code(0);
    assert!(list.stdout.contains("acme") && !list.stderr.contains("warning"), "{}{}", list.stdout, list.stderr);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn ledger_of_an_earlier_release_is_upgraded() {
    let db = set_up();
    let dir = plans();
    migrate_public(&db, &dir).run().assert_code(0);
    downgrade(&db);
    db.execute(&format!("INSERT INTO {DIESEL} (version) VALUES ('20250101000000')"));
    let times = db.strings(&format!("SELECT run_on FROM {DIESEL} WHERE version <> '20250101000000' ORDER BY version"));
    let upgraded = migrate_public(&db, &dir).run();
    upgraded.assert_code(0);
    assert_eq!(
        upgraded.stderr,
        format!(
            "{} rows moved from public.__diesel_schema_migrations to public.schema_ledger\n\
             the public migrations are up to date\n",
            TRACKER.len() + 2
        )
    );
    assert_eq!(versions(&db, DIESEL), ["20250101000000"], "it is diesel_cli's");
    let mut all: Vec<&str> = TRACKER.into_iter().chain(["20260301000000", "20990102000000"]).collect();
    all.sort_unstable();
    assert_eq!(versions(&db, "public.schema_ledger"), all);
    assert_eq!(db.strings("SELECT run_on FROM public.schema_ledger ORDER BY version"), times);
    let again = migrate_public(&db, &dir).args(["--format", "json"]).run();
    again.assert_code(0);
    assert_eq!(again.json()["moved"], serde_json::json!([]));
    assert_eq!(again.json()["applied"], serde_json::json!([]));
    db.tenantry(["health-check", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn migrations_applied_by_diesel_are_imported() {
    let db = Database::new();
    let dir = plans();
    db.connect().run_pending_migrations(FileBasedMigrations::from_path(dir.path()).unwrap()).unwrap();
    db.execute(&format!("INSERT INTO {DIESEL} (version) VALUES ('20250101000000'); INSERT INTO plans VALUES (1)"));
    let dir = dir.add("20990103000000_later", "CREATE TABLE later (i int);").down("DROP TABLE later;");
    let first = migrate_public(&db, &dir).run();
    first.assert_code(0);
    let expected = format!(
        "2 public migrations recorded without running, applied by diesel_cli before: 20260301000000, 20990102000000\n\
         {} public migrations applied\n",
        TRACKER.len() + 1
    );
    assert_eq!(first.stderr, expected);
    assert_eq!(versions(&db, DIESEL), ["20250101000000", "20260301000000", "20990102000000"], "they are copied");
    assert_eq!(versions(&db, "public.schema_ledger").len(), TRACKER.len() + 3);
    let health = || db.tenantry(["health-check", "--public-migrations"]).arg(dir.path()).run();
    health().assert_code(0);
    migrate_public(&db, &dir).run().assert_code(0);

    // What diesel_cli applies later is pending until it is imported.
    let dir = dir.add("20990104000000_notes", "CREATE TABLE notes (i int);").down("DROP TABLE notes;");
    db.connect()
        .batch_execute(&format!("CREATE TABLE notes (i int); INSERT INTO {DIESEL} VALUES ('20990104000000')"))
        .unwrap();
    let health = db.tenantry(["health-check", "--public-migrations"]).arg(dir.path()).run();
    health.assert_code(1);
    let report = migrate_public(&db, &dir).args(["--format", "json"]).run();
    report.assert_code(0);
    assert_eq!(report.json()["imported"], serde_json::json!(["20990104000000"]));

    // A cleanup keeps the table of diesel_cli, with its rows.
    let cleanup = |args: &[&str]| db.tenantry(["cleanup", "--public-migrations"]).arg(dir.path()).args(args).run();
    let plan = cleanup(&["--dry-run", "--format", "json"]).json();
    assert_eq!(plan["kept"], serde_json::json!(["20260301000000", "20990102000000", "20990104000000"]));
    assert_eq!(
        (plan["revert"].as_array().map(Vec::len), &plan["drop_ledger"]),
        (Some(TRACKER.len() + 1), &serde_json::json!(true))
    );
    let done = cleanup(&["--yes"]);
    done.assert_code(0);
    let kept = "3 public migrations kept, recorded by diesel_cli in public.__diesel_schema_migrations: 20260301000000";
    assert!(done.stderr.contains(kept), "{}", done.stderr);
    assert_eq!(db.string("SELECT count(*) FROM plans"), "1");
    assert!(exists(&db, "public.notes") && !exists(&db, "public.later") && !exists(&db, "public.schema_ledger"));
    assert_eq!(versions(&db, DIESEL).len(), 4);
    let again = migrate_public(&db, &dir).args(["--format", "json"]).run();
    assert_eq!(again.json()["imported"].as_array().map(Vec::len), Some(3), "{}", again.stderr);
}

/// An earlier release recorded migrations as public that diesel_cli had applied before it; these remain diesel_cli's.
#[test]
fn migrations_applied_before_the_tracker_are_copied() {
    let db = set_up();
    let dir = plans();
    migrate_public(&db, &dir).run().assert_code(0);
    downgrade(&db);
    db.execute(&format!("UPDATE {DIESEL} SET run_on = '2020-01-01' WHERE version = '20260301000000'"));
    let report = migrate_public(&db, &dir).args(["--format", "json"]).run();
    report.assert_code(0);
    assert_eq!(report.json()["imported"], serde_json::json!(["20260301000000"]));
    assert_eq!(versions(&db, DIESEL), ["20260301000000"]);
}

#[test]
#[ignore = "long: make test-long"]
fn a_database_of_an_earlier_release_works_until_it_is_upgraded() {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    downgrade(&db);
    let before = db.strings(&format!("SELECT concat(version, ' ', xmin, ' ', ctid) FROM {DIESEL} ORDER BY 1"));
    let list = db.tenantry(["list"]).run();
    list.assert_code(0);
    assert!(list.stdout.contains("acme"));
    let warning = "warning: the public migrations are recorded in diesel_cli's ledger, as an earlier release did\n\
                hint: run 'tenantry migrate-public' to move them to public.schema_ledger\n";
    assert!(list.stderr.starts_with(warning), "{}", list.stderr);
    let health = db.tenantry(["health-check", "--format", "json"]).run();
    health.assert_code(1);
    let findings = &health.json()["findings"];
    assert_eq!(findings.as_array().map(Vec::len), Some(1), "{findings}");
    assert_eq!(findings[0]["code"], "tracker-behind");
    for args in [&["migrate-all"][..], &["migrate-all", "--dry-run"], &["cleanup", "--dry-run"], &["diff", "acme"]] {
        db.tenantry(args).run().assert_code(0);
    }
    assert!(!exists(&db, "public.schema_ledger"));
    let after = db.strings(&format!("SELECT concat(version, ' ', xmin, ' ', ctid) FROM {DIESEL} ORDER BY 1"));
    assert_eq!(after, before);
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn concurrent_upgrades_move_the_ledger_once() {
    let db = set_up();
    downgrade(&db);
    let runs: Vec<_> = (0..4).map(|_| db.tenantry(["migrate-public", "--format", "json"]).spawn()).collect();
    let reports: Vec<_> = runs.into_iter().map(|run| run.wait()).collect();
    for report in &reports {
        report.assert_code(0);
    }
    let moved: usize =
        reports.iter().map(|report| report.json()["moved"].as_array().map_or(0, |moved| moved.len())).sum();
    assert_eq!((moved, versions(&db, "public.schema_ledger")), (TRACKER.len(), TRACKER.map(String::from).to_vec()));
    assert_eq!(versions(&db, DIESEL).len(), 0);
}

/// Code attached to the ledgers by other roles would run with the operator's privileges.
#[test]
fn a_ledger_that_runs_code_is_refused() {
    let db = set_up();
    downgrade(&db);
    db.execute(&format!(
        "CREATE TABLE public.seen (i int); \
         CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO public.seen VALUES (1); RETURN OLD; END'; \
         CREATE TRIGGER planted BEFORE DELETE ON {DIESEL} FOR EACH ROW EXECUTE FUNCTION public.planted()"
    ));
    let refused = db.tenantry(["migrate-public"]).run();
    refused.assert_code(3);
    assert!(refused.stderr.contains("public.__diesel_schema_migrations is not a plain table"), "{}", refused.stderr);
    assert_eq!(
        (versions(&db, DIESEL).len(), exists(&db, "public.schema_ledger")),
        (TRACKER.len(), false),
        "nothing is changed"
    );
    db.execute(&format!("DROP TRIGGER planted ON {DIESEL}"));
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db.execute(
        "ALTER TABLE public.schema_ledger RENAME TO ledger; \
         CREATE FUNCTION public.seen() RETURNS timestamp LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO public.seen VALUES (2); RETURN now(); END'; \
         CREATE VIEW public.schema_ledger AS SELECT version, public.seen() AS run_on FROM public.ledger",
    );
    db.tenantry(["migrate-public"]).run().assert_code(3);
    assert_eq!(db.string("SELECT count(*) FROM public.seen"), "0");
}

#[test]
fn older_release_fails_without_changes() {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    // The message of the old release: it finds none of its migrations applied, and creates the tracker.
    let up = include_str!("../../migrations/public/20260105080000_create_schema_tracker/up.sql");
    let message =
        format!("BEGIN; {CREATE_DIESEL} {up}; INSERT INTO {DIESEL} (version) VALUES ('20260105080000'); COMMIT;");
    let error = db.connect().batch_execute(&message).unwrap_err().to_string();
    assert!(error.contains("relation \"schema_tracker\" already exists"), "{error}");
    assert!(!exists(&db, DIESEL), "it is rolled back");
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "acme\n");
}

#[test]
fn a_database_of_an_earlier_release_is_cleaned_up() {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    downgrade(&db);
    db.execute(&format!("INSERT INTO {DIESEL} (version) VALUES ('20250101000000')"));
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
    assert_eq!(versions(&db, DIESEL), ["20250101000000"], "it is diesel_cli's");
    assert!(!exists(&db, "public.schema_tracker") && !exists(&db, "public.schema_ledger"));
    db.tenantry(["migrate-public"]).run().assert_code(0);
}

/// A wait is shown after three seconds; one that the lock timeout ends, when it is repeated.
#[test]
#[ignore = "long: make test-long"]
fn waits_for_locks_of_a_public_migration_are_shown() {
    for timeout in ["60s", "300ms"] {
        let db = set_up();
        db.execute("CREATE TABLE public.plans (id int)");
        let dir = Dir::new().add("20270101000000_plans", "ALTER TABLE public.plans ADD COLUMN name text;");
        let mut holder = db.connect();
        holder.batch_execute("SET application_name TO 'nightly report'; BEGIN; LOCK TABLE public.plans").unwrap();
        let run = migrate_public(&db, &dir).args(["--lock-timeout", timeout]).spawn();
        let line = run.wait_for_stderr_line("schema public has waited ");
        assert!(line.contains("blocked by process") && line.contains("application nightly report"), "{line}");
        holder.batch_execute("ROLLBACK").unwrap();
        let ended = run.wait();
        ended.assert_code(0);
        assert_eq!(ended.stderr.matches("has waited").count(), 1, "{}", ended.stderr);
    }
}
