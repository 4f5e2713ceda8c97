//! The cost of a command for one tenant does not depend on the number of tenants.
//!
//! The server counts the rows that it reads in its catalogs and in the tracker. The same commands run in a small and in
//! a large fleet, and in the large one also with current statistics.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use tenantry::local::Ephemeral;

use crate::support::proxy::Proxy;
use crate::support::{Database, binaries};

const SMALL: usize = 200;
const LARGE: usize = 1_000;

/// The difference in rows per tenant that does not count as growth, because the planner may choose another index. One
/// scan of the tracker in the large fleet, the smallest of the tables, exceeds it.
const SLACK: i64 = 700;

/// A server for these tests alone, which run one after the other: a session whose queue of invalidation messages
/// overflows, for example because other tests create many objects, reads all its catalog entries again.
fn server() -> (&'static Ephemeral, MutexGuard<'static, ()>) {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(|| {
        let settings = [("autovacuum", "off"), ("jit", "off")];
        Ephemeral::start(binaries(), &settings).unwrap()
    });
    static IN_USE: Mutex<()> = Mutex::new(());
    (&SERVER, IN_USE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A command for a few tenants, with SQL that runs before it.
struct Step {
    setup: &'static str,
    args: &'static [&'static str],
    code: i32,
    tenants: i64,
}

const fn step(args: &'static [&'static str]) -> Step {
    Step { setup: "", args, code: 0, tenants: 1 }
}

