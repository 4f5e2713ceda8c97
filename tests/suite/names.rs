//! Names of tenants: hostile arguments, and invalid names that already exist in the database.

use crate::assert_snapshot;
use crate::support::{Database, Tenantry, fleet};

/// Names that a new tenant cannot have, and a part of the reason.
fn hostile() -> Vec<(String, &'static str)> {
    let mut names: Vec<(String, &str)> = [
        ("", "the name is empty"),
        (" ", "contains ' '"),
        ("a b", "contains ' '"),
        (" acme", "contains ' '"),
        ("acme ", "contains ' '"),
        ("acme\n", "contains '\\n'"),
        ("acme\t", "contains '\\t'"),
        ("a-b", "contains '-'"),
        ("a.b", "contains '.'"),
        ("public.acme", "contains '.'"),
        ("a$b", "contains '$'"),
        ("a%b", "contains '%'"),
        ("a/b", "contains '/'"),
        ("../etc", "contains '.'"),
        ("a\\b", "contains '\\\\'"),
        ("a'b", "contains '\\''"),
        ("a\"b", "contains '\"'"),
        ("\"acme\"", "contains '\"'"),
        ("a; DROP SCHEMA public CASCADE", "contains ';'"),
        ("a\"; DROP SCHEMA public CASCADE; --", "contains '\"'"),
        ("a'); DROP TABLE schema_tracker; --", "contains '\\''"),
        ("$$", "contains '$'"),
        ("%s", "contains '%'"),
        ("{}", "contains '{'"),
        ("é", "contains 'é'"),
        ("тест", "contains 'т'"),
        ("名前", "contains '名'"),
        ("acme🙂", "contains '🙂'"),
        ("a\u{202e}b", "contains '\\u{202e}'"),
        ("a\u{200b}", "contains '\\u{200b}'"),
        ("a\u{7f}", "contains '\\u{7f}'"),
        ("a\u{1b}[31m", "contains '\\u{1b}'"),
        ("1acme", "starts with a digit"),
        ("0", "starts with a digit"),
        ("pg_", "starts with pg_"),
        ("pg_x", "starts with pg_"),
        ("PG_X", "starts with pg_"),
        ("pg_temp_1", "starts with pg_"),
        ("pg_catalog", "starts with pg_"),
        ("public", "a system schema"),
        ("PUBLIC", "a system schema"),
        ("information_schema", "a system schema"),
        ("Information_Schema", "a system schema"),
        ("select", "a reserved word"),
        ("SELECT", "a reserved word"),
        ("user", "a reserved word"),
        ("table", "a reserved word"),
        ("end", "a reserved word"),
        ("left", "a reserved word"),
        ("session_user", "a reserved word"),
        ("verbose", "a reserved word"),
    ]
    .map(|(name, why)| (name.to_owned(), why))
    .into();
    names.push(("x".repeat(64), "is 64 bytes long"));
    names.push(("x".repeat(10_000), "is 10000 bytes long"));
    names.push(("é".repeat(32), "is 64 bytes long"));
    names
}

#[test]
#[ignore = "long: make test-long"]
fn hostile_names_are_refused_without_a_server() {
    for (name, why) in hostile() {
        // No server is there to be asked.
        let run = |args: &[&str]| Tenantry::new().args(args).env("DATABASE_URL", "postgresql://127.0.0.1:1/x").run();
        let output = run(&["create", &name]);
        output.assert_code(2);
        assert!(output.stderr.contains(why), "{name:?} is refused because it {why}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{name:?}");
        assert!(!output.stderr.contains('\u{1b}'), "no control characters get to the terminal: {}", output.stderr);
        // What is no schema's name, or a system schema's, is no tenant's either.
        let is_never_valid = ["empty", "bytes", "pg_", "system"].iter().any(|word| why.contains(word));
        for command in ["adopt", "migrate-one"] {
            run(&[command, &name]).assert_code(if is_never_valid { 2 } else { 5 });
        }
    }
}

