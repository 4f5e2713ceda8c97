//! The formats of `lint` for services: SARIF, commands of GitHub workflows, and JUnit.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::shop;
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Output, Tenantry};

/// Runs `lint` in the folder of the migrations, so that paths in its output do not depend on the place of the folder.
fn run(dir: &Dir, args: &[&str]) -> Output {
    let lint = Tenantry::new().arg("lint").args(args).args(["--tenant-migrations", "."]);
    lint.current_dir(dir.path()).env_remove("TENANTRY_TENANT_MIGRATIONS").run()
}

/// Migrations whose findings, names and statements contain characters that formats escape.
fn odd() -> Dir {
    Dir::new()
        .add("20260101000000_create", "CREATE TABLE \"a,b:c%\" (id int);\n")
        .add("20260102000000_é, 100%", "DELETE FROM \"a,b:c%\";\n")
}

/// The problems of a log of SARIF 2.1.0. The types of `serde_sarif` are generated from the JSON schema of the standard: a
/// log that differs after it was read and written has a property that the schema does not have. These types have no
/// enumerations, formats and limits.
fn problems(log: &Value) -> Vec<String> {
    let parsed = match serde_json::from_value::<serde_sarif::sarif::Sarif>(log.clone()) {
        Ok(parsed) => serde_json::to_value(parsed).expect("a log"),
        Err(error) => return vec![error.to_string()],
    };
    let mut problems: Vec<String> = (parsed != *log).then(|| format!("not in the schema: {log}")).into_iter().collect();
    let levels = ["none", "note", "warning", "error"].map(Value::from);
    let in_standard = |values: &[Value], value: &Value| value.is_null() || values.contains(value);
    if log["version"] != "2.1.0" {
        problems.push(format!("not the version: {}", log["version"]));
    }
    let uri = Regex::new(r"^(file://)?([A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-F]{2})+$").expect("a pattern");
    let runs = log["runs"].as_array().into_iter().flatten();
    for run in runs.clone() {
        let kinds = ["utf16CodeUnits", "unicodeCodePoints"].map(Value::from);
        if !in_standard(&kinds, &run["columnKind"]) {
            problems.push(format!("no kind of column: {}", run["columnKind"]));
        }
        let rules = run["tool"]["driver"]["rules"].as_array().into_iter().flatten();
        let of_rules = rules.map(|rule| &rule["defaultConfiguration"]["level"]);
        let of_results = run["results"].as_array().into_iter().flatten().map(|result| &result["level"]);
        let others = of_rules.chain(of_results).filter(|level| !in_standard(&levels, level));
        problems.extend(others.map(|level| format!("no level: {level}")));
    }
    let results = runs.filter_map(|run| run["results"].as_array()).flatten();
    for place in results.filter_map(|result| result["locations"].as_array()).flatten() {
        let place = &place["physicalLocation"];
        if !place["artifactLocation"]["uri"].as_str().is_some_and(|text| uri.is_match(text)) {
            problems.push(format!("no URI reference: {}", place["artifactLocation"]["uri"]));
        }
        if place["region"]["startLine"].as_u64().is_none_or(|line| line == 0) {
            problems.push(format!("no line: {}", place["region"]["startLine"]));
        }
    }
    problems
}

/// The log of SARIF that a command printed, which is valid.
#[track_caller]
fn sarif(output: &Output) -> Value {
    let log: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout));
    assert_eq!(problems(&log), [""; 0], "{}", output.stdout);
    let (rules, results) = (&log["runs"][0]["tool"]["driver"]["rules"], &log["runs"][0]["results"]);
    let rules = rules.as_array().expect("the rules");
    let ids: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids.len(), rules.len(), "each rule has an id of its own");
    for result in results.as_array().expect("the results") {
        let index = result["ruleIndex"].as_u64().expect("the place of the rule");
        let rule = &rules[usize::try_from(index).unwrap()];
        assert_eq!((&rule["id"], &rule["defaultConfiguration"]["level"]), (&result["ruleId"], &result["level"]));
    }
    log
}

#[test]
fn sarif_log_has_the_objects_and_properties_of_the_standard() {
    let log = sarif(run(&shop(), &["--format", "sarif"]).assert_code(1));
    let driver = &log["runs"][0]["tool"]["driver"];
    assert_eq!(driver["rules"].as_array().map(Vec::len), Some(tenantry::lint::Rule::ALL.len()));
    let results = log["runs"][0]["results"].as_array().expect("the results");
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uriBaseId"], "%SRCROOT%");
    let place = |result: &Value| {
        let place = &result["locations"][0]["physicalLocation"];
        let (uri, line) = (&place["artifactLocation"]["uri"], &place["region"]["startLine"]);
        format!("{} {}:{line}: {}", text(&result["level"]), text(uri), text(&result["ruleId"]))
    };
    let places: Vec<String> = results.iter().map(place).collect();
    let expected = [
        "error 20260101000000_create/down.sql:2: names-other-schema",
        "error 20260102000000_orders/up.sql:3: names-other-schema",
        "error 20260102000000_orders/up.sql:7: index-not-concurrently",
        "error 20260103000000_columns/up.sql:4: volatile-default",
        "warning 20260103000000_columns/up.sql:5: malformed-acceptance",
        "warning 20260103000000_columns/up.sql:6: unused-acceptance",
        "error 20260103000000_columns/up.sql:7: drop-table",
        "error 20260103000000_columns/up.sql:7: locks-several-tables",
    ];
    assert_eq!(places, expected);
    sarif(run(&odd(), &["--format", "sarif"]).assert_code(1));
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn log_that_differs_from_the_standard_is_reported() {
    let problems = |log: &str| problems(&serde_json::from_str(log).unwrap());
    let valid = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": []}]}"#;
    assert_eq!(problems(valid), [""; 0]);
    for invalid in [
        r#"{"version": "2.0.0", "runs": []}"#.to_owned(),
        r#"{"version": "2.1.0"}"#.to_owned(),
        valid.replace(r#""name""#, r#""title""#),
        valid.replace(r#""runs""#, r#""x": 1, "runs""#),
        valid.replace("[]}]", r#"[{"message": {"text": "x"}, "level": "fatal"}]}]"#),
    ] {
        assert_eq!(problems(&invalid).len(), 1, "{invalid}");
    }
    let place = valid.replace(
        "[]}]",
        r#"[{"message": {"text": "x"}, "locations": [{"physicalLocation":
            {"artifactLocation": {"uri": "a b"}, "region": {"startLine": 0}}}]}]}]"#,
    );
    assert_eq!(problems(&place).len(), 2, "{place}");
}

