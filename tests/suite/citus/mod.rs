//! Tenants as distributed schemas of Citus. No registry has a package of it: these tests use a stand-in, and a real coordinator
//! if `TENANTRY_CITUS_URL` names a database on one.

use std::io::Write;
use std::sync::LazyLock;

use tenantry::local::Ephemeral;

use crate::support::migrations::Dir;
use crate::support::{Database, Tenantry, binaries};

/// A server with a log of its own.
fn server() -> &'static Ephemeral {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(|| {
        let settings = [("citus.enable_schema_based_sharding", "off"), ("autovacuum", "off"), ("timezone", "UTC")];
        Ephemeral::start(binaries(), &settings).expect("a server")
    });
    &SERVER
}

/// A database with the stand-in, in which new schemas are distributed.
fn distributed() -> Database {
    let database = Database::on(server());
    database.execute(include_str!("stand_in.sql"));
    database.execute(&format!("ALTER DATABASE {} SET citus.enable_schema_based_sharding TO 'on'", database.name()));
    database
}

/// What the stand-in was sent since its log had `from` bytes.
fn sent(from: usize) -> Vec<String> {
    let log = std::fs::read_to_string(server().log_file()).expect("the log");
    let lines = log[from..].lines().filter_map(|line| line.split_once("citus stand-in: "));
    lines.map(|(_, text)| text.to_owned()).collect()
}

fn logged() -> usize {
    std::fs::read_to_string(server().log_file()).expect("the log").len()
}

/// Migrations with statements that Citus refuses in a joined message.
fn migrations() -> Dir {
    Dir::new()
        .add(
            "20260101000000_orders",
            "CREATE TABLE orders (id serial PRIMARY KEY, total int);\nCREATE INDEX ON orders (total);",
        )
        .add(
            "20260102000000_notes",
            "ALTER TABLE orders ADD COLUMN note text;\nALTER TABLE orders ENABLE ROW LEVEL SECURITY;",
        )
}

#[test]
fn statements_are_sent_one_by_one_where_schemas_are_distributed() {
    let database = distributed();
    let dir = migrations();
    let run = |args: &[&str]| {
        let folder = dir.path().to_str().unwrap();
        let line = args.iter().copied().chain(["--tenant-migrations", folder]);
        database.tenantry(line).run()
    };
    database.tenantry(["migrate-public"]).run().assert_code(0);
    let from = logged();
    run(&["create", "acme"]).assert_code(0);
    let sent = sent(from);
    let of = |tag: &str| sent.iter().filter(|line| line.starts_with(tag)).collect::<Vec<_>>();
    assert_eq!((of("CREATE SCHEMA").len(), of("CREATE INDEX").len(), of("ALTER TABLE").len()), (1, 1, 2), "{sent:?}");
    // The lock timeout reaches the workers.
    for line in of("ALTER TABLE") {
        assert!(line.contains("propagate local") && !line.contains("lock_timeout 0"), "{line}");
    }
    assert_eq!(database.string("SELECT state FROM schema_tracker WHERE name = 'acme'"), "active");
    run(&["health-check"]).assert_code(0);
    run(&["diff", "acme"]).assert_code(0);

    // An existing tenant: still one transaction.
    let dir = dir
        .add("20260103000000_bad", "ALTER TABLE orders ADD COLUMN more int;\nALTER TABLE orders ADD COLUMN note int;");
    let failed = database.tenantry(["migrate-all", "--tenant-migrations", dir.path().to_str().unwrap()]).run();
    failed.assert_code(1);
    assert!(failed.stderr.contains("20260103000000_bad/up.sql:2 failed"), "{}", failed.stderr);
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'acme.orders'::regclass AND attname = 'more'";
    assert_eq!(database.count(columns), 0);
}

#[test]
fn a_joined_message_fails_in_the_stand_in() {
    let database = distributed();
    let sql = "CREATE SCHEMA acme; CREATE TABLE acme.a (i int);\nALTER TABLE acme.a ADD COLUMN b int;\nSELECT 1";
    let error = diesel::connection::SimpleConnection::batch_execute(&mut database.connect(), sql).unwrap_err();
    assert!(error.to_string().contains("multiple utility events"), "{error}");
}

/// Reported as not run if no coordinator is given.
#[test]
fn a_given_coordinator_migrates_tenants() {
    let Some(url) = std::env::var_os("TENANTRY_CITUS_URL") else {
        // Not through the captured output of a test.
        let _ = writeln!(std::io::stderr(), "not run: a real Citus, because TENANTRY_CITUS_URL is not set");
        return;
    };
    let dir = migrations();
    let folder = dir.path().to_str().unwrap().to_owned();
    let run = |line: &str| {
        let words = line.split_whitespace().chain(["--tenant-migrations", folder.as_str()]);
        Tenantry::new().args(words).env("DATABASE_URL", &url).run()
    };
    Tenantry::new().args(["migrate-public"]).env("DATABASE_URL", &url).run().assert_code(0);
    run("create citus_suite_a citus_suite_b").assert_code(0);
    run("health-check").assert_code(0);
    run("revert-all --steps 1 --yes").assert_code(0);
    run("migrate-all").assert_code(0);
    Tenantry::new()
        .args(["drop", "citus_suite_a", "citus_suite_b", "--yes"])
        .env("DATABASE_URL", &url)
        .run()
        .assert_code(0);
}
