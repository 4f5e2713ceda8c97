//! The rules, by the examples of `cases.rs`.

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use tenantry::lint::{LintFinding, Rule, SharedTables, lint, lint_shared};
use tenantry::{MigrationSet, Tenancy};

use super::cases::{BASE, CASES, Case, OUTSIDE};
use super::shared;
use crate::support::migrations::Dir;
use crate::support::{Database, binaries, exhaustive};

/// Statements that cannot run in a transaction.
const ALONE: [&str; 6] = ["CONCURRENTLY", "VACUUM", "ALTER SYSTEM", "DATABASE IF", "CLUSTER;", "REINDEX SCHEMA"];

fn is_alone(sql: &str) -> bool {
    ALONE.iter().any(|word| sql.contains(word))
}

fn add(dir: Dir, name: &str, sql: &str) -> Dir {
    let dir = dir.add(name, sql);
    if is_alone(sql) { dir.metadata("run_in_transaction = false") } else { dir }
}

pub fn tenancy(dir: &Dir) -> Tenancy {
    let set = MigrationSet::from_dir(dir.path()).unwrap_or_else(|error| panic!("{error}"));
    let extensions = vec!["extensions".parse().expect("a name")];
    Tenancy::new(set).expect("migrations").with_extension_schemas(extensions)
}

/// The findings in SQL after the base.
fn findings(sql: &str) -> Vec<LintFinding> {
    let dir = add(Dir::new().add("1_base", BASE), "2_change", sql);
    lint(&tenancy(&dir)).into_iter().filter(|finding| finding.migration == 1).collect()
}

/// The same, if all tenants share the tables.
fn shared_findings(sql: &str) -> Vec<LintFinding> {
    let dir = add(Dir::new().add("1_base", BASE), "2_change", sql);
    let (registry, column) = ("tenants".parse().expect("a name"), "tenant_id".parse().expect("a name"));
    let findings = lint_shared(&tenancy(&dir), &SharedTables { registry, column });
    findings.into_iter().filter(|finding| finding.migration == 1).collect()
}

fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(shared::CASES)
}

