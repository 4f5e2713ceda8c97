//! A session of a run is terminated or cancelled, or a migration ends its own session.

use diesel::connection::SimpleConnection;
use rustix::process::{Pid, Signal, kill_process};

use super::outages::OwnServer;
use super::{at, gated, having, listed, names};
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{assert_whole, set_up, small_fleet, with};

/// The session of the run that works on a tenant.
fn of_tenant(what: &str, tenant: &str) -> String {
    format!(
        "SELECT {what}(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantry/% {tenant}'"
    )
}

#[test]
fn terminated_session_is_replaced() {
    let (db, mut holder, migrations) = gated(6);
    let run =
        with(&db, &migrations, &["migrate-all", "--jobs", "3", "--lock-timeout", "1min", "--format", "json"]).spawn();
    db.wait_for_waiters(3);
    assert_eq!(db.strings(&of_tenant("pg_terminate_backend", "t00001")), ["true"]);
    // The tenant waits again: its ledger was read, and its migration retried.
    db.wait_for_waiters(3);
    holder.batch_execute("COMMIT").unwrap();
    let output = run.wait();
    output.assert_code(0);
    let json = output.json();
    let tried: Vec<u64> =
        json["done"].as_array().unwrap().iter().map(|done| done["attempts"].as_u64().unwrap()).collect();
    assert_eq!(tried, [1, 2, 1, 1, 1, 1]);
    assert_whole(&db, &["b", "c"], "2");
}

#[test]
#[ignore = "long: make test-long"]
fn run_survives_the_termination_of_all_its_sessions() {
    let db = set_up();
    small_fleet(&db, 100, &["1"]);
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "CREATE TABLE b (i int); SELECT pg_sleep(0.02); CREATE TABLE c (i int);");
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "4"]).spawn();
    for done in [5, 30, 60] {
        db.wait_for("SELECT count(*) FROM public.schema_run_tenant", done);
        // The sessions of the workers, of the fleet lock, and of the command.
        db.strings("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    }
    let output = run.wait();
    output.assert_code(0);
    assert!(output.stderr.contains("100 migrated"), "{}", output.stderr);
    assert_eq!(at(&db, "2").len(), 100);
    assert_whole(&db, &["b", "c"], "2");
    assert_eq!(db.string("SELECT outcome || ' ' || done FROM schema_run"), "done 100");
}

#[test]
fn cancelled_statement_is_reported_and_rolled_back() {
    let (db, mut holder, migrations) = gated(4);
    let run = with(&db, &migrations, &["migrate-all", "--lock-timeout", "1min"]).spawn();
    db.wait_for_waiters(4);
    assert_eq!(db.strings(&of_tenant("pg_cancel_backend", "t00001")), ["true"]);
    db.wait_for("SELECT count(*) FROM public.schema_run_tenant WHERE outcome = 'failed'", 1);
    holder.batch_execute("COMMIT").unwrap();
    let output = run.wait();
    assert_snapshot!(output, @r"
        --- stderr
        error: tenant t00001: canceled by another session and rolled back: canceling statement due to user request
        hint: try again
        3 migrated, 1 failed (run 1)
        hint: to retry: tenantry migrate-all --match '^t00001$' --tenant-migrations MIGRATIONS --lock-timeout 1min
        --- exit 1
    ");
    output.assert_code(1);
    assert_eq!((having(&db, "b").len(), at(&db, "2").len()), (3, 3));
    let again = with(&db, &migrations, &["migrate-all", "--format", "json"]).run();
    again.assert_code(0);
    assert_eq!(listed(&again, "done"), ["t00001".to_owned()].into());
}

#[test]
#[ignore = "long: make test-long"]
fn run_resumes_after_a_killed_backend_restarts_the_server() {
    let server = OwnServer::start();
    let db = server.fleet(60);
    let up = "CREATE TABLE b (i int); SELECT pg_sleep(0.02); CREATE TABLE c (i int);";
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", up);
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "3"]).spawn();
    let working = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tenantry/% t%' LIMIT 1";
    db.wait_for("SELECT count(*) FROM public.schema_run_tenant", 10);
    db.wait_for(&format!("SELECT count(*) FROM ({working}) AS working"), 1);
    // As the kernel does when memory is short: the server restarts all sessions and recovers.
    if let [pid] = db.strings(working).as_slice() {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "2"), names(60).into_iter().collect());
    assert_whole(&db, &["b", "c"], "2");
}

