//! Errors that end a command: their exit codes, and the JSON document that says the same as standard error.

use serde_json::{Value, json};

use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, fleet, set_up, strings, url_of_a_stranger};

/// Asserts the exit status and some fields of the error in the document.
#[track_caller]
fn assert_error(output: &Output, code: i32, fields: Value) -> Value {
    let document = output.assert_code(code).json();
    let error = document["error"].as_object().unwrap_or_else(|| panic!("no error in {document}"));
    for (key, value) in fields.as_object().expect("fields") {
        assert_eq!(&error[key], value, "{key} of {document}");
    }
    let message = error["message"].as_str().expect("a message").split(['\n', ';']).next().expect("a part");
    assert!(output.stderr.contains(&format!("error: {message}")), "{document}\n{}", output.stderr);
    if let Some(hint) = error["hint"].as_str() {
        let first = hint.split("; ").next().expect("a part");
        assert!(output.stderr.contains(first), "no {first:?} in:\n{}", output.stderr);
    }
    Value::Object(error.clone())
}

#[test]
fn arguments_that_cannot_be_parsed_are_an_error_document() {
    let table: [(&[&str], &str); 9] = [
        (&["list", "--format", "json", "--al"], "unknown-argument"),
        (&["--format=json", "lst"], "unknown-command"),
        (&["migrate-all", "--jobs", "many", "--format", "json"], "invalid-value"),
        (&["--format", "json", "create"], "missing-argument"),
        (&["--format", "json", "lint", "--rules", "--since", "1"], "argument-conflict"),
        (&["--format", "json", "lint", "--jobs", "2"], "unknown-argument"),
        (&["--format", "json", "create", "a-b"], "invalid-character"),
        (&["--format", "json", "list", "--match", "("], "invalid-value"),
        (&["--format", "json", "list", "--match"], "invalid-value"),
    ];
    for (command, code) in table {
        let output = Tenantry::new().args(command).run();
        assert_error(&output, 2, json!({ "code": code, "retryable": false, "sqlstate": null, "tenant": null }));
    }
    let similar = Tenantry::new().args(["cleanpu", "--format", "json"]).run();
    assert_error(&similar, 2, json!({ "hint": "some similar subcommands exist: 'clone', 'cleanup'" }));
    let none = Tenantry::new().args(["--format", "json"]).run();
    assert_eq!(none.assert_code(2).json()["error"]["code"], "missing-command");
}

#[test]
fn the_format_of_an_error_in_arguments_is_that_of_the_flag_or_else_of_the_variable() {
    let run = |args: &[&str], format: &str| Tenantry::new().args(args).env("TENANTRY_FORMAT", format).run();
    assert_error(&run(&["lst"], "json"), 2, json!({ "code": "unknown-command" }));
    for (args, format) in [
        (&["lst", "--format", "table"][..], "json"),
        (&["lst"], "table"),
        (&["lst"], ""),
        (&["lst"], "xml"),
        (&["lst", "--", "--format", "json"], "table"),
        (&["lst", "--format"], "table"),
    ] {
        assert_eq!(run(args, format).assert_code(2).stdout, "", "{args:?} {format}");
    }
}

#[test]
fn settings_that_cannot_be_read_are_an_error_document() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "TENANTRY_JOBS='1\n").unwrap();
    let output = Tenantry::new().args(["list", "--format", "json"]).current_dir(folder.path()).run();
    assert_error(&output, 2, json!({ "code": "invalid-settings" }));
}

#[test]
fn an_error_before_the_database_is_contacted_is_a_usage_error() {
    let run = |args: &[&str]| Tenantry::new().args(args).args(["--format", "json"]).run();
    assert_error(&run(&["migrate-public"]), 2, json!({ "code": "no-database", "retryable": false }));
    let url = ["migrate-public", "--database-url", "postgresql://host:port/x"];
    assert_error(&run(&url), 2, json!({ "code": "invalid-database-url" }));
    let dir = Dir::new().add("1_a", "SELECT 'open");
    let invalid = run(&["lint", "--tenant-migrations", dir.path().to_str().unwrap()]);
    let error = assert_error(&invalid, 2, json!({ "code": "invalid-migrations" }));
    assert_eq!(error["details"].as_array().map(Vec::len), Some(1), "{error}");
}

#[test]
fn a_failed_connection_is_temporary_unless_the_server_rejects_it() {
    let run = |url: &str| Tenantry::new().args(["list", "--format", "json", "--database-url", url]).run();
    let unreachable = json!({ "code": "unreachable", "retryable": true, "sqlstate": null });
    assert_error(&run("postgresql://127.0.0.1:1/none"), 5, unreachable.clone());
    assert_error(&run("postgresql:///none?host=/nonexistent"), 5, unreachable);
    let db = set_up();
    let other = db.url().replace(db.name(), "no_such_database");
    assert_error(&run(&other), 3, json!({ "code": "unreachable", "retryable": false, "sqlstate": "3D000" }));
    let url = url_of_a_stranger(&db);
    db.execute(&format!("ALTER ROLE stranger_{} CONNECTION LIMIT 0", db.name()));
    let limited = run(&url);
    assert_error(&limited, 5, json!({ "code": "unreachable", "retryable": true, "sqlstate": "53300" }));
}

