//! `list`

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, create_older, fleet};

#[test]
fn missing_tracker_is_an_error() {
    let db = Database::new();
    assert_snapshot!(db.tenantry(["list"]).run(), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
    assert_snapshot!(db.tenantry(["list", "--names"]).run(), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
    assert_snapshot!(db.tenantry(["list", "--format", "json"]).run(), @r#"
    {
      "error": {
        "code": "tracker-missing",
        "message": "database \"DATABASE\" has no tracker (public.schema_tracker)",
        "hint": "run 'tenantry migrate-public'",
        "sqlstate": null,
        "retryable": false,
        "migration": null,
        "server": null,
        "tenant": null,
        "details": []
      }
    }
    --- stderr
    error: database "DATABASE" has no tracker (public.schema_tracker)
    hint: run 'tenantry migrate-public'
    --- exit 3
    "#);
}

#[test]
fn empty_fleet_is_listed() {
    let db = fleet(&[]);
    assert_snapshot!(db.tenantry(["list"]).run(), @r"
        TENANT  STATE  VERSION  PENDING  CREATED
        --- stderr
        0 tenants
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["list", "--format", "json"]).run(), @r#"
        {
          "tenants": []
        }
        --- stderr
        --- exit 0
    "#);
    assert_snapshot!(db.tenantry(["list", "--names"]).run(), @r"
        --- stderr
        --- exit 0
    ");
}

#[test]
fn tenants_are_sorted_and_show_pending_migrations() {
    let db = fleet(&["zeta", "Alpha", "alpha2", "_x"]);
    create_older(&db, &["behind"]);
    db.execute("CREATE SCHEMA stranger");
    assert_snapshot!(db.tenantry(["list"]).run());
    assert_snapshot!(db.tenantry(["list", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["list", "--names"]).run(), @r"
        Alpha
        _x
        alpha2
        behind
        zeta
        --- stderr
        --- exit 0
    ");
}

#[test]
fn match_selects_tenants() {
    let db = fleet(&["acme", "acme_test", "globex"]);
    assert_snapshot!(db.tenantry(["list", "--match", "^acme"]).run(), @r"
        TENANT     STATE   VERSION         PENDING  CREATED
        acme       active  20260209090000  0        DATE
        acme_test  active  20260209090000  0        DATE
        --- stderr
        2 tenants
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["list", "--match", "nobody", "--allow-empty"]).run(), @r"
        TENANT  STATE  VERSION  PENDING  CREATED
        --- stderr
        0 tenants
        --- exit 0
    ");
    let names = |regex: &str| db.tenantry(["list", "--names", "--match", regex]).run().assert_code(0).stdout.clone();
    assert_eq!(names("test$"), "acme_test\n");
    assert_eq!(names("me|lob"), "acme\nacme_test\nglobex\n");
    assert_eq!(names("(?i)ACME$"), "acme\n");
    assert_snapshot!(db.tenantry(["list", "--match", "("]).run(), @r"
        --- stderr
        error: invalid value '(' for '--match <REGEX>': regex parse error:
            (
            ^
        error: unclosed group

        For more information, try '--help'.
        --- exit 2
    ");
}

#[test]
fn problems_are_shown() {
    let db = fleet(&["gone", "no_ledger", "whole"]);
    db.execute(
        "DROP SCHEMA gone CASCADE; DROP TABLE no_ledger.__diesel_schema_migrations; \
         CREATE SCHEMA by_hand_empty; \
         INSERT INTO schema_tracker (name) VALUES ('by_hand'), ('by_hand_empty'); \
         UPDATE schema_tracker SET state = 'dropping' WHERE name = 'gone'",
    );
    assert_snapshot!(db.tenantry(["list"]).run());
    assert_snapshot!(db.tenantry(["list", "--format", "json"]).run());
}

#[test]
fn quiet_prints_only_the_data() {
    let db = fleet(&["acme"]);
    let output = db.tenantry(["list", "--quiet"]).run();
    assert_eq!(output.stderr, "");
    assert_eq!(output.assert_code(0).stdout, db.tenantry(["list"]).run().stdout);
}

#[test]
fn pending_public_migrations_are_an_error() {
    let db = fleet(&["acme"]);
    let dir = Dir::new().add("20990101000000_plans", "CREATE TABLE plans(i int);").down("DROP TABLE plans;");
    let list = || db.tenantry(["list"]).hide(dir.path().to_string_lossy(), "DIR");
    let output = list().arg("--public-migrations").arg(dir.path()).run();
    assert!(output.stderr.contains("migrate-public --public-migrations"), "the command that helps: {}", output.stderr);
    assert_snapshot!(output, @r#"
        --- stderr
        error: database "DATABASE" has pending public migrations: 1
        hint: run 'tenantry migrate-public --public-migrations DIR'
        --- exit 3
    "#);
    // The hint omits what the environment provides.
    assert_snapshot!(list().env("TENANTRY_PUBLIC_MIGRATIONS", dir.path()).run(), @r#"
        --- stderr
        error: database "DATABASE" has pending public migrations: 1
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
}

#[test]
fn closed_pipe_is_not_a_failure() {
    let names: Vec<String> = (0..3_000).map(|i| format!("('tenant_{i:04}_{}')", "x".repeat(40))).collect();
    let db = fleet(&[]);
    db.execute(&format!("INSERT INTO schema_tracker (name) VALUES {}", names.join(",")));
    let shell = "'BIN' list --names | head -n 1; exit ${PIPESTATUS[0]}".replace("BIN", env!("CARGO_BIN_EXE_tenantry"));
    let output = crate::support::Tenantry::of_program("bash").args(["-c", &shell]).env("DATABASE_URL", db.url()).run();
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    assert_eq!(output.stdout.lines().count(), 1);
    // Tenants are read in batches, and none is lost.
    let all = db.tenantry(["list", "--format", "json"]).run().json();
    assert_eq!(all["tenants"].as_array().map(Vec::len), Some(3_000));
}