#[test]
fn migration_that_ends_its_session_fails_after_retries() {
    let db = set_up();
    small_fleet(&db, 12, &["1"]);
    let up =
        "CREATE TABLE b (i int);\nSELECT pg_terminate_backend(pg_backend_pid()) WHERE current_schema() = 't00003';";
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", up);
    let output = with(&db, &migrations, &["migrate-all", "--jobs", "3"]).run();
    assert_snapshot!(output, @r"
        --- stderr
        error: tenant t00003: lost connection to the server on every attempt: server closed the connection unexpectedly; the last transaction may have been committed
        hint: check the server log for a statement that terminates the session, then try again
        11 migrated, 1 failed (run 1)
        hint: to retry: tenantry migrate-all --match '^t00003$' --tenant-migrations MIGRATIONS --jobs 3
        --- exit 1
    ");
    output.assert_code(1);
    let left = names(12).into_iter().filter(|name| name != "t00003").collect();
    assert_eq!(
        (having(&db, "b"), at(&db, "2")),
        (left, names(12).into_iter().filter(|name| name != "t00003").collect())
    );
    let (tries, code) = (
        db.count("SELECT attempts FROM schema_run_tenant WHERE tenant = 't00003'"),
        db.string("SELECT code FROM schema_run_tenant WHERE tenant = 't00003'"),
    );
    assert!((2..=10).contains(&tries) && code == "connection-lost", "{code} after {tries} tries");
}

#[test]
#[ignore = "long: make test-long"]
fn migration_that_ends_every_session_ends_the_run() {
    let db = set_up();
    small_fleet(&db, 30, &["1"]);
    let up = "CREATE TABLE b (i int);\nSELECT pg_terminate_backend(pg_backend_pid());";
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", up);
    let output = with(&db, &migrations, &["migrate-all", "--jobs", "1"]).run();
    assert_snapshot!(output, @r"
        --- stderr
        error: 10 tenants: lost connection to the server on every attempt: server closed the connection unexpectedly; the last transaction may have been committed
          tenants: t00000, t00001, t00002, t00003, t00004, t00005, t00006, t00007, t00008, t00009
        hint: check the server log for a statement that terminates the session, then try again
        error: stopped: the first tenants all failed with the same error; the remaining tenants were not started
        0 migrated, 10 failed, 20 not reached (run 1)
        hint: to retry: tenantry migrate-all --tenant-migrations MIGRATIONS --jobs 1
        --- exit 1
    ");
    output.assert_code(1);
    assert_eq!((having(&db, "b").len(), at(&db, "2").len()), (0, 0));
    // A non-transactional migration ends the run as well, whatever else of it was applied.
    let up = "CREATE TABLE b (i int);\nDO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$;";
    let db = set_up();
    small_fleet(&db, 2, &["1"]);
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", up).metadata("run_in_transaction = false");
    let output = with(&db, &migrations, &["migrate-all", "--jobs", "1"]).run();
    assert_snapshot!(output, @r"
        --- stderr
        error: 2 tenants: lost connection to the server on every attempt: server closed the connection unexpectedly; the last transaction may have been committed
          tenants: t00000, t00001
        hint: check the server log for a statement that terminates the session, then try again
        0 migrated, 2 failed (run 1)
        hint: to retry: tenantry migrate-all --match '^(t00000|t00001)$' --tenant-migrations MIGRATIONS --jobs 1
        --- exit 1
    ");
    output.assert_code(1);
    migrations.write("2_b/up.sql", "CREATE TABLE b (i int);\nCREATE TABLE c (i int);");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_whole(&db, &["b", "c"], "2");
}