#[test]
fn a_database_that_is_not_set_up_is_refused() {
    let empty = Database::new();
    let output = empty.tenantry(["list", "--format", "json"]).run();
    assert_error(&output, 3, json!({ "code": "tracker-missing", "retryable": false }));
    let db = fleet(&["acme"]);
    let nobody = db.tenantry(["diff", "nobody", "--format", "json"]).run();
    assert_error(&nobody, 3, json!({ "code": "not-tracked", "tenant": "nobody", "retryable": false }));
    let matching = db.tenantry(["list", "--match", "x", "--format", "json"]).run();
    assert_error(&matching, 1, json!({ "code": "nothing-matches" }));
    let unconfirmed = db.tenantry(["drop", "acme", "--format", "json"]).run();
    assert_error(&unconfirmed, 4, json!({ "code": "confirmation-required" }));
    let version = db.tenantry(["migrate-all", "--to", "1", "--format", "json"]).run();
    let error = assert_error(&version, 2, json!({ "code": "unknown-version" }));
    assert_eq!(error["details"].as_array().map(Vec::len), Some(5), "{error}");
}

#[test]
fn a_lock_of_another_session_is_temporary() {
    let db = fleet(&["acme"]);
    let mut holder = db.connect();
    strings(&mut holder, "SELECT pg_advisory_lock(hashtextextended('tenantry: the fleet', 0))::text");
    let output = db.tenantry(["migrate-all", "--format", "json"]).run();
    assert_error(&output, 5, json!({ "code": "fleet-locked", "retryable": true }));
}

#[test]
fn a_public_migration_that_fails_is_named_with_its_statement() {
    let dir = Dir::new().add("1_a", "SELECT 1;\nINSERT INTO public.schema_tracker (name) VALUES (NULL);");
    let db = set_up();
    let output = db.tenantry(["migrate-public", "--format", "json", "--public-migrations"]).arg(dir.path()).run();
    let fields = json!({ "code": "public-migration-failed", "sqlstate": "23502", "retryable": false });
    let error = assert_error(&output, 3, fields);
    assert_eq!((&error["migration"]["version"], &error["migration"]["line"]), (&json!("1"), &json!(2)), "{error}");
    assert!(error["server"]["message"].is_string(), "{error}");
}

#[test]
fn the_sqlstate_of_an_error_is_that_of_the_statement_sent_again() {
    let db = fleet(&["acme"]);
    for (statement, sqlstate) in [
        ("SELECT 1 / 0", "22012"),
        ("ALTER TABLE users ADD COLUMN email text", "42701"),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'TT001'; END $$", "TT001"),
    ] {
        let dir = Dir::copy_of_tenant().add("29990101000000_a", &format!("{statement};"));
        let run = db.tenantry(["migrate-all", "--format", "json", "--tenant-migrations"]).arg(dir.path()).run();
        assert_eq!(run.assert_code(1).json()["failed"][0]["sqlstate"], sqlstate, "{statement}");
    }
}

#[test]
fn failed_tenants_have_the_same_fields_in_every_report() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant()
        .add("29990101000000_a", "CREATE TABLE a (i int CHECK (i > 0)); INSERT INTO a VALUES (0);");
    let create = db.tenantry(["create", "globex", "--format", "json", "--tenant-migrations"]).arg(dir.path()).run();
    let failed = |output: &Output, key: &str| output.assert_code(1).json()[key][0].clone();
    let create = failed(&create, "failed");
    assert_eq!((&create["sqlstate"], &create["retryable"]), (&json!("23514"), &json!(false)), "{create}");
    let adopt = failed(&db.tenantry(["adopt", "nobody", "--format", "json"]).run(), "failed");
    let drop = failed(&db.tenantry(["drop", "nobody", "--yes", "--format", "json"]).run(), "failed");
    let plan = failed(&db.tenantry(["drop", "nobody", "--dry-run", "--format", "json"]).run(), "failed");
    let one = failed(&db.tenantry(["migrate-one", "nobody", "--dry-run", "--format", "json"]).run(), "blocked");
    let revert = ["revert-one", "nobody", "--steps", "1", "--yes", "--format", "json"];
    let revert = failed(&db.tenantry(revert).run(), "failed");
    let keys = |failed: &Value| failed.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    for other in [adopt, drop, plan, one, revert] {
        assert_eq!(keys(&other), keys(&create), "{other}");
    }
}

