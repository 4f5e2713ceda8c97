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

/// The objects of the standard SARIF 2.1.0 that the log contains, with their properties: a type, and `!` before what is
/// required. The schema of the standard allows no other property, except in a property bag.
const OBJECTS: &[(&str, &[(&str, &str)])] = &[
    ("sarifLog", &[("!version", "enum 2.1.0"), ("$schema", "uri"), ("!runs", "array of run")]),
    (
        "run",
        &[
            ("!tool", "tool"),
            ("columnKind", "enum utf16CodeUnits unicodeCodePoints"),
            ("results", "array of result"),
            ("artifacts", "array of artifact"),
        ],
    ),
    ("tool", &[("!driver", "toolComponent")]),
    (
        "toolComponent",
        &[
            ("!name", "string"),
            ("semanticVersion", "string"),
            ("informationUri", "uri"),
            ("rules", "array of reportingDescriptor"),
        ],
    ),
    (
        "reportingDescriptor",
        &[
            ("!id", "string"),
            ("shortDescription", "multiformatMessageString"),
            ("help", "multiformatMessageString"),
            ("helpUri", "uri"),
            ("defaultConfiguration", "reportingConfiguration"),
        ],
    ),
    ("reportingConfiguration", &[("level", "enum none note warning error")]),
    ("multiformatMessageString", &[("!text", "string"), ("markdown", "string")]),
    (
        "result",
        &[
            ("ruleId", "string"),
            ("ruleIndex", "index"),
            ("level", "enum none note warning error"),
            ("!message", "message"),
            ("locations", "array of location"),
        ],
    ),
    // The standard requires a text or an id; the log has only texts.
    ("message", &[("!text", "string")]),
    ("location", &[("physicalLocation", "physicalLocation")]),
    ("physicalLocation", &[("!artifactLocation", "artifactLocation"), ("region", "region")]),
    ("artifactLocation", &[("uri", "uri-reference"), ("uriBaseId", "string")]),
    ("region", &[("startLine", "line"), ("snippet", "artifactContent")]),
    ("artifactContent", &[("text", "string")]),
];

/// The problems of a value that should have a type of [`OBJECTS`].
fn problems(value: &Value, kind: &str, path: &str) -> Vec<String> {
    let uri = |pattern: &str| {
        let pattern = Regex::new(pattern).expect("a pattern");
        value.as_str().is_some_and(|text| pattern.is_match(text))
    };
    let fits = match kind.split_once(' ').unwrap_or((kind, "")) {
        ("array", items) => {
            let items = items.trim_start_matches("of ");
            let Some(list) = value.as_array() else { return vec![format!("{path}: no array")] };
            let unique: BTreeSet<String> = list.iter().map(Value::to_string).collect();
            let nested = list.iter().enumerate().flat_map(|(at, item)| problems(item, items, &format!("{path}[{at}]")));
            let repeated = (unique.len() < list.len()).then(|| format!("{path}: repeated items"));
            return nested.chain(repeated).collect();
        }
        ("enum", values) => value.as_str().is_some_and(|text| values.split(' ').any(|one| one == text)),
        ("string", _) => value.is_string(),
        ("index", _) => value.as_u64().is_some(),
        ("line", _) => value.as_u64().is_some_and(|line| line > 0),
        ("uri", _) => uri(r"^[a-z]+://[A-Za-z0-9._~%!$&'()*+,;=:@/?#-]+$"),
        ("uri-reference", _) => uri(r"^(file://)?([A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-F]{2})+$"),
        _ => return object_problems(value, kind, path),
    };
    if fits { Vec::new() } else { vec![format!("{path}: {value} is not: {kind}")] }
}

fn object_problems(value: &Value, kind: &str, path: &str) -> Vec<String> {
    let (_, properties) = OBJECTS.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("no object {kind}"));
    let Some(object) = value.as_object() else { return vec![format!("{path}: no object")] };
    let find = |key: &str| properties.iter().find(|(name, _)| name.trim_start_matches('!') == key);
    let present = object.iter().flat_map(|(key, value)| match find(key) {
        Some((_, kind)) => problems(value, kind, &format!("{path}.{key}")),
        None => vec![format!("{path}.{key}: no property of {kind}")],
    });
    let required = properties.iter().filter_map(|(name, _)| name.strip_prefix('!'));
    let missing = required.filter(|name| !object.contains_key(*name)).map(|name| format!("{path}.{name}: missing"));
    present.chain(missing).collect()
}

/// The log of SARIF that a command printed, which is valid.
#[track_caller]
fn sarif(output: &Output) -> Value {
    let log: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout));
    assert_eq!(problems(&log, "sarifLog", "$"), [""; 0], "{}", output.stdout);
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
    let problems = |log: &str| problems(&serde_json::from_str(log).unwrap(), "sarifLog", "$");
    let valid = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": []}]}"#;
    assert_eq!(problems(valid), [""; 0]);
    assert_eq!(problems(r#"{"version": "2.0.0", "runs": []}"#), ["$.version: \"2.0.0\" is not: enum 2.1.0"]);
    assert_eq!(problems(r#"{"version": "2.1.0"}"#), ["$.runs: missing"]);
    assert_eq!(problems(r#"{"version": "2.1.0", "runs": [], "x": 1}"#), ["$.x: no property of sarifLog"]);
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
