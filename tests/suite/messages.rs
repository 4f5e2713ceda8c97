//! The number of round trips, counted in front of the server.

use std::collections::HashSet;

use tenantry::operations::migrate::{self, MigratePlan, Rollout};
use tenantry::schema::reference::Reference;
use tenantry::{Database as Connected, Fleet, MigrationSet, Stop, Tenancy};

use crate::support::migrations::Dir;
use crate::support::proxy::Proxy;
use crate::support::{connector, server, set_up, small_fleet};

fn connect(url: &str, jobs: usize) -> Connected {
    Connected::connect(connector(url), jobs).unwrap()
}

fn tenancy(migrations: &Dir) -> Tenancy {
    Tenancy::new(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap()
}

#[test]
#[ignore = "long: make test-long"]
fn run_without_pending_migrations_costs_three_messages_per_500_tenants() {
    let db = set_up();
    small_fleet(&db, 1_200, &["1"]);
    let proxy = Proxy::start(server());
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)");
    let path = migrations.path().to_str().unwrap();
    // The first run records the migrations.
    db.tenantry(["migrate-all", "--tenant-migrations", path]).run().assert_code(0);
    for (command, expected) in [(&["migrate-all"][..], "0 migrated, 1,200 unchanged"), (&["list"], "1,200 tenants")] {
        proxy.reset();
        let output =
            db.tenantry(command).args(["--tenant-migrations", path]).env("DATABASE_URL", proxy.url(db.name())).run();
        output.assert_code(0);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        // The connection, the server's properties, the public ledger, the recorded migrations, the tracker, and for the
        // first command the fleet lock, which has its own connection.
        // Ledgers are read in their own transaction, with a lock timeout.
        let most = 16 + 3 * 1_200_usize.div_ceil(500);
        assert!(proxy.messages() <= most, "{} messages: {:#?}", proxy.messages(), proxy.queries());
    }
}

#[test]
fn pending_tenant_costs_one_message() {
    let db = set_up();
    small_fleet(&db, 40, &["1"]);
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int)")
        .add("2_b", "CREATE TABLE b (i int);\nCREATE TABLE c (i int);")
        .add("3_d", "CREATE TABLE d (i int); -- no end");
    let proxy = Proxy::start(server());
    let (tenancy, jobs) = (tenancy(&migrations), 4);
    let mut connected = connect(&proxy.url(db.name()), jobs);
    let fleet = Fleet::read(connected.connection(), tenancy.tenant_migrations()).unwrap();
    let plan = MigratePlan::of(fleet, tenancy.tenant_migrations(), |_| true);
    proxy.reset();
    let report =
        migrate::migrate(&mut connected, &tenancy, plan, &Rollout::default(), &Stop::default(), &mut ()).unwrap();
    assert_eq!(report.done.len(), 40, "{:?}", report.failed);
    // A startup and two settings per connection, sometimes a commit that makes earlier ones durable and a read of their
    // ledgers, and the records of the run: its migrations, start and end. Before the first record, the ledgers show
    // whether the migrations are those of the database. On a slow machine there are more commits, and queries for lock
    // holders on another connection.
    let queries = proxy.queries();
    let of_tenants = queries.iter().filter(|query| query.contains("CREATE TABLE d")).count();
    let flushes = queries.iter().filter(|query| query.contains("pg_logical_emit_message")).count();
    assert_eq!(of_tenants, 40);
    assert!(flushes >= 1, "what is reported is durable");
    let looks = queries.iter().filter(|query| query.contains("pg_blocking_pids")).count();
    let connections = proxy.messages_by_connection().len();
    assert!(connections <= jobs + 3, "{connections} connections");
    let most = 40 + 3 * connections + 4 * flushes + looks + 18;
    assert!(proxy.messages() <= most, "{} messages, at most {most}: {queries:#?}", proxy.messages());
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname IN ('b', 'c', 'd') AND relkind = 'r'"), 120);
}

#[test]
fn transactional_create_costs_one_message() {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)").add("2_b", "CREATE TABLE b (i int)");
    let proxy = Proxy::start(server());
    let tenancy = tenancy(&migrations);
    let mut connected = connect(&proxy.url(db.name()), 1);
    let name = "acme".parse().unwrap();
    tenantry::create_tenant(&mut connected, &tenancy, &name).unwrap();
    let mutating: Vec<String> = proxy.queries().into_iter().filter(|query| query.contains("CREATE")).collect();
    assert_eq!(mutating.len(), 1, "{mutating:#?}");
    assert!(!mutating[0].contains("synchronous_commit"), "a tenant alone is durable by its own commit");
    assert_eq!(db.count("SELECT count(*) FROM acme.a"), 0);
}

#[test]
fn reference_costs_two_messages_per_migration() {
    let db = set_up();
    let proxy = Proxy::start(server());
    let mut connected = connect(&proxy.url(db.name()), 1);
    let mut messages_for = |migrations: usize| {
        let dir = (1..=migrations)
            .fold(Dir::new(), |dir, n| dir.add(&format!("{n}_a"), &format!("CREATE TABLE a{n} (i int)")));
        proxy.reset();
        assert_eq!(Reference::tables(&mut connected, &tenancy(&dir)).unwrap().len(), migrations);
        proxy.messages()
    };
    // The migration, and the query for the tables that exist then.
    assert_eq!(messages_for(7), messages_for(2) + 5 * 2, "{:#?}", proxy.queries());
}

#[test]
#[ignore = "long: make test-long"]
fn no_statement_touches_more_than_500_schemas() {
    let db = set_up();
    small_fleet(&db, 1_100, &["1"]);
    let proxy = Proxy::start(server());
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int)");
    let path = migrations.path().to_str().unwrap();
    for command in [&["health-check", "--format", "json"][..], &["cleanup", "--dry-run"]] {
        db.tenantry(command).args(["--tenant-migrations", path]).env("DATABASE_URL", proxy.url(db.name())).run();
    }
    let ledger = regex::Regex::new(r#""(t\d+)"\."?__diesel_schema_migrations"#).unwrap();
    let ledgers = |query: &String| ledger.captures_iter(query).map(|found| found[1].to_owned()).collect::<HashSet<_>>();
    let most = proxy.queries().iter().map(|query| ledgers(query).len()).max().unwrap();
    assert!((100..=500).contains(&most), "{most} ledgers in one statement");
}
