//! Names that SQL must quote: every command works with tenants that have them.

use std::collections::HashMap;

use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, binaries, set_up, with};

/// Names that PostgreSQL allows for a schema. None differs from another only by case.
fn unusual() -> Vec<String> {
    let longest = "é".repeat(31) + "x";
    [
        "acme-corp",
        "9lives",
        "Ünïcode",
        "has space",
        " padded ",
        "quo\"te",
        "\"",
        "it's",
        "back\\slash",
        "UPPER",
        "0b3a6c1e-58a2-4c39-9d0e-3f2b7a5d1c44",
        "a.b",
        "acme.",
        "a,b",
        "%s",
        "$1",
        "$$",
        "$ledger",
        "$tenant",
        ";drop",
        "(x|y)*",
        "select",
        "orders",
        "名前",
        &longest,
    ]
    .map(str::to_owned)
    .into()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Migrations in whose objects the server writes the name of the schema in many ways.
fn migrations() -> Dir {
    Dir::new()
        .add(
            "1_orders",
            "CREATE TYPE state AS ENUM ('open', 'paid'); CREATE SEQUENCE numbers; \
             CREATE FUNCTION twice(i integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2 * i'; \
             CREATE TABLE orders (id serial PRIMARY KEY, number bigint NOT NULL DEFAULT nextval('numbers'), \
                 state state NOT NULL DEFAULT 'open', cents integer CHECK (twice(cents) > 0)); \
             CREATE INDEX orders_twice_idx ON orders (twice(cents)); \
             CREATE VIEW open_orders AS SELECT o.* FROM orders o WHERE o.state = 'open'; \
             CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch(); \
             CREATE FUNCTION total() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT sum(cents) FROM orders; END; \
             DO $$ BEGIN EXECUTE format('ALTER FUNCTION total() SET search_path = %I, pg_temp', current_schema()); END $$",
        )
        .down("SELECT 1")
        .add("2_notes", "ALTER TABLE orders ADD note text; CREATE INDEX orders_note_idx ON orders (note)")
        .down("ALTER TABLE orders DROP note")
}

fn run(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    with(db, migrations, args).run()
}

/// A fleet of them, at the first migration.
fn fleet(names: &[String]) -> (Database, Dir) {
    let (db, migrations) = (set_up(), migrations());
    migrations.remove("2_notes");
    with(&db, &migrations, &["create", "--any-name"]).args(names).run().assert_code(0);
    (db, self::migrations())
}

#[test]
#[ignore = "long: make test-long"]
fn every_command_works_with_every_name_of_a_schema() {
    let mut names = unusual();
    let (db, migrations) = fleet(&names);
    names.sort();
    let run = |args: &[&str]| run(&db, &migrations, args);
    let listed = |args: &[&str]| -> Vec<String> {
        let tenants = run(args).assert_code(0).json()["tenants"].as_array().expect("a list").clone();
        tenants.iter().map(|tenant| tenant["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(listed(&["list", "--format", "json"]), names);
    assert_eq!(run(&["list", "--names"]).assert_code(0).stdout, names.join("\n") + "\n");

    let first = &names[names.len() - 1];
    run(&["migrate-one", first]).assert_code(0);
    run(&["revert-one", first, "--steps", "1", "--yes"]).assert_code(0);
    run(&["migrate-all", "--verify", "--canary", "2"]).assert_code(0);
    let checked = run(&["health-check", "--format", "json"]).assert_code(0).json();
    assert_eq!((checked["healthy"].as_bool(), checked["checked"].as_u64()), (Some(true), Some(names.len() as u64)));
    // Each alone is read in full.
    for name in &names {
        assert_eq!(run(&["diff", name]).assert_code(0).stdout, "", "{name}");
        run(&["health-check", name]).assert_code(0);
        let schema = db.tenantry(["print-schema", name]).run();
        assert!(schema.assert_code(0).stdout.contains("orders (id)"), "{name}: {}", schema.stdout);
    }
    run(&["diff", "acme-corp", "it's"]).assert_code(0);
    let shown = db.tenantry(["runs", "show", "4", "--format", "json"]).run().assert_code(0).stdout.clone();
    assert!(names.iter().all(|name| shown.contains(&serde_json::to_string(name).unwrap())), "{shown}");

    // The suggested command names exactly the tenants that failed.
    db.execute("ALTER TABLE \"has space\".orders DROP note; ALTER TABLE \"(x|y)*\".orders DROP note");
    let failed = run(&["revert-all", "--steps", "1", "--yes"]);
    let hint = failed.assert_code(1).stderr.clone();
    let hint = hint.lines().find(|line| line.starts_with("hint: to retry")).expect("a hint").to_owned();
    assert!(hint.contains(r"--match '^(\(x\|y\)\*|has space)$'"), "{hint}");

    run(&["drop", "--yes", &names[0], &names[1], &names[2]]).assert_code(0);
    assert_eq!(listed(&["list", "--format", "json"]), names[3..]);
    run(&["cleanup", "--yes"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"), 0);
}

#[test]
#[ignore = "long: make test-long"]
fn drift_of_a_tenant_with_any_name_is_found_and_repaired() {
    let names = unusual();
    let (db, migrations) = fleet(&names);
    run(&db, &migrations, &["migrate-all"]).assert_code(0);
    for name in &names {
        let schema = quoted(name);
        db.execute(&format!(
            "ALTER TABLE {schema}.orders ALTER number DROP DEFAULT; DROP VIEW {schema}.open_orders; \
             DROP INDEX {schema}.orders_twice_idx; ALTER FUNCTION {schema}.total() RESET search_path"
        ));
    }
    let findings = run(&db, &migrations, &["health-check", "--format", "json"]).assert_code(1).json();
    let mut kinds: HashMap<String, Vec<String>> = HashMap::new();
    for finding in findings["findings"].as_array().expect("a list") {
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        kinds.entry(text(&finding["tenant"])).or_default().push(text(&finding["difference"]["code"]));
    }
    for name in &names {
        let mut codes = kinds.remove(name).unwrap_or_default();
        codes.sort();
        assert_eq!(codes, ["column.default", "function.settings", "index.missing", "view.missing"], "{name}");
        let plan = run(&db, &migrations, &["repair-plan", name]);
        plan.assert_code(0);
        let psql = Tenantry::of_program(binaries().psql().expect("psql"));
        let psql = psql.args(["-q", "-v", "ON_ERROR_STOP=1", &db.url()]).stdin(plan.stdout);
        psql.run().assert_code(0);
        assert_eq!(run(&db, &migrations, &["diff", name]).assert_code(0).stdout, "", "{name}");
    }
    run(&db, &migrations, &["health-check"]).assert_code(0);
}

#[test]
fn a_reference_to_another_tenant_is_found_whatever_their_names_are() {
    let names: Vec<String> = ["acme-corp", "it's", "quo\"te", "has space"].map(str::to_owned).into();
    let (db, migrations) = fleet(&names);
    for (name, other) in names.iter().zip(names.iter().cycle().skip(1)) {
        let constant = format!("{}.numbers", quoted(other)).replace('\'', "''");
        db.execute(&format!("ALTER TABLE {}.orders ALTER number SET DEFAULT nextval('{constant}')", quoted(name)));
    }
    let health =
        run(&db, &migrations, &["health-check", "--fail-on", "security", "--format", "json"]).assert_code(1).json();
    let findings = health["findings"].as_array().expect("a list").clone();
    let of = |name: &str| {
        let is_it = |finding: &&serde_json::Value| finding["tenant"] == name && !finding["difference"].is_null();
        findings.iter().filter(is_it).map(|finding| finding["level"].clone()).collect::<Vec<_>>()
    };
    assert!(names.iter().all(|name| of(name) == ["security"]), "{findings:?}");
}

#[test]
#[ignore = "long: make test-long"]
fn an_existing_schema_with_any_name_is_adopted() {
    let names = unusual();
    let (db, migrations) = fleet(&names);
    db.execute("DELETE FROM schema_tracker");
    let again = with(&db, &migrations, &["adopt"]).args(&names).run();
    assert!(again.assert_code(0).stderr.contains(&format!("{} adopted", names.len())), "{}", again.stderr);
    run(&db, &migrations, &["migrate-all"]).assert_code(0);
    run(&db, &migrations, &["health-check"]).assert_code(0);

    // The baseline of a schema without a ledger is replaced, and the tenant is forgotten.
    for name in &names {
        let schema = quoted(name);
        db.execute(&format!("ALTER TABLE {schema}.orders DROP note; DROP TABLE {schema}.__diesel_schema_migrations"));
    }
    with(&db, &migrations, &["untrack", "--yes"]).args(&names).run().assert_code(0);
    with(&db, &migrations, &["adopt", "--baseline", "2"]).args(&names).run().assert_code(0);
    with(&db, &migrations, &["adopt", "--baseline", "1", "--rebaseline", "--verify"]).args(&names).run().assert_code(0);
    run(&db, &migrations, &["migrate-all"]).assert_code(0);
    run(&db, &migrations, &["health-check"]).assert_code(0);

    // A name of characters that a terminal interprets can be adopted, too, and is escaped in the output.
    let bell = "bell\u{7}\nnext\u{1b}[31m";
    db.execute(&format!("CREATE SCHEMA \"{bell}\""));
    run(&db, &migrations, &["adopt", bell]).assert_code(0);
    for command in
        [&["migrate-all"][..], &["list"], &["list", "--names"], &["health-check", bell], &["drop", bell, "--yes"]]
    {
        let output = run(&db, &migrations, command);
        let shown = output.assert_code(0).stdout.clone() + &output.stderr;
        assert!(!shown.contains(['\u{7}', '\u{1b}']), "{shown:?}");
    }
    let listed = run(&db, &migrations, &["list", "--format", "json"]).stdout;
    assert!(!listed.contains("bell"), "{listed}");
}

#[test]
fn names_that_differ_only_by_the_case_of_a_to_z_are_one() {
    let db = set_up();
    let create = |name: &str| db.tenantry(["create", "--any-name", name]).run();
    for name in ["acme-corp", "ünï"] {
        create(name).assert_code(0);
    }
    let refused = create("Acme-Corp");
    assert!(
        refused.assert_code(1).stderr.contains("differs only in case from tenant \"acme-corp\""),
        "{}",
        refused.stderr
    );
    // PostgreSQL folds A to Z only.
    create("ÜNÏ").assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 3);
}

#[test]
fn the_suggested_commands_quote_the_name() {
    let db = set_up();
    let stderr = |args: &[&str]| db.tenantry(args).run().stderr;
    assert!(stderr(&["migrate-one", "has space"]).contains("'tenantry create --any-name 'has space'' creates it"));
    let unknown = stderr(&["create", "acme-corp"]);
    for text in
        ["\"acme-corp\" contains '-'", "hint: choose another name, or add --any-name; SQL must then quote the name"]
    {
        assert!(unknown.contains(text), "{unknown}");
    }
    assert!(stderr(&["create", "--any-name", "a\u{200b}b"]).contains("which is not printable"));
}

#[test]
fn the_suggested_create_has_the_option_that_the_name_needs() {
    let db = crate::support::set_up();
    for (name, command) in [("no such tenant", "create --any-name 'no such tenant'"), ("nobody", "create nobody")] {
        let output = db.tenantry(["migrate-one", name]).run();
        let hint = format!("hint: 'tenantry {command}' creates it\n");
        assert!(output.assert_code(1).stderr.contains(&hint), "{}", output.stderr);
    }
    db.execute("INSERT INTO schema_tracker (name, state) VALUES ('a b', 'registered')");
    let checked = db.tenantry(["health-check"]).run().stdout;
    assert!(checked.contains("tenantry create --any-name 'a b'"), "{checked}");
    db.tenantry(["create", "--any-name", "a b"]).run().assert_code(0);
}
