//! Repeatable migrations: applied after the versioned ones, and again when they change.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tenantry::application::Tenants;
use tenantry::{Embedded, MigrationSet, Tenancy, embed_migrations};

use crate::assert_snapshot;
use crate::support::{Database, Output, Tenantry, connector, set_up};

/// Folders with versioned and repeatable migrations beside each other.
struct Project(tempfile::TempDir);

const TOTALS: &str = "CREATE OR REPLACE VIEW totals AS SELECT count(*) AS orders FROM orders;";

impl Project {
    /// A table, a function that returns 1, and a view.
    fn new() -> Self {
        let project = Self(tempfile::tempdir().expect("a folder"));
        project.versioned("1_orders", "CREATE TABLE orders (id int PRIMARY KEY)", "DROP TABLE orders CASCADE");
        project.repeatable("answer.sql", &answer(1));
        project.repeatable("totals.sql", TOTALS);
        project
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn versioned(&self, folder: &str, up: &str, down: &str) {
        let folder = self.path("tenant").join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("up.sql"), up).expect("a file");
        fs::write(folder.join("down.sql"), down).expect("a file");
    }

    fn repeatable(&self, file: &str, sql: &str) {
        fs::create_dir_all(self.path("repeatable")).expect("a folder");
        fs::write(self.path("repeatable").join(file), sql).expect("a file");
    }

    fn tenantry(&self, db: &Database, args: &[&str]) -> Tenantry {
        let root = self.0.path().to_string_lossy();
        db.tenantry(args).arg("--tenant-migrations").arg(self.path("tenant")).hide(root, "PROJECT")
    }

    #[track_caller]
    fn run(&self, db: &Database, args: &[&str]) -> Output {
        let output = self.tenantry(db, args).run();
        output.assert_code(0);
        output
    }

    fn pending(&self, db: &Database) -> Vec<i64> {
        let document = self.run(db, &["list", "--format", "json"]).json();
        document["tenants"].as_array().expect("a list").iter().filter_map(|tenant| tenant["pending"].as_i64()).collect()
    }
}

fn answer(number: i32) -> String {
    format!("-- The answer.\nCREATE OR REPLACE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT {number}';")
}

fn versions(db: &Database, tenant: &str) -> Vec<String> {
    db.strings(&format!("SELECT version FROM {tenant}.__diesel_schema_migrations ORDER BY 1"))
}

fn recorded(db: &Database, tenant: &str) -> Vec<String> {
    let sql = "SELECT key FROM schema_tracker, jsonb_each_text(repeatables) WHERE length(value) = 64 AND name =";
    db.strings(&format!("{sql} '{tenant}' ORDER BY 1"))
}