const fn step_after(setup: &'static str, args: &'static [&'static str]) -> Step {
    Step { setup, args, code: 0, tenants: 1 }
}

/// Run in this order in each fleet.
const STEPS: [Step; 16] = [
    step(&["create", "acme"]),
    step(&["create", "--if-not-exists", "acme"]),
    Step { setup: "", args: &["create", "ACME"], code: 1, tenants: 1 },
    step(&["revert-one", "--yes", "--steps", "1", "acme"]),
    step(&["migrate-one", "acme"]),
    step(&["migrate-one", "acme"]),
    step_after("DELETE FROM schema_tracker WHERE name = 'acme'", &["adopt", "acme"]),
    step_after("INSERT INTO schema_tracker (name) VALUES ('globex')", &["create", "globex"]),
    // A schema without a ledger.
    step_after(
        "CREATE SCHEMA initech; INSERT INTO schema_tracker (name) VALUES ('initech')",
        &["migrate-one", "initech"],
    ),
    step_after("CREATE SCHEMA umbrella", &["adopt", "umbrella"]),
    step(&["drop", "--dry-run", "acme"]),
    step(&["drop", "--yes", "acme"]),
    step_after("DELETE FROM schema_tracker WHERE name = 'globex'", &["drop", "--yes", "--untracked", "globex"]),
    Step {
        setup: "CREATE VIEW public.of_initech AS SELECT id FROM initech.users",
        args: &["drop", "--yes", "initech"],
        code: 1,
        tenants: 1,
    },
    // The cost of several tenants depends on their number.
    Step {
        setup: "",
        args: &["drop", "--dry-run", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10"],
        code: 0,
        tenants: 10,
    },
    Step {
        setup: "",
        args: &["drop", "--yes", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10"],
        code: 0,
        tenants: 10,
    },
];

/// A fleet of tenants with the kinds of objects that enlarge the catalogs, and a complete ledger.
fn fleet(server: &'static Ephemeral, tenants: usize) -> Database {
    let db = Database::on(server);
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db.tenantry(["create", "model"]).run().assert_code(0);
    // One transaction per tenant, because of the locks.
    db.execute(&format!(
        "DO $do$ BEGIN \
         SET synchronous_commit TO off; \
         FOR i IN 1..{tenants} LOOP \
           EXECUTE format($sql$ \
             CREATE SCHEMA f%1$s; \
             CREATE TABLE f%1$s.__diesel_schema_migrations ( \
               version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP); \
             CREATE DOMAIN f%1$s.positive AS int CHECK (VALUE > 0); \
             CREATE TYPE f%1$s.span AS RANGE (subtype = int); CREATE TYPE f%1$s.pair AS (a int, b int); \
             CREATE SEQUENCE f%1$s.numbers; \
             CREATE FUNCTION f%1$s.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TABLE f%1$s.users (id f%1$s.positive PRIMARY KEY, name text DEFAULT 'x' CHECK (name <> '')); \
             CREATE TABLE f%1$s.tasks (id serial PRIMARY KEY, owner int REFERENCES f%1$s.users); \
             CREATE TRIGGER touch BEFORE UPDATE ON f%1$s.users FOR EACH ROW EXECUTE FUNCTION f%1$s.touch(); \
             CREATE VIEW f%1$s.names AS SELECT name FROM f%1$s.users; \
             INSERT INTO f%1$s.__diesel_schema_migrations SELECT * FROM model.__diesel_schema_migrations; \
             INSERT INTO public.schema_tracker (name, state) VALUES ('f%1$s', 'active') $sql$, i); \
           COMMIT; \
         END LOOP; END $do$"
    ));
    db.execute("CREATE TABLE public.marker ()");
    db
}

/// The rows that the sessions of the database have read so far in catalogs and in the tracker, by scans and through
/// indexes.
fn rows_read(db: &Database) -> i64 {
    db.wait_for(
        "SELECT CASE count(*) WHEN 0 THEN 1 ELSE 0 END FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        1,
    );
    // A session reports its counts when it ends, in version 14 a moment later; the counts of this session come last.
    let scans = "SELECT pg_stat_get_numscans('public.marker'::regclass)";
    let before = db.count(scans);
    db.execute("TABLE public.marker");
    db.wait_for(scans, before + 1);
    // Catalogs have oids below 16384. Shared catalogs are excluded, because other tests read them.
    let mut conn = db.connect();
    conn.batch_execute("SET enable_seqscan TO off").unwrap();
    let read = "SELECT sum(pg_stat_get_tuples_returned(oid) + pg_stat_get_tuples_fetched(oid))::bigint FROM pg_class \
                WHERE NOT relisshared AND oid = ANY (ARRAY( \
                  SELECT oid FROM pg_class WHERE oid < 16384 \
                  UNION ALL SELECT 'public.schema_tracker'::regclass \
                  UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = 'public.schema_tracker'::regclass))";
    crate::support::strings(&mut conn, read)[0].parse().unwrap()
}

/// The number of rows that a command makes the server read, without those that its lock monitor reads: the number of its
/// polls depends on how long the command takes.
fn cost(db: &Database, args: &[&str], code: i32) -> i64 {
    let proxy = Proxy::start(db.server());
    let before = rows_read(db);
    db.tenantry(args).env("DATABASE_URL", proxy.url(db.name())).run().assert_code(code);
    let read = rows_read(db) - before;
    let polls: Vec<String> = proxy.queries().into_iter().filter(|sql| sql.contains("pg_blocking_pids")).collect();
    read - cost_of_polls(db, &polls)
}

/// The number of rows that a session with these polls reads.
fn cost_of_polls(db: &Database, polls: &[String]) -> i64 {
    if polls.is_empty() {
        return 0;
    }
    let start = rows_read(db);
    let before = rows_read(db);
    let mut conn = db.connect();
    for poll in polls {
        sql_query(poll).bind::<Text, _>("no run").execute(&mut conn).expect("the query of the lock monitor");
    }
    drop(conn);
    // Counting reads rows, too.
    (rows_read(db) - before) - (before - start)
}

/// The cost of each step.
fn costs(db: &Database) -> Vec<i64> {
    let costs = STEPS.iter().map(|Step { setup, args, code, .. }| {
        if !setup.is_empty() {
            db.execute(setup);
        }
        cost(db, args, *code)
    });
    costs.collect()
}

#[test]
#[ignore = "long: make test-long"]
fn cost_for_a_few_tenants_does_not_depend_on_the_fleet_size() {
    let (server, _in_use) = server();
    let small = costs(&fleet(server, SMALL));
    let large = fleet(server, LARGE);
    let analyzed = large.copy();
    analyzed.execute("ANALYZE");
    let mut grown = Vec::new();
    for (statistics, db) in [("no statistics", &large), ("statistics", &analyzed)] {
        for ((step, small), large) in STEPS.iter().zip(&small).zip(costs(db)) {
            if large > small + SLACK * step.tenants {
                grown.push(format!(
                    "{}: {small} rows, and {large} in the large fleet, with {statistics}",
                    step.args.join(" ")
                ));
            }
        }
    }
    assert!(grown.is_empty(), "{grown:#?}");
}

#[test]
#[ignore = "long: make test-long"]
fn cost_for_the_whole_fleet_is_linear() {
    let (server, _in_use) = server();
    let (small, large) = (fleet(server, SMALL), fleet(server, LARGE));
    for args in [
        &["cleanup", "--dry-run"][..],
        &["cleanup", "--dry-run", "--include-orphans"],
        &["migrate-all", "--dry-run"],
        &["list"],
    ] {
        let small = cost(&small, args, 0) as f64 / SMALL as f64;
        let large = cost(&large, args, 0) as f64 / LARGE as f64;
        // Per tenant, the constant part of the cost is larger in the small fleet.
        assert!(large < small * 1.1 + 10.0, "{args:?}: {large:.0} rows for each of {LARGE}, and {small:.0} of {SMALL}");
    }
}