/// Each command, with arguments that the parser accepts.
const COMMANDS: &[&str] = &[
    "create acme",
    "adopt acme",
    "untrack acme --yes",
    "rename acme globex",
    "clone acme globex",
    "dump acme --output none/file",
    "restore file acme",
    "label acme ring=canary",
    "archive acme",
    "unarchive acme",
    "purge --yes",
    "list",
    "drop acme --yes",
    "move acme --to eu",
    "move status",
    "move resume",
    "move abort acme",
    "move back acme",
    "move finish --yes",
    "place",
    "cleanup --yes",
    "migrate-public",
    "migrate-one acme",
    "migrate-all",
    "revert-one acme --steps 1 --yes",
    "revert-all --steps 1 --yes",
    "redo acme --yes",
    "runs",
    "runs show 1",
    "runs fleet",
    "server add eu --url postgresql://h/d",
    "server list",
    "server check",
    "server set eu --region x",
    "server drain eu",
    "server open eu",
    "server retire eu",
    "server remove eu --yes",
    "server sync",
    "where acme",
    "stats",
    "metrics",
    "exec --command TABLE",
    "psql acme",
    "browse",
    "seed acme",
    "probe",
    "benchmark isolation",
    "benchmark search-path",
    "isolate",
    "key generate",
    "key install --key-file none",
    "key list",
    "key rotate",
    "key retire 0123456789abcdef",
    "health-check",
    "diff acme",
    "repair-plan acme",
    "reference",
    "repair --accept 20260105090000 --reason x",
    "new-migration tenant Invalid",
    "lint --tenant-migrations none",
    "print-schema acme",
    "grants --for operator",
    "shared add plans",
    "shared list",
    "shared status",
    "shared sync",
    "shared remove plans",
    "shared detach eu --yes",
    "local start --dir none/none --pg-bin none",
    "local stop --dir file",
    "local status --dir file",
    "local url --dir file",
    "local psql --dir none",
    "demo --pg-bin none",
    "completions bash",
    "man file",
];

/// Runs a command in a folder with a file, which no command can use as a folder.
fn run_in_folder(command: &str, url: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let words = command.split(' ').chain(more.iter().copied());
    Tenantry::new().args(words).env("DATABASE_URL", url).current_dir(folder.path()).run()
}

#[test]
#[ignore = "long: make test-long"]
fn each_command_is_in_the_list_of_failing_commands() {
    let commands = crate::language::helps();
    let names = commands.iter().filter_map(|(name, _)| name.strip_prefix("help "));
    let is_listed = |name: &&str| COMMANDS.iter().any(|command| format!("{command} ").starts_with(&format!("{name} ")));
    let missing: Vec<&str> = names.filter(|name| !is_listed(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// With every command, an error has the document that docs/json.md describes, or the command has succeeded.
#[test]
#[ignore = "long: make test-long"]
fn errors_of_every_command_are_documents_as_described() {
    let empty = Database::new();
    let mut exits = std::collections::BTreeMap::new();
    for command in COMMANDS {
        let unusable = ["postgresql://127.0.0.1:1/none", "postgresql://127.0.0.1:port/none"].map(str::to_owned);
        let cases = unusable.into_iter().chain([empty.url()]).map(|url| (url, &[][..]));
        // psql gets the options of `local psql`.
        let usage = (!command.starts_with("local psql")).then(|| (empty.url(), &["--no-such-option"][..]));
        for (url, more) in cases.chain(usage) {
            let output = run_in_folder(command, &url, &[&["--format", "json"], more].concat());
            if !more.is_empty() {
                assert_eq!(output.assert_code(2).json()["error"]["code"], "unknown-argument", "{command}");
            }
            let code = output.code.expect("an exit status");
            if code == 0 || (code == 1 && !output.stderr.contains("error:")) {
                continue;
            }
            let document = output.json();
            if document["error"].is_object() {
                let problems = crate::docs::documents::problems("failed-command", &document);
                assert_eq!(problems, [""; 0], "{command}: {document}");
                *exits.entry(code).or_insert(0) += 1;
            }
        }
    }
    // Usage errors, refusals, and servers that cannot be reached.
    assert!(exits[&2] > COMMANDS.len() && exits[&3] > 10 && exits[&5] > 15, "{exits:?}");
}

/// docs/json.md and docs/errors.md list the codes of errors that only the command line has.
#[test]
fn every_code_of_a_usage_error_is_documented() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/json.md")).unwrap();
    let usage = regex::Regex::new(r#"Usage::(?:new|with_hint)\(\s*"([a-z-]+)""#).unwrap();
    let arm = regex::Regex::new(r#"=> (?:\{\s+)?"([a-z-]+)""#).unwrap();
    let mut codes = Vec::new();
    let mut folders = vec![root.join("src/cli")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            codes.extend(usage.captures_iter(&text).map(|found| found[1].to_owned()));
            if ["cause.rs", "confirm.rs", "parse.rs"].contains(&path.file_name().unwrap().to_str().unwrap()) {
                codes.extend(arm.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }
    assert!(codes.len() > 30, "{codes:?}");
    let missing: Vec<&String> = codes.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert_eq!(missing, [""; 0]);
}