#[test]
#[ignore = "long: make test-long"]
fn each_rule_matches_its_examples_and_no_others() {
    let mut wrong = Vec::new();
    for case in all() {
        let is_shared = shared::CASES.iter().any(|shared| shared.rule == case.rule);
        let expected = case.found.iter().map(|sql| (sql, true)).chain(case.missed.iter().map(|sql| (sql, false)));
        for (sql, is_expected) in expected {
            let findings = if is_shared { shared_findings(sql) } else { findings(sql) };
            let of_rule = |rule: Rule| findings.iter().find(|finding| finding.rule == rule);
            match of_rule(case.rule) {
                None if is_expected => wrong.push(format!("{} is not found, but {findings:?}, in: {sql}", case.rule)),
                Some(found) if !is_expected => {
                    wrong.push(format!("{} is found: {}, in: {sql}", case.rule, found.message));
                }
                _ => {}
            }
            // Unsupported syntax is intentional only in its own examples.
            if let Some(found) = of_rule(Rule::NotUnderstood).filter(|_| case.rule != Rule::NotUnderstood) {
                wrong.push(format!("{}, in: {sql}", found.message));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_examples() {
    // The examples of the rule about repeatable migrations are beside it: they are files of another folder.
    let has_cases = |rule: &&Rule| !rule.is_about_acceptances() && **rule != Rule::NotRepeatable;
    for rule in Rule::ALL.iter().filter(has_cases) {
        let case = all().find(|case| case.rule == *rule).unwrap_or_else(|| panic!("{rule}"));
        assert!(case.found.len() >= 2 && case.missed.len() >= 2, "{rule}");
    }
}

/// An example that the server rejects proves nothing.
#[test]
#[ignore = "long: make test-long"]
fn examples_are_valid_sql() {
    /// Newer syntax, and the first version that supports it.
    const NEWER: [(&str, u32); 6] = [
        ("VIRTUAL", 18),
        (" NOT NULL note", 18),
        ("SET EXPRESSION", 17),
        ("ACCESS METHOD", 15),
        ("MERGE INTO", 15),
        ("FROBNICATE", 99),
    ];
    let db = Database::new();
    let mut conn = db.connect();
    conn.batch_execute("CREATE SCHEMA extensions; CREATE DOMAIN extensions.citext AS text").expect("extensions");
    conn.batch_execute("CREATE FUNCTION extensions.made() RETURNS text LANGUAGE sql AS 'SELECT 1'")
        .expect("extensions");
    let mut wrong = Vec::new();
    for case in all().filter(|case| case.rule != Rule::NotUnderstood) {
        for sql in case.found.iter().chain(case.missed) {
            let known = |(word, major): &(&str, u32)| !sql.contains(word) || binaries().major() >= *major;
            if !NEWER.iter().all(known) || is_alone(sql) || REFUSED.contains(sql) {
                continue;
            }
            let setup = format!("BEGIN; CREATE SCHEMA acme; SET LOCAL search_path = acme; {BASE}; {OUTSIDE};");
            let result = conn.batch_execute(&setup).and_then(|()| conn.batch_execute(sql));
            conn.batch_execute("ROLLBACK").expect("rolled back");
            wrong.extend(result.err().map(|error| format!("{error}, from: {sql}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Statements that the server refuses even for a superuser.
const REFUSED: &[&str] = &["DROP OWNED BY CURRENT_USER"];

/// Every volatile function of the server is recognized as volatile.
#[test]
fn volatile_functions_are_known() {
    let volatile = Database::new().strings(
        "SELECT DISTINCT proname FROM pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v' AND prokind = 'f' ORDER BY 1",
    );
    assert!(volatile.len() > 100);
    // A migration that calls one of these cannot be loaded: its lock outlasts the transaction.
    let refused = |name: &str| name.contains("advisory_lock") && !name.contains("xact");
    let volatile: Vec<&String> = volatile.iter().filter(|name| !refused(name)).collect();
    // One line per function.
    let add = |(line, function): (usize, &&String)| {
        format!("ALTER TABLE users ADD COLUMN x{line} text DEFAULT \"{function}\"();\n")
    };
    let found = findings(&volatile.iter().enumerate().map(add).collect::<String>());
    for (line, function) in volatile.iter().enumerate() {
        let is_found = |it: &LintFinding| it.rule == Rule::VolatileDefault && it.line == line + 1;
        assert!(found.iter().any(is_found), "{function}");
    }
}

/// The examples, with some of their words omitted, repeated or replaced by others.
fn mutilated() -> impl Strategy<Value = String> {
    let all: Vec<&str> = CASES.iter().flat_map(|case| case.found.iter().chain(case.missed)).copied().collect();
    let words: Vec<&str> = all.iter().flat_map(|sql| sql.split_inclusive(' ')).collect();
    let change = (any::<Index>(), 0..3_u8, select(words));
    (select(all), prop::collection::vec(change, 1..4)).prop_map(|(sql, changes)| {
        let mut words: Vec<&str> = sql.split_inclusive(' ').collect();
        for (at, what, other) in &changes {
            let at = at.index(words.len());
            match what {
                0 if words.len() > 1 => drop(words.remove(at)),
                1 => words.insert(at, other),
                _ => words[at] = other,
            }
        }
        words.concat()
    })
}

/// Linting a script that loads returns, and each finding has a line of its file.
#[test]
#[ignore = "long: make test-long"]
fn findings_have_valid_lines_in_generated_scripts() {
    let cases = exhaustive::choose(2_000, 200);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&mutilated(), |sql| {
        let dir = add(Dir::new(), "1_a", &sql);
        let Ok(set) = MigrationSet::from_dir(dir.path()) else { return Ok(()) };
        for finding in lint(&Tenancy::new(set).expect("migrations")) {
            prop_assert!((1..=sql.lines().count()).contains(&finding.line), "{} in {sql}", finding.line);
        }
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
