//! `adopt` with a baseline: what a dry run shows, how the structure is verified, and how a wrong baseline is replaced.

use crate::support::migrations::Dir;
use crate::support::{Database, Output, fleet, run_with, schemas, with};

/// Three migrations, and schemas that no tracker knows: `acme` and `globex` contain the first two of them and no ledger,
/// `empty` contains nothing.
fn existing() -> (Database, Dir) {
    let migrations = Dir::new()
        .add("1_orders", "CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL)")
        .down("DROP TABLE orders")
        .add(
            "2_cents",
            "ALTER TABLE orders ADD cents bigint NOT NULL DEFAULT 0; CREATE VIEW large AS SELECT FROM orders",
        )
        .down("DROP VIEW large; ALTER TABLE orders DROP cents")
        .add("3_notes", "CREATE TABLE notes (id bigint PRIMARY KEY)")
        .down("DROP TABLE notes");
    let db = fleet(&[]);
    for schema in ["acme", "globex"] {
        db.execute(&format!(
            "CREATE SCHEMA {schema}; SET search_path TO {schema}; \
             CREATE TABLE orders (id serial PRIMARY KEY, customer text NOT NULL); \
             ALTER TABLE orders ADD cents bigint NOT NULL DEFAULT 0; CREATE VIEW large AS SELECT FROM orders"
        ));
    }
    db.execute("CREATE SCHEMA empty");
    (db, migrations)
}

fn ledger(db: &Database, tenant: &str) -> String {
    db.strings(&format!("SELECT version FROM {tenant}.__diesel_schema_migrations ORDER BY 1")).join(" ")
}

#[track_caller]
fn assert_says(output: &Output, code: i32, texts: &[&str]) {
    output.assert_code(code);
    for text in texts {
        assert!(output.stderr.contains(text), "no {text:?} in {}", output.stderr);
    }
}

#[test]
fn schemas_to_adopt_are_read_from_a_file() {
    let (db, migrations) = existing();
    let adopt = with(&db, &migrations, &["adopt", "--from", "-", "--baseline", "cents"]);
    assert_says(&adopt.stdin("# customers\nacme\n\n globex \n").run(), 0, &["2 adopted (with 2 migrations recorded"]);
    let unknown = with(&db, &migrations, &["adopt", "--from", "nowhere", "--baseline", "cents"]).run();
    assert_says(&unknown, 2, &["cannot read nowhere"]);
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
}

#[test]
fn a_dry_run_shows_what_would_be_recorded_and_what_prevents_it() {
    let (db, migrations) = existing();
    run_with(&db, &migrations, &["create", "tracked"]).assert_code(0);
    run_with(&db, &migrations, &["adopt", "globex", "--baseline", "2"]).assert_code(0);
    let everything = || {
        let state = "SELECT concat(xmin, name, state) FROM schema_tracker UNION ALL SELECT concat(xmin, id) FROM schema_run \
                     UNION ALL SELECT concat(xmin, relname) FROM pg_class ORDER BY 1";
        (db.strings(state), schemas(&db))
    };
    let before = everything();
    let adopt = ["adopt", "acme", "globex", "empty", "nobody", "tracked", "--baseline", "2", "--dry-run"];
    let shown = run_with(&db, &migrations, &adopt);
    let rows: Vec<Vec<&str>> = shown.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1..], [vec!["acme", "1", "1", "1", "0", "2"], vec!["empty", "0", "0", "0", "0", "2"]]);
    // The ledger of a tenant that has applied more than the baseline agrees with it.
    assert_says(&shown, 1, &["error: tenant nobody: ", "2 schemas would be adopted, 2 unchanged, 1 refused"]);
    let document = run_with(&db, &migrations, &[&adopt[..], &["--format", "json"]].concat()).json();
    assert_eq!(document["adopt"][0]["recorded"], 2);
    assert_eq!(document["failed"][0]["tenant"], "nobody");
    // A schema with objects needs a baseline.
    let without = run_with(&db, &migrations, &["adopt", "acme", "empty", "--dry-run"]);
    assert_says(&without, 1, &["schema has objects but no migration ledger", "1 schema would be adopted, 1 refused"]);
    assert_eq!(everything(), before, "nothing is changed and no run is recorded");
}

