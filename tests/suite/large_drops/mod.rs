//! Schemas that are too large for the server's lock table and are dropped in steps.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tenantry::local::Ephemeral;

use crate::support::proxy::{CutPoint, Proxy};
use crate::support::{Database, Output, Running, Signal, binaries};

/// A server with a small lock table, of which a run takes 150 locks.
///
/// A test uses it exclusively, because a full lock table affects all sessions. The next test reuses it.
struct SmallServer(&'static Ephemeral);

impl SmallServer {
    fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self(free.unwrap_or_else(|| server_with("20", "30")))
    }
}

impl Drop for SmallServer {
    fn drop(&mut self) {
        // A failed test may leave sessions behind.
        if !thread::panicking() {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
        }
    }
}

/// The small servers that no test uses at present.
static FREE: Mutex<Vec<&Ephemeral>> = Mutex::new(Vec::new());

/// A server with a lock table of the given size.
fn server_with(connections: &str, locks: &str) -> &'static Ephemeral {
    let settings = [
        ("max_connections", connections),
        ("max_locks_per_transaction", locks),
        ("autovacuum", "off"),
        ("max_wal_senders", "0"),
        ("max_worker_processes", "0"),
    ];
    Box::leak(Box::new(Ephemeral::start(binaries(), &settings).unwrap()))
}

/// A fleet on a server.
fn fleet(server: &'static Ephemeral, tenants: &[&str]) -> Database {
    let db = Database::on(server);
    db.tenantry(["migrate-public"]).run().assert_code(0);
    for tenant in tenants {
        db.tenantry(["create", tenant]).run().assert_code(0);
    }
    db
}

/// Adds tables `t1`, `t2` and so on to a schema, each with an index, a sequence and foreign keys to the previous table
/// and to the first; and for every ten of them a view of a view, a function and a type. Each is created in its own
/// transaction, because of the locks.
fn enlarge(db: &Database, schema: &str, tables: usize) {
    db.execute(&format!(
        "DO $do$ BEGIN \
         FOR i IN 1..{tables} LOOP \
           EXECUTE format('CREATE TABLE {schema}.t%s (id serial PRIMARY KEY, name text DEFAULT ''x'')', i); \
           EXECUTE format('CREATE INDEX ON {schema}.t%s (name)', i); \
           IF i > 1 THEN \
             EXECUTE format('ALTER TABLE {schema}.t%s ADD a int REFERENCES {schema}.t%s, ADD b int REFERENCES {schema}.t1', i, i - 1); \
           END IF; \
           IF i % 10 = 0 THEN \
             EXECUTE format('CREATE VIEW {schema}.v%s AS SELECT * FROM {schema}.t%s', i, i); \
             EXECUTE format('CREATE VIEW {schema}.w%s AS SELECT id FROM {schema}.v%s', i, i); \
             EXECUTE format('CREATE TYPE {schema}.e%s AS ENUM (''a'')', i); \
             EXECUTE format('CREATE FUNCTION {schema}.f%s({schema}.t%s) RETURNS {schema}.e%s LANGUAGE sql AS ''SELECT NULL::{schema}.e%s''', i, i, i, i); \
             EXECUTE format('ALTER TABLE {schema}.t%s ADD c {schema}.e%s', i, i); \
           END IF; \
           COMMIT; \
         END LOOP; END $do$"
    ));
}

/// A database on its own server with `globex` and a tenant `acme` that is too large for one transaction.
struct Large {
    db: Database,
    // The database is dropped before the server is returned.
    server: SmallServer,
}

impl Deref for Large {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.db
    }
}

fn large() -> Large {
    let server = SmallServer::take();
    let db = fleet(server.0, &["acme", "globex"]);
    enlarge(&db, "acme", 40);
    db.execute("INSERT INTO globex.users (email, full_name) SELECT i || '@x', 'x' FROM generate_series(1, 100) AS i");
    Large { db, server }
}

/// The objects of a schema, and its rows.
fn contents(db: &Database, schema: &str) -> Vec<String> {
    let mut contents = db.strings(&format!(
        "SELECT format('%s %s %s', relname, relkind, pg_relation_filenode(oid)) FROM pg_class \
         WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'i', 'S') ORDER BY relname"
    ));
    contents.extend(db.strings(&format!("SELECT count(*) FROM pg_depend WHERE refobjid = '{schema}'::regnamespace")));
    contents.extend(db.strings(&format!("SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM {schema}.users AS u")));
    contents
}