#[test]
fn accepted_findings_are_not_in_the_log() {
    let dir = Dir::new()
        .add("1_a", "CREATE TABLE a (id int);")
        .add("2_b", "-- tenantry: accept truncate: it only caches\nTRUNCATE a;");
    let log = sarif(run(&dir, &["--format", "sarif"]).assert_code(0));
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
    assert_snapshot!(run(&dir, &["--format", "github"]), @r"
    --- stderr
    2 migrations: 0 findings, 1 accepted
    --- exit 0
    ");
}

#[test]
fn commands_of_a_github_workflow_are_printed() {
    assert_snapshot!(run(&shop(), &["--format", "github"]));
    let odd = run(&odd(), &["--format", "github"]);
    let line = odd.assert_code(1).stdout.lines().next().expect("a command").to_owned();
    let expected =
        "::error file=20260102000000_é%2C 100%25/up.sql,line=1,title=tenantry lint%3A delete-without-where::";
    assert!(line.starts_with(expected) && line.contains("a,b:c%25") && line.contains("%0Ainstead: "), "{line}");
}

#[test]
fn paths_are_relative_to_the_checkout_of_the_workflow() {
    let checkout = tempfile::tempdir().unwrap();
    let migrations = checkout.path().join("services/shop/migrations/tenant");
    for (folder, sql) in [("1_a", "CREATE TABLE a (id int);"), ("2_b", "TRUNCATE a;")] {
        std::fs::create_dir_all(migrations.join(folder)).unwrap();
        std::fs::write(migrations.join(folder).join("up.sql"), sql).unwrap();
    }
    let lint = |workspace: Option<&Path>, format: &str| {
        let lint = Tenantry::new().without_migrations().args(["lint", "--format", format]);
        let lint = lint.current_dir(checkout.path().join("services/shop"));
        workspace.into_iter().fold(lint, |lint, path| lint.env("GITHUB_WORKSPACE", path)).run()
    };
    let of_workspace = lint(Some(checkout.path()), "github").stdout;
    assert!(of_workspace.contains("file=services/shop/migrations/tenant/2_b/up.sql,"), "{of_workspace}");
    let here = lint(None, "github").stdout;
    assert!(here.contains("file=migrations/tenant/2_b/up.sql,"), "{here}");
    let log = sarif(&lint(Some(checkout.path()), "sarif"));
    let uri = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(uri, "services/shop/migrations/tenant/2_b/up.sql");
}

#[test]
fn formats_of_lint_are_refused_elsewhere() {
    let run = |args: &[&str]| Tenantry::new().args(args).run();
    for args in [&["list", "--format", "sarif"][..], &["--format", "github", "migrate-all"]] {
        let output = run(args);
        assert!(output.assert_code(2).stderr.contains("only 'lint' has it"), "{}", output.stderr);
    }
    assert!(run(&["list", "--format", "xml"]).assert_code(2).stderr.contains("[possible values: table, json]"));
    let of_lint = run(&["lint", "--format", "xml"]).stderr;
    assert!(of_lint.contains("[possible values: table, json, sarif, github]"), "{of_lint}");
    let dir = shop();
    let first = Tenantry::new().args(["--format", "sarif", "lint", "--tenant-migrations"]).arg(dir.path()).run();
    sarif(first.assert_code(1));
    let variable = Tenantry::new().args(["lint", "--tenant-migrations"]).arg(dir.path());
    sarif(variable.env("TENANTRY_FORMAT", "sarif").run().assert_code(1));
}

#[test]
fn junit_report_has_a_case_for_each_migration() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let to_file = run(&shop(), &["--junit", file.path().to_str().unwrap()]);
    assert!(to_file.assert_code(1).stdout.contains("volatile-default"), "{}", to_file.stdout);
    let written = std::fs::read_to_string(file.path()).unwrap();
    // Standard output has nothing else.
    let to_stdout = run(&shop(), &["--junit", "-"]);
    assert_snapshot!(to_stdout);
    assert_eq!(to_stdout.stdout, written);
    let json = run(&shop(), &["--junit", file.path().to_str().unwrap(), "--format", "json"]);
    assert!(json.json()["findings"].is_array());
}

#[test]
fn two_reports_on_standard_output_are_refused() {
    for format in ["json", "sarif", "github"] {
        let output = run(&shop(), &["--junit", "-", "--format", format]);
        let message = format!("error: --junit - and --format {format} both write to standard output\nhint: write one");
        assert!(output.assert_code(2).stderr.starts_with(&message), "{}", output.stderr);
    }
    assert_eq!(run(&shop(), &["--junit", "-", "--format", "json"]).json()["error"]["code"], "argument-conflict");
}
