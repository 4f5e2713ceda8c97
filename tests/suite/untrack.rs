//! `untrack`: a tenant is removed from the tracker, and its schema is unchanged.

use diesel::connection::SimpleConnection;
use tenantry::operations::{UntrackPlan, plan_untrack};
use tenantry::{Database as Library, MigrationSet, Stop, Tenancy};

use crate::support::migrations::Dir;
use crate::support::{Database, Output, Screen, Terminal, connector, fleet, run_with};

/// Every object in the schemas, and the transaction that last changed it.
fn contents(db: &Database) -> Vec<String> {
    db.strings(
        "SELECT concat_ws(' ', oid, xmin, relname) FROM pg_class WHERE relnamespace IN ('acme'::regnamespace, \
         'globex'::regnamespace) UNION ALL SELECT concat(xmin, version) FROM acme.__diesel_schema_migrations ORDER BY 1",
    )
}

fn names(db: &Database) -> String {
    db.strings("SELECT name FROM schema_tracker ORDER BY 1").join(" ")
}

#[track_caller]
fn assert_says(output: &Output, code: i32, texts: &[&str]) {
    output.assert_code(code);
    for text in texts {
        assert!(output.stderr.contains(text), "no {text:?} in {}", output.stderr);
    }
}

#[test]
fn a_tenant_is_forgotten_and_adopted_again_without_a_change() {
    let db = fleet(&["acme", "globex"]);
    db.execute("INSERT INTO schema_stamp (tenant, stamp, context) SELECT id, 1, '' FROM schema_tracker");
    let before = contents(&db);
    let dry = db.tenantry(["untrack", "acme", "--dry-run"]).run();
    assert_says(&dry, 0, &["1 tenant would be untracked"]);
    assert_eq!(names(&db), "acme globex");

    let output = db.tenantry(["untrack", "acme", "--yes"]).run();
    assert_says(&output, 0, &["1 untracked", "'tenantry adopt NAME' takes a tenant back"]);
    assert_eq!((names(&db), contents(&db)), ("globex".to_owned(), before.clone()));
    assert_eq!(db.count("SELECT count(*) FROM schema_stamp"), 1);
    assert_eq!(db.string("SELECT command || ' ' || outcome FROM schema_run ORDER BY id DESC LIMIT 1"), "untrack done");
    let health = db.tenantry(["health-check"]).run();
    assert!(health.assert_code(1).stdout.contains("schema acme is not tracked"), "{}", health.stdout);

    db.tenantry(["adopt", "acme"]).run().assert_code(0);
    assert_eq!((names(&db), contents(&db)), ("acme globex".to_owned(), before));
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn it_asks_for_confirmation() {
    let db = fleet(&["acme", "globex"]);
    assert_says(&db.tenantry(["untrack", "acme"]).run(), 4, &["confirmation required, but there is no terminal"]);
    for (answer, code) in [("n", 4), ("y", 0)] {
        let mut terminal = Terminal::spawn(db.tenantry(["untrack", "acme", "globex"]));
        terminal.expect("Remove 2 tenants (acme, globex) from the tracker of database").type_line(answer);
        Screen::of(&mut terminal).assert_code(code);
    }
    assert_eq!(names(&db), "");
}

#[test]
fn names_come_from_a_file_and_unknown_ones_are_refused() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA stray");
    let output =
        db.tenantry(["untrack", "--from", "-", "--yes", "--format", "json"]).stdin("acme\nacem\nstray\n").run();
    let document = output.assert_code(1).json();
    assert_eq!(document["untracked"], serde_json::json!(["acme"]));
    let failed = document["failed"].as_array().expect("a list");
    assert_eq!([&failed[0]["code"], &failed[1]["code"]], ["not-tracked", "not-tracked"]);
    assert!(output.stderr.contains("a tenant with a similar name is acme"), "{}", output.stderr);
    assert_eq!(names(&db), "globex");
}

#[test]
fn a_tenant_that_a_run_works_on_or_that_is_being_dropped_is_refused() {
    let db = fleet(&["acme", "globex"]);
    db.execute("UPDATE schema_tracker SET state = 'dropping' WHERE name = 'globex'");
    let mut run = db.connect();
    run.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenantry:acme', 0))").expect("the lock");
    let refused = db.tenantry(["untrack", "acme", "globex", "--yes", "--format", "json"]).run();
    let document = refused.assert_code(1).json();
    let codes: Vec<&str> =
        document["failed"].as_array().expect("a list").iter().filter_map(|failed| failed["code"].as_str()).collect();
    assert_eq!(codes, ["dropping", "busy"]);
    assert_eq!(names(&db), "acme globex");
    run.batch_execute("ROLLBACK").expect("the end");
    db.tenantry(["untrack", "acme", "--yes"]).run().assert_code(0);
}

#[test]
fn the_note_of_an_unfinished_migration_goes_with_the_tenant() {
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)");
    let db = fleet(&[]);
    run_with(&db, &migrations, &["create", "acme"]).assert_code(0);
    db.execute(
        "UPDATE schema_tracker SET unfinished_version = '2', unfinished_statements = 1, unfinished_digest = '', \
         unfinished_in_doubt = false",
    );
    run_with(&db, &migrations, &["untrack", "acme", "--yes"]).assert_code(0);
    run_with(&db, &migrations, &["adopt", "acme"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE unfinished_version IS NULL"), 1);
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
}

#[test]
fn the_library_untracks_tenants() {
    let db = fleet(&["acme", "globex"]);
    let tenancy = Tenancy::new(MigrationSet::none()).expect("the tracker's migrations");
    let mut library = Library::connect(connector(&db.url()), 1).expect("a connection");
    let names = ["acme".parse().expect("a name"), "nobody".parse().expect("a name")];
    let plan: UntrackPlan = plan_untrack(&mut library, &tenancy, &names).expect("a plan");
    let report = library.untrack(&tenancy, plan, &Stop::default()).expect("a report");
    assert_eq!((report.untracked.as_slice(), report.failed.len(), report.is_success()), (&names[..1], 1, false));
    assert_eq!(self::names(&db), "globex");
}