#[test]
fn they_are_applied_after_the_versioned_ones_and_again_when_they_change() {
    let (db, project) = (set_up(), Project::new());
    project.run(&db, &["create", "acme", "globex"]);
    assert_eq!(db.count("SELECT acme.answer() + orders FROM acme.totals"), 1);
    // Diesel's ledger has the versioned ones only.
    assert_eq!(
        (versions(&db, "acme"), recorded(&db, "acme")),
        (vec!["1".to_owned()], vec!["answer.sql".to_owned(), "totals.sql".to_owned()])
    );
    assert_eq!(project.pending(&db), [0, 0]);
    project.run(&db, &["health-check"]);
    project.run(&db, &["diff", "acme", "globex"]);
    // A comment is no change.
    project.repeatable("answer.sql", &answer(1).replace("The answer", "The only answer"));
    assert_eq!(project.pending(&db), [0, 0]);

    project.repeatable("answer.sql", &answer(2));
    assert_eq!(project.pending(&db), [1, 1]);
    let health = project.tenantry(&db, &["health-check", "--format", "json"]).run();
    let document = health.assert_code(1).json();
    assert_eq!(document["findings"][0]["code"], "missing-migrations", "{document}");
    assert_eq!(document["findings"][0]["items"], json!(["repeatable/answer.sql"]));
    assert_eq!(document["unchecked"][0]["reason"], "its repeatable migrations must be applied again");
    assert_snapshot!(project.tenantry(&db, &["migrate-all", "--dry-run"]).run(), @r"
        TENANT  VERSION  PENDING
        acme    1        repeatable/answer.sql
        globex  1        repeatable/answer.sql
        --- stderr
        tenant migrations: PROJECT/tenant (1 in all, newest 1, 2 repeatable)
        repeatable/answer.sql: 2 tenants behind
        2 would be migrated, 0 up to date
        --- exit 0
    ");
    assert_eq!(db.count("SELECT acme.answer()"), 1);
    let migrated = project.run(&db, &["migrate-all", "--verify"]);
    assert!(migrated.stderr.contains("2 migrated"), "{}", migrated.stderr);
    assert_eq!(db.count("SELECT acme.answer() + globex.answer()"), 4);
    assert!(project.run(&db, &["migrate-all", "--verify"]).stderr.contains("0 migrated, 2 unchanged"));
    project.run(&db, &["health-check", "--full"]);
    // A copy of a tenant has applied the same.
    project.run(&db, &["clone", "acme", "initech"]);
    assert_eq!((project.pending(&db), recorded(&db, "initech").len()), (vec![0, 0, 0], 2));
    project.run(&db, &["health-check"]);
    project.run(&db, &["drop", "initech", "--yes"]);

    // A versioned migration comes before them, and is not out of order.
    project.versioned("2_notes", "ALTER TABLE orders ADD note text", "ALTER TABLE orders DROP note CASCADE");
    project.repeatable("notes.sql", "CREATE OR REPLACE VIEW notes AS SELECT note FROM orders;");
    project.run(&db, &["migrate-one", "acme"]);
    let behind = project.tenantry(&db, &["health-check", "--format", "json"]).run().json();
    assert_eq!(behind["findings"][0]["items"][0], "2", "{behind}");
    assert_eq!((&behind["findings"].as_array().map(Vec::len), &behind["checked"]), (&Some(1), &json!(2)));
    project.run(&db, &["migrate-all", "--verify", "--canary", "1"]);
    assert_eq!((versions(&db, "globex").len(), recorded(&db, "globex").len()), (2, 3));
    project.run(&db, &["health-check"]);
}

#[test]
fn a_failure_names_the_file_and_rolls_back_the_tenant() {
    let (db, project) = (set_up(), Project::new());
    project.run(&db, &["create", "acme"]);
    project.versioned("2_notes", "ALTER TABLE orders ADD note text", "ALTER TABLE orders DROP note");
    project.repeatable("answer.sql", &answer(2));
    project.repeatable("wrong.sql", "CREATE OR REPLACE VIEW wrong AS SELECT missing FROM orders;");
    let before = (versions(&db, "acme"), db.string("SELECT repeatables FROM schema_tracker"));
    let failed = project.tenantry(&db, &["migrate-all", "--format", "json"]).run();
    let document = failed.assert_code(1).json();
    let migration = &document["failed"][0]["migration"];
    assert_eq!((&migration["folder"], &migration["file"]), (&json!("repeatable"), &json!("wrong.sql")), "{document}");
    assert!(failed.stderr.contains("migration repeatable/wrong.sql:"), "{}", failed.stderr);
    assert_eq!((versions(&db, "acme"), db.string("SELECT repeatables FROM schema_tracker")), before);
    assert_eq!(db.count("SELECT acme.answer()"), 1);
    // A file that breaks the rules is refused before anything runs.
    project.repeatable("wrong.sql", "SELECT 1; COMMIT");
    let refused = project.tenantry(&db, &["migrate-all"]).run();
    assert!(
        refused.assert_code(2).stderr.contains("repeatable/wrong.sql:1: COMMIT is not allowed"),
        "{}",
        refused.stderr
    );
    // lint reports what cannot be executed again.
    project.repeatable("wrong.sql", "CREATE VIEW wrong AS SELECT 1;");
    let lint = project.tenantry(&db, &["lint"]).run();
    assert!(lint.assert_code(1).stdout.contains("repeatable/wrong.sql:1: not-repeatable"), "{}", lint.stdout);
    let github = project.tenantry(&db, &["lint", "--format", "github"]).run();
    assert!(github.stdout.contains("/repeatable/wrong.sql,line=1"), "{}", github.stdout);
}

#[test]
fn reverts_targets_and_adoption_leave_them_consistent() {
    let (db, project) = (set_up(), Project::new());
    project.run(&db, &["create", "acme"]);
    project.versioned("2_notes", "CREATE TABLE notes (i int)", "DROP TABLE notes");
    // With an older target they are not applied.
    project.repeatable("answer.sql", &answer(2));
    project.run(&db, &["migrate-all", "--to", "1"]);
    assert_eq!(db.count("SELECT acme.answer()"), 1);
    project.run(&db, &["migrate-all", "--to", "2"]);
    assert_eq!(db.count("SELECT acme.answer()"), 2);
    project.run(&db, &["revert-one", "acme", "--steps", "1", "--yes"]);
    // A revert may drop what they have made: all of them are pending, and are applied again after a versioned migration.
    assert_eq!((versions(&db, "acme").len(), recorded(&db, "acme").len()), (1, 0));
    assert_eq!(project.pending(&db), [3]);
    project.run(&db, &["redo", "acme", "--yes"]);
    assert_eq!(db.count("SELECT count(*) FROM pg_views WHERE schemaname = 'acme'"), 0);
    project.run(&db, &["migrate-all", "--verify"]);
    assert_eq!(recorded(&db, "acme").len(), 2);
    project.run(&db, &["health-check"]);
    project.versioned("3_drop", "DROP VIEW IF EXISTS totals; ALTER TABLE orders ALTER id TYPE bigint", "SELECT 1");
    project.run(&db, &["migrate-all", "--verify"]);
    project.run(&db, &["health-check"]);
    // An adopted tenant gets them again.
    project.run(&db, &["untrack", "acme", "--yes"]);
    project.run(&db, &["adopt", "acme"]);
    assert_eq!(project.pending(&db), [2]);
    project.run(&db, &["migrate-all", "--verify"]);
    // What a deleted file has made remains, and is drift.
    fs::remove_file(project.path("repeatable").join("totals.sql")).expect("the file");
    assert_eq!(project.pending(&db), [0]);
    let health = project.tenantry(&db, &["health-check", "--format", "json"]).run();
    assert_eq!(health.assert_code(1).json()["findings"][0]["code"], "view.extra");
}

/// With many migrations, a tenant is created from a snapshot of what they produce.
#[test]
fn they_are_part_of_the_snapshot_that_tenants_are_created_from() {
    let (db, project) = (set_up(), Project::new());
    for number in 2..30 {
        project.versioned(&format!("{number:02}_t"), &format!("CREATE TABLE t{number} (i int)"), "SELECT 1");
    }
    fs::rename(project.path("tenant/1_orders"), project.path("tenant/01_orders")).expect("the folder");
    project.run(&db, &["create", "acme"]);
    assert_eq!(db.count("SELECT count(*) FROM schema_snapshot"), 1);
    assert_eq!(
        (db.count("SELECT acme.answer()"), recorded(&db, "acme").len(), versions(&db, "acme").len()),
        (1, 2, 29)
    );
    project.repeatable("answer.sql", &answer(2));
    project.run(&db, &["create", "globex"]);
    assert_eq!(project.pending(&db), [1, 0]);
    project.run(&db, &["migrate-all", "--verify"]);
    project.run(&db, &["health-check"]);
}

static REPEATABLE: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/tests/suite/repeatable/embedded");
static EMBEDDED: Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant").with_repeatable(&REPEATABLE);

#[test]
fn an_application_embeds_them() {
    let db = set_up();
    let set = MigrationSet::from_embedded(&EMBEDDED).expect("the migrations");
    assert_eq!((set.versioned_len(), set.len()), (5, 6));
    let pool = diesel::r2d2::Pool::builder().max_size(1);
    let pool = pool.build(diesel::r2d2::ConnectionManager::new(db.url())).expect("a pool");
    let tenants = Tenants::new(pool, connector(&db.url()), Tenancy::new(set).expect("a tenancy"));
    tenants.create(&"acme".parse().expect("a name")).expect("a tenant");
    assert_eq!(db.string("SELECT acme.greeting()"), "hello");
    assert_eq!(recorded(&db, "acme"), ["greeting.sql"]);
    tenants.migrate().expect("nothing to do");
}