fn tables_of(db: &Database, schema: &str) -> i64 {
    db.count(&format!(
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = '{schema}')"
    ))
}

fn state(db: &Database, tenant: &str) -> String {
    db.strings(&format!("SELECT state FROM schema_tracker WHERE name = '{tenant}'")).join(" ")
}

fn exists(db: &Database, schema: &str) -> bool {
    db.count(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'")) == 1
}

/// A session that holds a lock on a table, so that a drop of it waits.
fn holder(db: &Database, table: &str) -> PgConnection {
    let mut conn = db.connect();
    conn.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE")).unwrap();
    conn
}

/// A drop of `acme` that waits for a lock of the returned session.
fn blocked_drop(db: &Database, table: &str, args: &[&str]) -> (Running, PgConnection) {
    let holder = holder(db, table);
    let run = db.tenantry(["drop", "--yes", "--lock-timeout", "1000s", "acme"]).args(args).spawn();
    db.wait_for_waiters(1);
    (run, holder)
}

#[track_caller]
fn assert_gone(db: &Database, schema: &str) {
    assert!(!exists(db, schema), "{schema} is there");
    assert_eq!(state(db, schema), "");
}

#[track_caller]
fn assert_output_contains(output: &Output, texts: &[&str]) {
    for text in texts {
        assert!(output.stderr.contains(text), "no `{text}` in:\n{}", output.stderr);
    }
}

/// This test has its own server, because a full lock table affects all sessions.
#[test]
#[ignore = "long: make test-long"]
fn thousands_of_tables_are_dropped_in_steps() {
    let db = fleet(server_with("50", "64"), &["acme", "globex"]);
    enlarge(&db, "acme", 3_000);
    db.execute(
        "CREATE TABLE acme.parts (id int PRIMARY KEY, parent int) PARTITION BY RANGE (id); \
         ALTER TABLE acme.parts ADD FOREIGN KEY (parent) REFERENCES acme.parts",
    );
    db.execute(
        "DO $$ BEGIN FOR i IN 1..200 LOOP \
         EXECUTE format('CREATE TABLE acme.part%s PARTITION OF acme.parts FOR VALUES FROM (%s) TO (%s)', i, i, i + 1); \
         COMMIT; END LOOP; END $$",
    );
    let before = contents(&db, "globex");
    let refused = db.connect().batch_execute("DROP SCHEMA acme CASCADE").unwrap_err();
    assert!(refused.to_string().contains("out of shared memory"), "{refused}");

    let plan = db.tenantry(["drop", "acme", "globex", "--dry-run", "--format", "json"]).run();
    let plan = plan.json();
    assert_eq!((&plan["drops"][0]["in_steps"], &plan["drops"][1]["in_steps"]), (&true.into(), &false.into()));
    let output = db.tenantry(["drop", "acme", "--yes", "--format", "json"]).run();
    output.assert_code(0);
    let report = output.json();
    assert_eq!((&report["dropped"][0], &report["in_steps"][0]["name"]), (&"acme".into(), &"acme".into()));
    let transactions = report["in_steps"][0]["transactions"].as_u64().unwrap();
    assert!((20..1_000).contains(&transactions), "{transactions}");
    assert_gone(&db, "acme");
    assert_eq!(contents(&db, "globex"), before);
    assert_eq!(db.strings("SELECT outcome FROM schema_run_tenant WHERE tenant = 'acme' AND run = 3"), ["done"]);
}

#[test]
#[ignore = "long: make test-long"]
fn drop_in_steps_is_announced_and_reported() {
    let db = large();
    let plan = db.tenantry(["drop", "acme", "globex", "--dry-run"]).run();
    plan.assert_code(0);
    assert_output_contains(
        &plan,
        &["warning: too large for one transaction", "dropped in several: acme; ", "2 tenants would be dropped"],
    );
    let plan = db.tenantry(["cleanup", "--dry-run"]).run();
    assert_output_contains(&plan, &["warning: too large for one transaction"]);
    assert_eq!(state(&db, "acme"), "active", "a dry run changes nothing");
    let done = db.tenantry(["drop", "acme", "globex", "--yes"]).run();
    done.assert_code(0);
    assert_output_contains(&done, &["acme dropped in ", " transactions\n", "\n2 dropped"]);
    assert!(!done.stderr.contains("globex was dropped in"), "{}", done.stderr);
    assert_gone(&db, "acme");
    assert_gone(&db, "globex");
}

#[test]
#[ignore = "long: make test-long"]
fn each_step_has_timeouts_and_an_application_name() {
    let db = large();
    let proxy = Proxy::start(db.server.0);
    let command = db.tenantry(["drop", "acme", "--yes", "--lock-timeout", "300s", "--statement-timeout", "700s"]);
    command.env("DATABASE_URL", proxy.url(db.name())).run().assert_code(0);
    let queries = proxy.queries();
    let mut transactions = queries.iter().filter(|sql| sql.contains("pg_try_advisory_xact_lock"));
    // One transaction reads the remaining objects, and the others drop them.
    assert!(transactions.clone().any(|sql| !sql.contains("COMMIT;")), "{queries:#?}");
    assert!(transactions.clone().any(|sql| sql.contains("DROP SCHEMA")), "{queries:#?}");
    let limits = "SET LOCAL lock_timeout TO '300000'; SET LOCAL statement_timeout TO '700000'; \
                  SET LOCAL client_connection_check_interval TO '1000'; \
                  SET LOCAL application_name TO 'tenantry/3 acme';";
    assert!(transactions.all(|sql| sql.starts_with("BEGIN ") && sql.contains(limits)), "{queries:#?}");
}

#[test]
#[ignore = "long: make test-long"]
fn drop_killed_at_any_step_is_completed_by_the_next() {
    let db = large();
    let before = contents(&db, "globex");
    let mut left = tables_of(&db, "acme");
    for table in ["acme.t35", "acme.t20", "acme.t8"] {
        let (run, mut holder) = blocked_drop(&db, table, &[]);
        assert_eq!(state(&db, "acme"), "dropping");
        run.kill();
        assert_eq!(run.wait().code, None);
        holder.batch_execute("ROLLBACK").unwrap();
        db.wait_for_quiet();
        let now = tables_of(&db, "acme");
        assert!(now < left && now > 1, "{now} tables of {left} are left, with {table}");
        left = now;
        assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 5, "the ledger is the last to go");
        assert_eq!(state(&db, "acme"), "dropping");
    }
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    assert_gone(&db, "acme");
    assert_eq!(contents(&db, "globex"), before);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn every_command_recognizes_a_partly_dropped_tenant() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &[]);
    // The drop is running, so it is not a finding.
    let health = db.tenantry(["health-check"]).run();
    assert!(!health.stdout.contains("stuck-dropping"), "{}", health.stdout);
    run.kill();
    run.wait();
    holder.batch_execute("ROLLBACK").unwrap();
    db.wait_for_quiet();
    for args in [
        &["create", "acme"][..],
        &["create", "--if-not-exists", "acme"],
        &["adopt", "acme"],
        &["migrate-one", "acme"],
        &["migrate-all"],
        &["revert-one", "--steps", "1", "acme"],
        &["diff", "acme"],
        &["diff", "globex", "acme"],
        &["repair-plan", "acme"],
    ] {
        let output = db.tenantry(args).run();
        assert_ne!(output.code, Some(0), "{args:?}: {}", output.stderr);
        assert_output_contains(
            &output,
            &["tenant acme: a drop is in progress", "'tenantry drop acme' completes the drop"],
        );
    }
    assert_eq!(db.tenantry(["list", "--format", "json"]).run().json()["tenants"][0]["state"], "dropping");
    let health = db.tenantry(["health-check"]).run();
    health.assert_code(1);
    assert!(
        health.stdout.contains("stuck-dropping") && health.stdout.contains("tenantry drop acme"),
        "{}",
        health.stdout
    );
    assert!(!health.stdout.contains("index.missing"), "it is not compared: {}", health.stdout);
    assert_eq!(state(&db, "acme"), "dropping");
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
    assert!(!exists(&db, "acme") && !exists(&db, "globex"));
}