#[test]
#[ignore = "long: make test-long"]
fn a_schema_that_differs_from_its_baseline_is_refused() {
    let (db, migrations) = existing();
    db.execute("ALTER TABLE globex.orders ALTER cents DROP NOT NULL; DROP VIEW globex.large");
    let adopt = |more: &[&str]| {
        run_with(&db, &migrations, &[&["adopt", "acme", "globex", "--verify", "--baseline", "2"], more].concat())
    };
    let differs =
        "tenant globex: 2 differences from the migrations up to 2: column.not-null orders.cents, view.missing large";
    assert_says(&adopt(&["--dry-run"]), 1, &[differs, "1 schema would be adopted, 1 refused"]);
    assert_says(&adopt(&[]), 1, &[differs, "1 adopted (with 2 migrations recorded as applied), 1 failed"]);
    assert_eq!(db.strings("SELECT name FROM schema_tracker"), ["acme"]);
    assert_eq!(schemas(&db), ["acme", "empty", "globex"]);
    db.execute(
        "ALTER TABLE globex.orders ALTER cents SET NOT NULL; CREATE VIEW globex.large AS SELECT FROM globex.orders",
    );
    assert_says(&adopt(&[]), 0, &["1 adopted"]);
    // A schema with a ledger is compared with the migrations in it.
    db.execute("DELETE FROM schema_tracker WHERE name = 'globex'; DROP VIEW globex.large");
    let with_ledger = run_with(&db, &migrations, &["adopt", "globex", "--verify"]);
    assert_says(&with_ledger, 1, &["1 difference from the migrations up to 2: view.missing large"]);
}

#[test]
#[ignore = "long: make test-long"]
fn a_wrong_baseline_is_replaced_unless_migrations_were_applied_since() {
    let (db, migrations) = existing();
    let adopt = |args: &[&str]| run_with(&db, &migrations, &[&["adopt"], args].concat());
    adopt(&["acme", "globex", "--baseline", "3"]).assert_code(0);
    let again = adopt(&["acme", "--baseline", "2"]);
    assert_eq!(ledger(&db, "acme"), "1 2 3", "without the option nothing is replaced: {}", again.stderr);
    let dry = adopt(&["acme", "--rebaseline", "--baseline", "2", "--dry-run"]);
    assert_says(&dry, 0, &["1 schema would be adopted"]);
    assert_eq!(ledger(&db, "acme"), "1 2 3");

    assert_says(&adopt(&["acme", "--rebaseline", "--baseline", "2"]), 0, &["1 adopted (with 2 migrations recorded"]);
    assert_eq!(ledger(&db, "acme"), "1 2");
    // Repeated, it changes nothing.
    assert_says(&adopt(&["acme", "--rebaseline", "--baseline", "2"]), 0, &["0 adopted, 1 unchanged"]);
    assert_says(&adopt(&["acme", "--rebaseline", "--baseline", "1"]), 0, &["1 adopted"]);
    assert_says(&adopt(&["acme", "--rebaseline", "--baseline", "2", "--verify"]), 0, &["1 adopted"]);
    // A tenant that was not adopted yet is adopted.
    assert_says(&adopt(&["empty", "--rebaseline", "--baseline", "1"]), 0, &["1 adopted"]);

    run_with(&db, &migrations, &["migrate-one", "acme"]).assert_code(0);
    let run = db.string("SELECT max(id) FROM schema_run");
    let since = format!("cannot replace the baseline: run {run} (migrate-one) has changed its migrations since");
    assert_says(&adopt(&["acme", "--rebaseline", "--baseline", "1"]), 1, &[&since]);
    assert_says(&adopt(&["acme", "--rebaseline", "--baseline", "1", "--dry-run"]), 1, &[&since]);
    assert_eq!(ledger(&db, "acme"), "1 2 3");

    // Another tool changed the ledger, or the record was deleted.
    db.execute("DELETE FROM globex.__diesel_schema_migrations WHERE version = '1'");
    let other = "its ledger does not record exactly the migrations up to 3";
    assert_says(&adopt(&["globex", "--rebaseline", "--baseline", "2"]), 1, &[other]);
    db.execute("DELETE FROM schema_run_tenant");
    let no_record = "there is no record of the run that adopted it with a baseline";
    assert_says(&adopt(&["globex", "--rebaseline", "--baseline", "2"]), 1, &[no_record]);
    adopt(&["globex", "--rebaseline"]).assert_code(2);
}
