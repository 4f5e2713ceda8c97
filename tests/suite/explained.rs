//! What the error of a migration shows of its cause: the context in the server, and extensions that are missing.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, run_with, set_up};

fn create(db: &Database, up: &str, args: &[&str]) -> Output {
    run_with(db, &Dir::new().add("1_a", up), &[&["create", "acme"], args].concat())
}

/// A table whose trigger calls a function that raises an error.
const NESTED: &str = "CREATE TABLE a (i int);
CREATE FUNCTION check_it(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no %', i; END $$;
CREATE FUNCTION checked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM check_it(NEW.i); RETURN NEW; END $$;
CREATE TRIGGER checked BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION checked();
";

#[test]
fn error_in_nested_functions_names_them() {
    let db = set_up();
    let output = create(&db, &format!("{NESTED}INSERT INTO a VALUES (7);"), &[]);
    assert_snapshot!(output);
    assert_snapshot!(db.tenantry(["runs", "show", "1"]).run());
    let json = create(&db, &format!("{NESTED}INSERT INTO a VALUES (7);"), &["--format", "json"]).json();
    let context = json["failed"][0]["server"]["context"].as_str().expect("a context");
    let lines: Vec<&str> = context.lines().collect();
    assert_eq!(
        lines,
        [
            "PL/pgSQL function check_it(integer) line 1 at RAISE",
            "SQL statement \"SELECT check_it(NEW.i)\"",
            "PL/pgSQL function checked() line 1 at PERFORM"
        ]
    );
}

#[test]
fn error_at_the_commit_and_of_an_event_trigger_name_the_function() {
    let db = set_up();
    let deferred = "CREATE TABLE a (i int);\n\
        CREATE FUNCTION checked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no %', NEW.i; END $$;\n\
        CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED \
        FOR EACH ROW EXECUTE FUNCTION checked();\nINSERT INTO a VALUES (7);";
    let output = create(&db, deferred, &[]);
    assert!(output.stderr.contains("\n  context: PL/pgSQL function checked() line 1 at RAISE\n"), "{}", output.stderr);
    db.execute(
        "CREATE FUNCTION public.no_index() RETURNS event_trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no indexes'; END $$; \
         CREATE EVENT TRIGGER no_index ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.no_index()",
    );
    let output = create(&db, "CREATE TABLE a (i int);\nCREATE INDEX ON a (i);", &[]);
    assert!(
        output.stderr.contains("\n  context: PL/pgSQL function public.no_index() line 1 at RAISE\n"),
        "{}",
        output.stderr
    );
    db.execute("DROP EVENT TRIGGER no_index");
}

/// The context contains text of the tenant's own code.
#[test]
fn context_is_escaped_and_shortened() {
    let db = set_up();
    let up = "CREATE FUNCTION \"a\u{1b}[31m\"(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
              IF n = 0 THEN RAISE EXCEPTION 'deep'; END IF; RETURN \"a\u{1b}[31m\"(n - 1); END $$;\n\
              SELECT \"a\u{1b}[31m\"(100);";
    let output = create(&db, up, &[]);
    assert!(output.stderr.contains("\\u{1b}[31m") && !output.stderr.contains('\u{1b}'), "{}", output.stderr);
    assert!(output.stderr.contains(" lines more)"), "{}", output.stderr);
    assert!(output.stderr.lines().count() < 40, "{}", output.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn object_of_an_extension_in_another_schema_is_found() {
    let db = set_up();
    db.execute("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION pg_trgm SCHEMA ext");
    let cases = [
        ("CREATE TABLE a (b citext);", "citext belongs to the extension citext in the schema ext"),
        (
            "CREATE TABLE a (b text);\nCREATE INDEX ON a USING gin (b gin_trgm_ops);",
            "gin_trgm_ops belongs to the extension pg_trgm",
        ),
        ("CREATE VIEW a AS SELECT similarity('a', 'b') AS s;", "similarity belongs to the extension pg_trgm"),
        ("CREATE VIEW a AS SELECT 'a'::text % 'b'::text AS s;", "% belongs to the extension pg_trgm"),
        ("DO $$ BEGIN CREATE TABLE a (b citext); END $$;", "citext belongs to the extension citext"),
    ];
    for (up, hint) in cases {
        let output = create(&db, up, &[]);
        output.assert_code(1);
        assert!(output.stderr.contains(&format!("hint: {hint}")), "{up}: {}", output.stderr);
        assert!(output.stderr.contains("add --extension-schema ext\n"), "{}", output.stderr);
        let fixed = create(&db, up, &["--extension-schema", "ext"]);
        assert_eq!(fixed.code, Some(0), "{}", fixed.stderr);
        run_with(&db, &Dir::new().add("1_a", up), &["drop", "acme", "--yes"]).assert_code(0);
    }
}

#[test]
fn extension_that_is_not_installed_is_named() {
    let db = set_up();
    let output = create(&db, "CREATE TABLE a (b citext);", &[]);
    let name = db.name();
    let hint = format!(
        "hint: citext belongs to the extension citext, which is not installed in database \"{name}\": as a role with CREATE on \
         the database, run CREATE SCHEMA extensions; CREATE EXTENSION \"citext\" SCHEMA extensions, and add \
         --extension-schema extensions\n"
    );
    assert!(output.stderr.contains(&hint), "{}", output.stderr);
}

/// Other errors, and objects that no extension has, get no such advice.
#[test]
#[ignore = "long: make test-long"]
fn error_without_a_missing_extension_has_no_advice() {
    let db = set_up();
    db.execute("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE TYPE ext.other AS ENUM ('a')");
    for up in [
        "CREATE TABLE a (b other);",
        "CREATE TABLE a (b ext.nothing);",
        "CREATE TABLE a (b unknown_type);",
        "CREATE TABLE citext citext (b int);",
        "CREATE TABLE a (citext int);\nINSERT INTO a (citext) VALUES (1 / 0);",
        "CREATE TABLE a (i int);\nSELECT citext.x FROM a;",
    ] {
        let output = create(&db, up, &[]);
        output.assert_code(1);
        assert!(!output.stderr.contains("belongs to the extension"), "{up}: {}", output.stderr);
    }
    // It is on the path, but not for these types.
    let output = create(&db, "CREATE VIEW a AS SELECT citext_cmp(1, 2) AS c;", &["--extension-schema", "ext"]);
    assert!(!output.stderr.contains("belongs to the extension"), "{}", output.stderr);
}