#[test]
fn interrupt_stops_after_the_current_step() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &["--format", "json"]);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    holder.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(130);
    assert_output_contains(
        &output,
        &["warning: acme is partly dropped; repeat the drop to complete it", "0 dropped, 1 partly dropped"],
    );
    let report = output.json();
    assert_eq!((&report["unfinished"][0], &report["stop_reason"]), (&"acme".into(), &"interrupted".into()));
    assert_eq!(report["not_reached"].as_array().map(Vec::len), Some(0));
    assert_eq!(state(&db, "acme"), "dropping");
    assert_eq!(db.strings("SELECT outcome FROM schema_run ORDER BY id DESC LIMIT 1"), ["interrupted"]);
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    assert_gone(&db, "acme");
}

#[test]
fn second_interrupt_cancels_the_step_and_third_exits() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &[]);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    run.signal(Signal::INT);
    let output = run.wait();
    output.assert_code(130);
    assert_output_contains(&output, &["interrupted again", "acme is partly dropped"]);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE oid = 'acme.t20'::regclass"), 1, "it was rolled back");
    holder.batch_execute("ROLLBACK").unwrap();

    // If cancellation has no effect: the server process waits for a lock that it does not get.
    let (run, mut holder) = blocked_drop(&db, "acme.t8", &[]);
    for line in ["interrupted: ", "interrupted again"] {
        run.signal(Signal::INT);
        run.wait_for_stderr_line(line);
    }
    run.signal(Signal::INT);
    let output = run.wait();
    output.assert_code(130);
    holder.batch_execute("ROLLBACK").unwrap();
    db.wait_for_quiet();
    assert_eq!(state(&db, "acme"), "dropping");
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    assert_gone(&db, "acme");
}

