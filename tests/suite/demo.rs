//! `demo`

use crate::assert_snapshot;
use crate::support::{Database, Tenantry, binaries, fleet};

#[test]
#[ignore = "long: make test-long"]
fn demo_runs_on_a_private_server() {
    let output = Tenantry::new()
        .without_migrations()
        .args(["demo", "--timing"])
        .env("TENANTRY_PG_BIN", binaries().folder())
        .run();
    assert_snapshot!(output);
}

#[test]
#[ignore = "long: make test-long"]
fn demo_leaves_nothing_in_an_empty_database() {
    let db = Database::new();
    let relations = "SELECT count(*) FROM pg_class";
    let schemas = "SELECT count(*) FROM pg_namespace";
    let before = (db.count(relations), db.count(schemas));
    assert_snapshot!(db.tenantry(["demo", "--in-database"]).without_migrations().run());
    assert_eq!((db.count(relations), db.count(schemas)), before);
}

#[test]
fn database_in_use_is_refused() {
    let db = fleet(&["mine"]);
    assert_snapshot!(db.tenantry(["demo", "--in-database"]).run(), @r"
        --- stderr
        error: the database already has a tracker, a public ledger, or a schema with a name that the demonstration uses
        hint: use an empty database, or omit --in-database
        --- exit 2
    ");
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "mine\n");

    let db = Database::new();
    db.execute("CREATE SCHEMA initech");
    db.tenantry(["demo", "--in-database"]).run().assert_code(2);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'initech'"), 1);
}

#[test]
fn missing_database_is_an_error() {
    assert_snapshot!(Tenantry::new().args(["demo", "--in-database"]).run(), @r"
        --- stderr
        error: no database specified
        hint: set DATABASE_URL or --database-url, or start a private server with 'tenantry local start'
        --- exit 2
    ");
}

#[test]
fn missing_server_programs_are_an_error() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let output =
        Tenantry::new().args(["demo", "--pg-bin"]).arg(empty.path()).hide(empty.path().to_string_lossy(), "EMPTY");
    assert_snapshot!(output.run(), @r"
        --- stderr
        # Start a private PostgreSQL server, which is removed at the end.
        error: no usable `initdb` in EMPTY
        hint: name the folder that holds initdb, pg_ctl and postgres, such as /usr/lib/postgresql/17/bin, or name none to have it looked for
        --- exit 3
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn quiet_prints_nothing() {
    let db = Database::new();
    let output = db.tenantry(["demo", "--in-database", "--quiet"]).run();
    assert_eq!(output.assert_code(0).stderr, "");
}
