//! `--junit`: the reports of runs over a fleet and of checks, in a file or on standard output.

use std::fs;

use regex::Regex;

use crate::support::migrations::Dir;
use crate::support::{Database, Output, fleet, run_with};

/// The test cases of a report: the name, and the outcome or `ok`.
fn cases(xml: &str) -> Vec<String> {
    let case = Regex::new(r#"(?s)<testcase name="([^"]*)" classname="(\w+)"([^>]*)>"#).unwrap();
    let outcome = Regex::new(r#"<(failure|error|skipped) message="[^"]*" type="([\w.-]+)""#).unwrap();
    let starts: Vec<_> = case.captures_iter(xml).collect();
    let ends = starts.iter().skip(1).map(|next| next.get(0).unwrap().start()).chain([xml.len()]);
    let line = |(found, end): (&regex::Captures<'_>, usize)| {
        let own = &xml[found.get(0).unwrap().end()..end];
        let outcome = match outcome.captures(own) {
            Some(outcome) => format!("{} {}", &outcome[1], &outcome[2]),
            None => "ok".to_owned(),
        };
        format!("{} {}: {outcome}", &found[2], &found[1])
    };
    starts.iter().zip(ends).map(line).collect()
}

/// A fleet of which one tenant cannot be migrated.
fn failing() -> (Database, Dir) {
    let db = fleet(&["acme", "globex", "initech"]);
    db.execute("INSERT INTO globex.users (email, full_name) VALUES ('a@b', 'Same'), ('b@b', 'Same')");
    let up = "ALTER TABLE users ADD CONSTRAINT users_full_name_key UNIQUE (full_name);";
    let down = "ALTER TABLE users DROP CONSTRAINT users_full_name_key;";
    (db, Dir::copy_of_tenant().add("20270101000000_unique_names", up).down(down))
}

#[test]
fn migrate_all_writes_a_case_for_each_tenant() {
    let (db, migrations) = failing();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let plan = run_with(&db, &migrations, &["migrate-all", "--dry-run", "--junit", path]);
    assert!(plan.assert_code(0).stdout.starts_with("TENANT"), "{}", plan.stdout);
    let written = || cases(&fs::read_to_string(path).unwrap());
    assert_eq!(written(), ["tenant acme: ok", "tenant globex: ok", "tenant initech: ok"]);
    run_with(&db, &migrations, &["migrate-all", "--junit", path]).assert_code(1);
    assert_eq!(written(), ["tenant acme: ok", "tenant globex: failure migration-failed", "tenant initech: ok"]);
    let xml = fs::read_to_string(path).unwrap();
    assert!(xml.contains(r#"<testsuite name="migrate-all" tests="3" skipped="0" errors="0" failures="1">"#), "{xml}");
    assert!(xml.contains("20270101000000_unique_names/up.sql:1 failed: could not create unique index"), "{xml}");
    assert!(Regex::new(r#"name="acme" classname="tenant" time="\d+\.\d+""#).unwrap().is_match(&xml), "{xml}");
    let json = run_with(&db, &migrations, &["migrate-all", "--junit", path, "--format", "json"]);
    assert_eq!(json.assert_code(1).json()["failed"][0]["tenant"], "globex");
    assert_eq!(written(), ["tenant acme: ok", "tenant globex: failure migration-failed", "tenant initech: ok"]);
}

#[test]
fn a_run_that_stops_early_has_an_error_and_skipped_tenants() {
    let (db, migrations) = failing();
    let fail_fast = ["migrate-all", "--fail-fast", "--jobs", "1", "--canary", "^globex$", "--junit", "-"];
    let output = run_with(&db, &migrations, &fail_fast);
    let expected = [
        "run (run): error canary",
        "tenant acme: skipped not-reached",
        "tenant globex: failure migration-failed",
        "tenant initech: skipped not-reached",
    ];
    assert_eq!(cases(&output.assert_code(1).stdout), expected, "{}", output.stdout);
}

#[test]
fn revert_all_writes_the_same_report() {
    let (db, migrations) = failing();
    run_with(&db, &migrations, &["migrate-all"]).assert_code(1);
    let back = ["revert-all", "--to", "20260209090000", "--junit", "-"];
    let plan = run_with(&db, &migrations, &[&back[..], &["--dry-run"]].concat());
    assert_eq!(cases(&plan.assert_code(0).stdout).len(), 3, "{}", plan.stdout);
    assert!(!plan.stdout.contains("VERSION"), "{}", plan.stdout);
    let output = run_with(&db, &migrations, &[&back[..], &["--yes"]].concat());
    assert!(output.assert_code(0).stdout.contains(r#"<testsuite name="revert-all" tests="3""#), "{}", output.stdout);
    assert_eq!(db.count("SELECT count(*) FROM pg_constraint WHERE conname = 'users_full_name_key'"), 0);
}

#[test]
fn standard_output_has_only_the_report_of_a_check() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE INDEX tmp ON acme.users (id); COMMENT ON TABLE globex.users IS '<&>'");
    let output = db.tenantry(["health-check", "--junit", "-"]).run();
    assert!(output.assert_code(1).stdout.starts_with("<?xml"), "{}", output.stdout);
    assert!(output.stdout.ends_with("</testsuites>\n") && !output.stdout.contains("TENANT"), "{}", output.stdout);
    assert_eq!(
        cases(&output.stdout),
        ["tenant (database): ok", "tenant acme: failure index.extra", "tenant globex: ok"]
    );
    assert!(output.stderr.contains("2 tenants checked"), "{}", output.stderr);
}

#[test]
fn report_and_document_on_standard_output_are_refused_before_anything_is_done() {
    let (db, migrations) = failing();
    let commands: [&[&str]; 3] = [&["migrate-all"], &["revert-all", "--steps", "1", "--yes"], &["health-check"]];
    for command in commands {
        let output = run_with(&db, &migrations, &[command, &["--junit", "-", "--format", "json"]].concat());
        assert_eq!(output.assert_code(2).json()["error"]["code"], "argument-conflict", "{command:?}");
        let nowhere = run_with(&db, &migrations, &[command, &["--junit", "none/report.xml"]].concat());
        let expected = "error: cannot write none/report.xml: directory none: No such file";
        assert!(nowhere.assert_code(2).stderr.starts_with(expected), "{}", nowhere.stderr);
    }
    assert_eq!(db.count("SELECT count(*) FROM schema_run WHERE command IN ('migrate', 'revert')"), 0);
}

/// The migrations of tenants that share tables are one case: the shared schema.
#[test]
fn shared_tables_are_one_case() {
    let db = Database::new();
    db.tenantry(["migrate-public", "--tenancy", "rows"]).run().assert_code(0);
    let dir = Dir::new().add("1_a", "CREATE TABLE a (id int PRIMARY KEY);");
    let output: Output = run_with(&db, &dir, &["migrate-all", "--junit", "-"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(cases(&output.stdout).len(), 1, "{}", output.stdout);
}