#[test]
#[ignore = "long: make test-long"]
fn new_dependency_stops_the_drop() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &[]);
    db.execute(
        "CREATE VIEW public.of_acme AS SELECT id FROM acme.t1; CREATE TABLE public.keys (t int REFERENCES acme.t2)",
    );
    holder.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(1);
    assert_output_contains(
        &output,
        &[
            "tenant acme: drop is incomplete; some objects may be dropped already: objects outside the schema depend on it: \
             constraint keys_t_fkey on table public.keys, view public.of_acme",
            "hint: drop those objects first, or move them into the schema; 'tenantry drop acme --lock-timeout 1000s' resumes the drop",
        ],
    );
    let again = db.tenantry(["drop", "acme", "--yes", "--format", "json"]).run();
    again.assert_code(1);
    assert_eq!(again.json()["failed"][0]["code"], "dependents");
    assert_eq!(db.count("SELECT count(*) FROM public.of_acme"), 0);
    assert_eq!(db.count("SELECT count(*) FROM pg_constraint WHERE conname = 'keys_t_fkey'"), 1);
    db.execute("DROP VIEW public.of_acme; DROP TABLE public.keys");
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    assert_gone(&db, "acme");
}

#[test]
fn tenant_whose_state_changes_during_the_drop_is_not_dropped_further() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &["--format", "json"]);
    db.execute("UPDATE schema_tracker SET state = 'active' WHERE name = 'acme'");
    holder.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(1);
    assert_output_contains(
        &output,
        &["drop is incomplete; some objects may be dropped already: changed by another session during the drop"],
    );
    assert_eq!(output.json()["failed"][0]["code"], "changed-since-plan");
    assert!(exists(&db, "acme"));
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn schema_renamed_during_the_drop_is_not_reported_as_dropped() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &["--format", "json"]);
    db.execute("ALTER SCHEMA acme RENAME TO saved; DELETE FROM schema_tracker WHERE name = 'acme'");
    holder.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(1);
    assert_eq!(output.json()["dropped"].as_array().map(Vec::len), Some(0), "{}", output.stderr);
    assert!(exists(&db, "saved"));
    assert!(tables_of(&db, "saved") > 1, "nothing more of it was dropped");
}

#[test]
#[ignore = "long: make test-long"]
fn lock_timeout_is_retried_and_reported() {
    let db = large();
    let mut holder = holder(&db, "acme.t20");
    let deferred =
        db.tenantry(["drop", "--yes", "acme", "--lock-timeout", "200ms", "--retries", "1", "--format", "json"]).run();
    deferred.assert_code(1);
    assert_eq!(deferred.json()["failed"][0]["code"], "deferred");
    assert_output_contains(&deferred, &["drop is incomplete; some objects may be dropped already: lock timeout"]);
    assert_eq!(db.strings("SELECT outcome FROM schema_run_tenant WHERE run = 3"), ["deferred"]);
    holder.batch_execute("ROLLBACK").unwrap();
    db.tenantry(["drop", "--yes", "acme"]).run().assert_code(0);
    assert_gone(&db, "acme");
}