#[test]
fn one_invalid_name_prevents_all_creates() {
    let db = fleet(&[]);
    assert_snapshot!(db.tenantry(["create", "good", "a\"; DROP TABLE schema_tracker; --", "better"]).run(), @r#"
    --- stderr
    error: "a\"; DROP TABLE schema_tracker; --" contains '"'; only letters A to Z and a to z, digits and underscore are allowed
    hint: choose another name, or add --any-name; SQL must then quote the name
    --- exit 2
    "#);
    assert_snapshot!(db.tenantry(["create", "--from", "-"]).stdin("# ours\ngood\n\nnot good\nbetter\n").run(), @r#"
    --- stderr
    error: line 4 of standard input: "not good" contains ' '; only letters A to Z and a to z, digits and underscore are allowed
    hint: choose another name, or add --any-name; SQL must then quote the name
    --- exit 2
    "#);
    assert_snapshot!(db.tenantry(["create", "--from", "-"]).stdin("good\nb\0d\n").run(), @r#"
        --- stderr
        error: line 2 of standard input: "b\0d" contains '\0', which is not printable
        --- exit 2
    "#);
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "");
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('good', 'better')"), 0);
}

#[test]
fn invalid_names_are_refused_with_a_reason() {
    assert_snapshot!(Tenantry::new().without_migrations().args(["create", "a-b"]).run(), @r#"
    --- stderr
    error: "a-b" contains '-'; only letters A to Z and a to z, digits and underscore are allowed
    hint: choose another name, or add --any-name; SQL must then quote the name
    --- exit 2
    "#);
    assert_snapshot!(Tenantry::new().without_migrations().args(["create", ""]).run(), @r"
        --- stderr
        error: invalid value '' for '[NAME]...': the name is empty

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(Tenantry::new().without_migrations().args(["create", "select"]).run(), @r#"
    --- stderr
    error: "select" is a reserved word in PostgreSQL
    hint: choose another name, or add --any-name; SQL must then quote the name
    --- exit 2
    "#);
    assert_snapshot!(Tenantry::new().without_migrations().args(["create", "pg_x"]).run(), @r#"
        --- stderr
        error: invalid value 'pg_x' for '[NAME]...': "pg_x" starts with pg_, which PostgreSQL reserves

        For more information, try '--help'.
        --- exit 2
    "#);
    assert_snapshot!(Tenantry::new().without_migrations().args(["create", "--drop"]).run());
    assert_snapshot!(Tenantry::new().without_migrations().args(["create", &"x".repeat(64)]).run(), @r#"
        --- stderr
        error: invalid value 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' for '[NAME]...': "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is SIZE long; the maximum is 63

        For more information, try '--help'.
        --- exit 2
    "#);
}

#[test]
#[ignore = "long: make test-long"]
fn every_reserved_word_of_the_server_is_refused() {
    let db = Database::new();
    let words = db.strings("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')");
    assert!(words.len() >= 90, "{}", words.len());
    for word in words {
        let output = Tenantry::new().args(["create", &word]).env("DATABASE_URL", "postgresql://127.0.0.1:1/x").run();
        output.assert_code(2);
        assert!(output.stderr.contains("is a reserved word in PostgreSQL"), "{word}: {}", output.stderr);
    }
}

#[test]
fn unusual_valid_names_are_accepted() {
    let db = fleet(&[]);
    let longest = "x".repeat(63);
    let names = ["_", "a", "A1", "MixedCase", "pgx_ok", "publics", "select_", "name", "value", "tenant__", &longest];
    db.tenantry(["create"]).args(names).run().assert_code(0);
    for name in names {
        assert_eq!(db.count(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'")), 1, "{name}");
    }
    db.tenantry(["health-check"]).run().assert_code(0);
    db.tenantry(["drop", "--yes"]).args(names).run().assert_code(0);
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "");
}

#[test]
fn longest_names_are_distinguished_by_their_last_character() {
    let db = fleet(&[]);
    let [one, other] = ["a", "b"].map(|end| "x".repeat(62) + end);
    db.tenantry(["create", &one, &other]).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'xxx%'"), 2);
}

#[test]
fn names_that_differ_only_in_case_are_refused() {
    let db = fleet(&["acme"]);
    assert_snapshot!(db.tenantry(["create", "Acme"]).run(), @r#"
        --- stderr
        error: tenant Acme: name differs only in case from tenant "acme"
        hint: choose another name
        0 created, 1 failed
        --- exit 1
    "#);
    assert_snapshot!(db.tenantry(["create", "Globex", "globex", "GLOBEX", "other"]).run(), @r#"
        --- stderr
        error: 2 tenants: name differs only in case from tenant "Globex"
          tenants: GLOBEX, globex
        hint: choose another name
        2 created, 2 failed (run 2)
        --- exit 1
    "#);
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "Globex\nacme\nother\n");
    // A repeated name counts once.
    db.tenantry(["create", "twice", "twice"]).run().assert_code(0);
}

#[test]
fn schema_that_contains_an_extension_cannot_be_a_tenant() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA crypto; CREATE EXTENSION pgcrypto SCHEMA crypto; CREATE SCHEMA behind");
    assert_snapshot!(db.tenantry(["create", "crypto"]).run(), @r"
        --- stderr
        error: tenant crypto: schema contains extensions
        hint: choose another name
        0 created, 1 failed
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["create", "behind", "--extension-schema", "behind"]).run(), @r"
        --- stderr
        error: tenant behind: schema contains extensions
        hint: choose another name
        0 created, 1 failed
        --- exit 1
    ");
    // Also if it differs in case.
    db.tenantry(["create", "Behind", "--extension-schema", "behind"]).run().assert_code(1);
    assert_snapshot!(db.tenantry(["adopt", "crypto"]).run(), @r"
        --- stderr
        error: tenant crypto: schema contains extensions
        hint: move the extensions out of it: ALTER EXTENSION … SET SCHEMA …
        0 adopted, 1 failed (run 1)
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "--untracked", "--yes", "crypto"]).run(), @r"
        --- stderr
        error: tenant crypto: schema contains extensions
        hint: move the extensions out of it: ALTER EXTENSION … SET SCHEMA …
        0 dropped, 1 failed
        --- exit 1
    ");
    assert_eq!(db.count("SELECT count(*) FROM pg_extension WHERE extname = 'pgcrypto'"), 1);
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "");
}

#[test]
fn a_system_schema_in_the_tracker_is_reported() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('information_schema')");
    assert_snapshot!(db.tenantry(["list"]).run(), @"
    TENANT              STATE       VERSION         PENDING  CREATED
    acme                active      20260209090000  0        DATE
    information_schema  registered  bad-name        -        DATE
    --- stderr
    2 tenants
    hint: 'tenantry health-check' shows the problems
    --- exit 0
    ");
    assert_snapshot!(db.tenantry(["list", "--format", "json"]).run());
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "acme\ninformation_schema\n");
    assert_snapshot!(db.tenantry(["health-check"]).run(), @r#"
    TENANT              CODE      LEVEL       FINDING                                  FIX
    information_schema  bad-name  structural  "information_schema" is a system schema  if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'information_schema'
    --- stderr
    warning: not checked: 1 tenant: information_schema: the name is not a tenant name
    1 tenant checked, 1 unchecked, 1 healthy, 1 finding
    --- exit 1
    "#);
    assert_snapshot!(db.tenantry(["migrate-all"]).run(), @r#"
    --- stderr
    error: tenant information_schema: invalid tenant name in public.schema_tracker: "information_schema" is a system schema
    hint: if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'information_schema'
    0 migrated, 1 failed, 1 unchanged
    --- exit 1
    "#);
    assert_snapshot!(db.tenantry(["migrate-all", "--dry-run"]).run(), @r#"
    --- stderr
    tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
    error: tenant information_schema: invalid tenant name in public.schema_tracker: "information_schema" is a system schema
    hint: if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'information_schema'
    0 would be migrated, 1 up to date, 1 blocked
    --- exit 1
    "#);
}

#[test]
fn tracker_rejects_invalid_names() {
    let db = fleet(&["acme"]);
    let long = "x".repeat(64);
    for name in ["", "pg_x", "PG_X", "ACME", &long] {
        let insert = format!("INSERT INTO schema_tracker (name) VALUES ('{name}')");
        let refused = diesel::connection::SimpleConnection::batch_execute(&mut db.connect(), &insert);
        assert!(refused.is_err(), "{name:?}");
    }
}

#[test]
fn an_orphan_whose_name_no_new_tenant_can_have_is_reported() {
    let db = fleet(&["acme"]);
    db.execute(
        "CREATE SCHEMA \"we-ird\"; \
         CREATE TABLE \"we-ird\".__diesel_schema_migrations AS TABLE acme.__diesel_schema_migrations",
    );
    assert_snapshot!(db.tenantry(["health-check"]).run(), @"
    TENANT      CODE             LEVEL       FINDING                                                               FIX
    (database)  orphaned-schema  structural  schema we-ird is not tracked; its ledger records 5 tenant migrations  tenantry adopt we-ird (or drop --untracked)
    --- stderr
    1 tenant checked, 1 healthy, 1 finding
    --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "we-ird"]).run(), @r"
        --- stderr
        error: tenant we-ird: not tracked; only tracked schemas are dropped
        hint: 'tenantry drop --untracked we-ird' drops it anyway
        0 dropped, 1 failed
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["drop", "we-ird", "--untracked", "--yes"]).run(), @r"
        --- stderr
        1 dropped
        --- exit 0
    ");
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn name_that_contains_sql_is_dropped_safely() {
    let db = fleet(&[]);
    let name = "a\"; DROP TABLE schema_tracker; --";
    let quoted = "\"a\"\"; DROP TABLE schema_tracker; --\"";
    db.execute(&format!("CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.t(i int)"));
    assert_snapshot!(db.tenantry(["drop", "--untracked", "--yes", name]).run(), @r"
        --- stderr
        1 dropped
        --- exit 0
    ");
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 0);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'a\"%'"), 0);
}
