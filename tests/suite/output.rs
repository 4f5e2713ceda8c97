//! Output: foreign text is escaped, indented and truncated, and output that cannot be written is an error.

use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, fleet, set_up};

/// Whether a character controls a terminal, reorders text, or is invisible.
fn is_unprintable(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
        || "\u{200b}\u{200e}\u{2028}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}".contains(c)
}

#[track_caller]
fn assert_printable(output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains(is_unprintable), "{text:?}");
    }
}

/// A character that must not reach a terminal, or one that escaping treats specially.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        3 => (1..0x20_u8).prop_map(char::from),
        3 => (0x7f..0xa0_u8).prop_map(char::from),
        3 => prop::sample::select("\u{200b}\u{200e}\u{2028}\u{202e}\u{2066}\u{2069}\u{feff}".chars().collect::<Vec<_>>()),
        2 => prop::sample::select("\"'\\$aé;-".chars().collect::<Vec<_>>()),
    ]
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[test]
#[ignore = "long: make test-long"]
fn names_and_texts_with_any_character_are_printed_escaped() {
    let text = |length| prop::collection::vec(character(), length).prop_map(String::from_iter);
    let mut runner = TestRunner::new(Config { cases: 2, failure_persistence: None, ..Config::default() });
    runner
        .run(&(text(8..20), text(40..80)), |(name, comment)| {
            let db = fleet(&["acme"]);
            let (table, comment) = (identifier(&format!("x{name}")), literal(&comment));
            db.execute(&format!(
                "ALTER TABLE schema_tracker DROP CONSTRAINT schema_tracker_name_check; \
                 DROP TABLE acme.comments CASCADE; CREATE TABLE acme.{table} (i int DEFAULT 0, {table} text DEFAULT {comment}); \
                 COMMENT ON TABLE acme.{table} IS {comment}; \
                 CREATE SCHEMA {table}; \
                 CREATE FUNCTION acme.{table}() RETURNS text LANGUAGE sql AS {}; \
                 INSERT INTO schema_tracker (name) VALUES ({})",
                literal(&format!("SELECT {comment}::text")),
                literal(&format!("y{name}")),
            ));
            for args in [
                &["diff", "acme"][..],
                &["repair-plan", "acme"],
                &["health-check"],
                &["health-check", "--group"],
                &["list"],
                &["list", "--names"],
                &["migrate-all", "--dry-run"],
                &["reference", "--of", "acme"],
            ] {
                let output = db.tenantry(args).run();
                assert!(output.code.is_some_and(|code| code < 2), "{args:?}: {}", output.stderr);
                assert_printable(&output);
                if args[0] != "list" && args[0] != "reference" {
                    let output = db.tenantry(args).args(["--format", "json"]).run();
                    assert_printable(&output);
                    output.json();
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn repair_of_names_with_any_character_is_valid_sql() {
    let dir = Dir::new().add("1_a", "CREATE TABLE a (i int)");
    let path = dir.path().to_str().unwrap();
    let db = set_up();
    db.tenantry(["create", "acme", "--tenant-migrations", path]).run().assert_code(0);
    // Unexpected objects are dropped by name.
    let names = ["a\u{1b}[2J\\\"b", "line\nDROP SCHEMA acme CASCADE; --", "\u{202e}c\u{9b}\u{e0001}'$$"];
    for name in names {
        let name = identifier(name);
        db.execute(&format!(
            "ALTER TABLE acme.a ADD CONSTRAINT {name} CHECK (i > 0); CREATE INDEX {name} ON acme.a (i)"
        ));
    }
    let plan = db.tenantry(["repair-plan", "acme", "--tenant-migrations", path]).run();
    plan.assert_code(0);
    assert_printable(&plan);
    assert!(!plan.stdout.lines().any(|line| line.starts_with("DROP SCHEMA")), "{}", plan.stdout);
    db.connect().batch_execute(&plan.stdout).unwrap();
    db.tenantry(["diff", "acme", "--tenant-migrations", path]).run().assert_code(0);
}

#[test]
fn server_message_cannot_imitate_output_of_the_tool() {
    let text = "sorry\nerror: tenant initech: dropped\n  effect: none\r\nhint: run 'rm -rf /'\u{1b}[1A\u{7}";
    let up =
        format!("DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = {0}, DETAIL = {0}, HINT = {0}; END $$;", literal(text));
    let dir = Dir::new().add("1_a", &up);
    let path = dir.path().to_str().unwrap();
    let db = set_up();
    for command in
        [&["create", "acme"][..], &["create", "acme", "globex"], &["runs", "show", "1"], &["runs", "show", "2"]]
    {
        let output = db.tenantry(command).env("TENANTRY_TENANT_MIGRATIONS", path).run();
        assert_printable(&output);
        let begins = |text: &str| {
            output.stderr.lines().chain(output.stdout.lines()).filter(|line| line.starts_with(text)).count()
        };
        assert_eq!(
            (begins("hint: run"), begins("error: tenant initech"), begins("  effect: none")),
            (0, 0, 0),
            "{}",
            output.stderr
        );
        assert!(
            command[0] == "runs" || output.stderr.contains("       error: tenant initech: dropped"),
            "{}",
            output.stderr
        );
    }
    // The same for an argument.
    let output = Tenantry::new().args(["list", "--al\nhint: \u{1b}[31mx", "-\u{9b}"]).run();
    assert_printable(output.assert_code(2));
    assert!(!output.stderr.contains("\nhint"), "{}", output.stderr);
    let output = Tenantry::new().args(["create", "a\nerror: b", "c"]).run();
    assert!(output.assert_code(2).stderr.starts_with("error: \"a\\nerror: b\" contains"), "{}", output.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn long_messages_are_truncated() {
    let up = "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = repeat('é', 2500000), DETAIL = repeat('d', 5000000); END $$;";
    let statement = format!("{up} -- {}", "x".repeat(100_000));
    let dir = Dir::new().add("1_a", &statement);
    let db = set_up();
    let create =
        |args: &[&str]| db.tenantry(["create", "acme"]).args(args).args(["--tenant-migrations"]).arg(dir.path()).run();
    let output = create(&[]);
    assert!(output.assert_code(1).stderr.len() < 10_000, "{} bytes", output.stderr.len());
    assert!(output.stderr.contains("é… ("), "{}", output.stderr);
    assert!(output.stderr.contains(" bytes more)"), "{}", output.stderr);
    assert!(create(&["--format", "json"]).stdout.len() < 50_000);
    assert!(db.count("SELECT max(octet_length(error)) FROM schema_run_tenant") < 9_000);
    // Rows of other releases may be longer.
    db.execute("UPDATE schema_run_tenant SET error = repeat('e', 5000000)");
    assert!(db.tenantry(["runs", "show", "1"]).run().assert_code(0).stdout.len() < 3_000);
    assert!(db.tenantry(["runs", "show", "1", "--format", "json"]).run().assert_code(0).stdout.len() < 10_000);
}

/// Runs a command with a stream that accepts no output.
fn full(db: &Database, stream: &str, args: &[&str]) -> Output {
    Tenantry::of_program("sh")
        .args(["-c", &format!("exec \"$@\" {stream}>/dev/full"), "sh", env!("CARGO_BIN_EXE_tenantry")])
        .args(args)
        .env("DATABASE_URL", db.url())
        .with_migrations()
        .run()
}

/// Commands that print to standard output.
const PRINTING: [&[&str]; 22] = [
    &["--help"],
    &["--version"],
    &["help", "create"],
    &["completions", "bash"],
    &["lint", "--rules"],
    &["lint", "--format", "json"],
    &["list"],
    &["list", "--names"],
    &["list", "--format", "json"],
    &["runs"],
    &["runs", "show", "1"],
    &["runs", "--format", "json"],
    &["health-check"],
    &["health-check", "--format", "json"],
    &["diff", "acme"],
    &["diff", "acme", "--format", "json"],
    &["repair-plan", "acme"],
    &["reference"],
    &["migrate-all", "--format", "json"],
    &["create", "globex", "--format", "json"],
    &["drop", "acme", "--dry-run"],
    &["local", "url"],
];

#[test]
#[ignore = "long: make test-long"]
fn a_full_standard_output_is_an_error() {
    let db = fleet(&["acme"]);
    db.execute("DROP TABLE acme.comments CASCADE");
    for args in PRINTING {
        let output = full(&db, "", args);
        assert_eq!(output.code, Some(3), "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains("error: cannot write to standard output: No space left"), "{}", output.stderr);
    }
}

#[test]
fn full_standard_error_does_not_change_the_outcome() {
    let db = fleet(&["acme"]);
    db.execute("DROP TABLE acme.comments CASCADE");
    for (args, code) in [
        (&["create", "initech", "hooli"][..], 0),
        (&["create", "acme", "umbrella"], 1),
        (&["migrate-all", "-v"], 0),
        (&["health-check"], 1),
        (&["list"], 0),
        (&["migrate-one", "nobody"], 1),
        (&["frobnicate"], 2),
    ] {
        let output = full(&db, "2", args);
        assert_eq!(output.code, Some(code), "{args:?}: {}", output.stdout);
    }
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE state = 'active'"), 4);
}

#[test]
fn closed_pipe_does_not_hide_a_failure() {
    let db = fleet(&["acme"]);
    db.execute("DROP TABLE acme.comments CASCADE");
    for args in ["diff acme", "health-check --format json", "create acme --format json"] {
        // The reader of the pipe has exited before the command starts.
        let script = format!("'{}' {args} > >(exec true)", env!("CARGO_BIN_EXE_tenantry"));
        let script = format!("{{ read -r _; {script}; exit $?; }} < <(echo go)");
        let bash = Tenantry::of_program("bash").args(["-c", &script]);
        let output = bash.env("DATABASE_URL", db.url()).with_migrations().run();
        assert_eq!(output.code, Some(1), "{args}: {}", output.stderr);
    }
}