#[test]
fn terminated_session_is_replaced() {
    let db = large();
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &[]);
    db.strings(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock'",
    );
    holder.batch_execute("ROLLBACK").unwrap();
    run.wait().assert_code(0);
    assert_gone(&db, "acme");
}

#[test]
#[ignore = "long: make test-long"]
fn drop_survives_a_lost_connection_at_any_message() {
    let server = SmallServer::take();
    let proxy = Proxy::start(server.0);
    let mut survived = 0;
    for n in (1..).step_by(2) {
        let db = fleet(server.0, &["acme"]);
        enlarge(&db, "acme", 8);
        proxy.reset();
        proxy.cut_at(n, if n % 4 == 1 { CutPoint::Before } else { CutPoint::After });
        let drop =
            || db.tenantry(["drop", "--yes", "--if-exists", "acme"]).env("DATABASE_URL", proxy.url(db.name())).run();
        let first = drop();
        let reached = proxy.messages();
        match first.code {
            Some(0) => assert_gone(&db, "acme"),
            Some(1 | 5) => {}
            other => panic!("{other:?}: {}", first.stderr),
        }
        survived += usize::from(first.code == Some(0));
        let is_whole = tables_of(&db, "acme") == 13;
        assert!(
            is_whole || ["dropping", ""].contains(&state(&db, "acme").as_str()),
            "cut at {n}: {}",
            state(&db, "acme")
        );
        proxy.reset();
        drop().assert_code(0);
        assert_gone(&db, "acme");
        // The run was over before that message.
        if reached < n {
            assert!(n > 15, "{n} messages are fewer than such a run has");
            break;
        }
    }
    assert!(survived > 5, "a lost link is come back from: {survived}");
}

/// The owner of a schema may drop the tables of other roles in it, but may not lock them.
#[test]
fn schema_owner_drops_tables_of_other_roles_in_steps() {
    let db = large();
    let role = format!("owner_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; ALTER SCHEMA acme OWNER TO {role}; GRANT USAGE ON SCHEMA public TO {role}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    ));
    let output = db.tenantry(["drop", "--yes", "acme"]).env("DATABASE_URL", format!("{}&user={role}", db.url())).run();
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    output.assert_code(0);
    assert_output_contains(&output, &["acme dropped in "]);
    assert_gone(&db, "acme");
}

#[test]
#[ignore = "long: make test-long"]
fn concurrent_drops_of_one_tenant_complete() {
    let db = large();
    let before = contents(&db, "globex");
    let runs: Vec<Running> = (0..2).map(|_| db.tenantry(["drop", "--yes", "acme"]).spawn()).collect();
    let outputs: Vec<Output> = runs.into_iter().map(Running::wait).collect();
    assert!(outputs.iter().any(|output| output.code == Some(0)), "{}", outputs[0].stderr);
    for output in &outputs {
        assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
        assert!(!output.stderr.contains("does not exist"), "{}", output.stderr);
    }
    assert_gone(&db, "acme");
    assert_eq!(contents(&db, "globex"), before);
}

#[test]
#[ignore = "long: make test-long"]
fn several_large_tenants_are_dropped_in_one_run() {
    let server = SmallServer::take();
    let db = fleet(server.0, &["a", "b", "c", "d", "e"]);
    ["a", "b", "c"].into_iter().for_each(|schema| enlarge(&db, schema, 15));
    let output = db.tenantry(["drop", "--yes", "a", "b", "c", "d", "e"]).run();
    output.assert_code(0);
    assert_output_contains(&output, &["5 dropped"]);
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 0);
}

#[test]
fn untracked_schema_is_dropped_in_steps() {
    let db = large();
    db.execute("DELETE FROM schema_tracker WHERE name = 'acme'");
    let (run, mut holder) = blocked_drop(&db, "acme.t20", &["--untracked"]);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    holder.batch_execute("ROLLBACK").unwrap();
    run.wait().assert_code(130);
    assert!(exists(&db, "acme"));
    // Its ledger identifies it as a tenant's schema.
    db.tenantry(["cleanup", "--include-orphans", "--yes"]).run().assert_code(0);
    assert!(!exists(&db, "acme"));
}

/// Fills the server's lock table except for the given number of locks, which the session holds.
fn fill_lock_table(conn: &mut PgConnection, but: i64) {
    conn.batch_execute(&format!(
        "DO $$ DECLARE i int := 0; BEGIN \
           BEGIN WHILE i < 100000 LOOP PERFORM pg_advisory_lock(4711, i); i := i + 1; END LOOP; \
           EXCEPTION WHEN out_of_memory THEN NULL; END; \
           IF i = 100000 THEN RAISE EXCEPTION 'it is never full'; END IF; \
           FOR j IN 1..{but} LOOP PERFORM pg_advisory_unlock(4711, i - j); END LOOP; \
         END $$"
    ))
    .unwrap();
}

#[test]
#[ignore = "long: make test-long"]
fn steps_are_smaller_if_the_lock_table_is_nearly_full() {
    let db = fleet(server_with("20", "64"), &["acme", "globex"]);
    enlarge(&db, "acme", 8);
    let plan = db.tenantry(["drop", "acme", "--dry-run", "--format", "json"]).run().json();
    assert_eq!(plan["drops"][0]["in_steps"], false, "it would fit");
    let mut others = db.connect();
    fill_lock_table(&mut others, 150);
    let output = db.tenantry(["drop", "acme", "--yes"]).run();
    output.assert_code(0);
    assert_output_contains(&output, &["acme dropped in "]);
    assert_gone(&db, "acme");
}

#[test]
#[ignore = "long: make test-long"]
fn table_that_exceeds_the_lock_table_is_reported_with_the_setting_to_raise() {
    let db = fleet(server_with("20", "64"), &["acme"]);
    db.execute("CREATE TABLE acme.wide (i int)");
    (0..300).for_each(|_| db.execute("CREATE INDEX ON acme.wide (i)"));
    let mut others = db.connect();
    fill_lock_table(&mut others, 200);
    let output = db.tenantry(["drop", "acme", "--yes", "--retries", "1"]).run();
    output.assert_code(1);
    assert_output_contains(
        &output,
        &[
            "lock table full while dropping table acme.wide (about 303 locks): out of shared memory",
            "hint: raise max_locks_per_transaction and restart the server",
            "'tenantry drop acme --retries 1' resumes the drop",
        ],
    );
    assert_eq!(state(&db, "acme"), "dropping");
    let again = db.tenantry(["drop", "acme", "--yes", "--retries", "0", "--format", "json"]).run();
    again.assert_code(1);
    let failed = &again.json()["failed"][0];
    assert_eq!(
        (&failed["code"], &failed["server"]["message"]),
        (&"lock-table-full".into(), &"out of shared memory".into())
    );
    others.batch_execute("SELECT pg_advisory_unlock_all()").unwrap();
    db.tenantry(["drop", "acme", "--yes"]).run().assert_code(0);
    assert_gone(&db, "acme");
}

#[test]
fn every_kind_of_object_is_counted_and_dropped() {
    let server = SmallServer::take();
    let db = fleet(server.0, &[]);
    for statement in include_str!("everything.sql").split(";\n") {
        db.execute(&format!("SET search_path TO rich; {statement}"));
    }
    let counted = format!(
        "{} SELECT count(*) FROM part",
        concat!(
            include_str!("../../../src/operations/inside.sql"),
            include_str!("../../../src/operations/drop/parts.sql")
        )
        .replace("$1", "ARRAY['rich'::regnamespace]::oid[]")
    );
    let mut conn = db.connect();
    let counted: i64 = crate::support::strings(&mut conn, &counted)[0].parse().unwrap();
    conn.batch_execute("BEGIN; DROP SCHEMA rich CASCADE").unwrap();
    let taken = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'";
    let taken: i64 = crate::support::strings(&mut conn, taken)[0].parse().unwrap();
    conn.batch_execute("ROLLBACK").unwrap();
    // The schema itself, and one or two catalogs.
    assert!((0..=6).contains(&(taken - counted)), "{counted} were counted, and {taken} taken");
    let output = db.tenantry(["drop", "--untracked", "--yes", "rich"]).run();
    output.assert_code(0);
    assert_output_contains(&output, &["rich dropped in "]);
    assert!(!exists(&db, "rich"));
}
