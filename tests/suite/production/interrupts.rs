//! Ctrl-C and SIGTERM: once, twice and three times, and during each kind of wait.

use diesel::connection::SimpleConnection;

use super::outages::OwnServer;
use super::{at, gated, having, listed, names};
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, FOREVER, Running, Signal, set_up, small_fleet, with};

const BOTH: [Signal; 2] = [Signal::INT, Signal::TERM];

/// A run with two tenants at the gate.
fn at_the_gate(db: &Database, migrations: &Dir, args: &[&str]) -> Running {
    let run = with(db, migrations, args).args(["--jobs", "2", "--lock-timeout", FOREVER]).spawn();
    db.wait_for_waiters(2);
    run
}

/// Waits until no session of a run is left, although the gate is still closed.
fn wait_for_no_sessions(db: &Database) {
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name LIKE 'tenantry%'",
        1,
    );
}

#[test]
#[ignore = "long: make test-long"]
fn first_interrupt_completes_running_tenants_and_starts_no_more() {
    for signal in BOTH {
        let (db, mut holder, migrations) = gated(20);
        let run = at_the_gate(&db, &migrations, &["migrate-all"]);
        run.signal(signal);
        run.wait_for_stderr_line("interrupted");
        holder.batch_execute("COMMIT").unwrap();
        let output = run.wait();
        if signal == Signal::INT {
            assert_snapshot!(output);
        }
        output.assert_code(130);
        assert_eq!((having(&db, "b").len(), having(&db, "c").len(), at(&db, "2").len()), (2, 2, 2));
        assert_eq!(
            db.string("SELECT outcome || ' ' || done || ' ' || not_reached FROM schema_run"),
            "interrupted 2 18"
        );
        let rest = with(&db, &migrations, &["migrate-all", "--format", "json"]).run();
        rest.assert_code(0);
        assert_eq!((listed(&rest, "done").len(), listed(&rest, "unchanged").len()), (18, 2));
    }
}

#[test]
#[ignore = "long: make test-long"]
fn second_interrupt_cancels_and_rolls_back_running_tenants() {
    for (signal, command) in [(Signal::INT, "migrate-all"), (Signal::TERM, "migrate-all"), (Signal::INT, "revert-all")]
    {
        let (db, mut holder, migrations) = gated(20);
        if command == "revert-all" {
            holder.batch_execute("ROLLBACK").unwrap();
            with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
            holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
        }
        let revert: &[&str] = &["revert-all", "--to", "1", "--yes"];
        let run = at_the_gate(&db, &migrations, if command == "revert-all" { revert } else { &["migrate-all"] });
        let before = (having(&db, "b"), having(&db, "c"), at(&db, "2"));
        run.signal(signal);
        run.wait_for_stderr_line("interrupted");
        run.signal(signal);
        // The gate stays closed: only a cancellation ends the wait.
        let output = run.wait();
        if (signal, command) == (Signal::INT, "migrate-all") {
            assert_snapshot!(output);
        }
        output.assert_code(130);
        assert_eq!((having(&db, "b"), having(&db, "c"), at(&db, "2")), before, "rolled back");
        wait_for_no_sessions(&db);
        assert!(output.stderr.contains("20 not reached"), "{}", output.stderr);
        holder.batch_execute("COMMIT").unwrap();
        with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
        assert_eq!((having(&db, "c").len(), at(&db, "2").len()), (20, 20));
    }
}

#[test]
#[ignore = "long: make test-long"]
fn third_interrupt_exits_at_once_and_reports_progress() {
    for signal in BOTH {
        let (db, mut holder, _) = gated(20);
        // Code that catches cancellations.
        let stubborn = "CREATE TABLE b (i int);\nDO $$ BEGIN LOOP BEGIN LOCK TABLE public.gate IN ROW SHARE MODE; EXIT; \
                        EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;\nCREATE TABLE c (i int);";
        let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", stubborn);
        let run = at_the_gate(&db, &migrations, &["migrate-all"]);
        run.signal(signal);
        run.wait_for_stderr_line("interrupted:");
        run.signal(signal);
        run.wait_for_stderr_line("interrupted again");
        run.signal(signal);
        let output = run.wait();
        if signal == Signal::INT {
            assert_snapshot!(output);
        }
        output.assert_code(130);
        // The server detects that the client has disconnected, and rolls back.
        wait_for_no_sessions(&db);
        assert_eq!((having(&db, "b").len(), at(&db, "2").len()), (0, 0));
        holder.batch_execute("COMMIT").unwrap();
        with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
        assert_eq!((having(&db, "b").len(), having(&db, "c").len(), at(&db, "2").len()), (20, 20, 20));
    }
}

#[test]
fn cancelled_non_transactional_migration_is_completed_by_the_next_run() {
    let db = set_up();
    small_fleet(&db, 3, &["1"]);
    // An old snapshot blocks the concurrent build.
    let mut holder = db.connect();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "CREATE TABLE b (i int);\nCREATE INDEX CONCURRENTLY b_i ON b (i);")
        .metadata("run_in_transaction = false");
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "1"]).spawn();
    db.wait_for_concurrent_build();
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    run.signal(Signal::INT);
    let output = run.wait();
    output.assert_code(130);
    assert_snapshot!(output, @r"
        --- stderr

        interrupted: finishing the running tenants; interrupt again to cancel them

        interrupted again: canceling the running statements; interrupt again to exit immediately
        0 migrated, 3 not reached (run 1)
        hint: to retry: tenantry migrate-all --match '^(t00000|t00001|t00002)$' --tenant-migrations MIGRATIONS --jobs 1
        --- exit 130
    ");
    holder.batch_execute("ROLLBACK").unwrap();
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(
        db.count(
            "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = 'b_i' AND indisvalid"
        ),
        3
    );
    assert_eq!(db.count("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0);
}

#[test]
fn interrupt_ends_a_pause_between_batches() {
    for signal in BOTH {
        let db = set_up();
        small_fleet(&db, 9, &["1"]);
        let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);");
        let args = ["migrate-all", "--batch", "3", "--pause", FOREVER];
        let run = with(&db, &migrations, &args).spawn();
        run.wait_for_stderr_line(&format!("pausing for {FOREVER} before the next batch"));
        run.signal(signal);
        let output = run.wait();
        if signal == Signal::INT {
            assert_snapshot!(output);
        }
        output.assert_code(130);
        assert_eq!(at(&db, "2"), names(3).into_iter().collect());
    }
}

#[test]
fn interrupt_ends_the_wait_for_the_fleet_lock() {
    let (db, mut holder, migrations) = gated(6);
    let first = at_the_gate(&db, &migrations, &["migrate-all"]);
    let args = ["migrate-all", "--lock-wait", FOREVER];
    let second = with(&db, &migrations, &args).spawn();
    let line = second.wait_for_stderr_line("waiting for run 1 (migrate-all)");
    assert!(line.contains(&format!("process {}", first.pid())), "{line}");
    second.signal(Signal::INT);
    let output = second.wait();
    output.assert_code(130);
    holder.batch_execute("COMMIT").unwrap();
    first.wait().assert_code(0);
    assert_eq!(at(&db, "2").len(), 6);
}

#[test]
#[ignore = "long: make test-long"]
fn interrupt_ends_the_wait_for_the_server() {
    let server = OwnServer::start();
    let db = server.fleet(30);
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int); SELECT pg_sleep(0.05);");
    let args = ["migrate-all", "--jobs", "2", "--reconnect-for", FOREVER];
    let run = with(&db, &migrations, &args).spawn();
    db.wait_for("SELECT count(*) FROM public.schema_run_tenant", 3);
    server.crash();
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    let output = run.wait();
    output.assert_code(130);
    assert!(output.stderr.contains("not reached (run 1)"), "{}", output.stderr);
    server.start_again();
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(at(&db, "2").len(), 30);
}

/// A role with all privileges on the tenants and a connection limit, and the URL for it.
fn limited(db: &Database, tenants: usize, connections: u32) -> (String, String) {
    let role = super::shortages::role(db, "watched", tenants);
    db.execute(&format!("GRANT ALL ON public.gate TO {role}; ALTER ROLE {role} CONNECTION LIMIT {connections}"));
    let url = db.url().replace("postgres@", &format!("{role}@"));
    (role, url)
}

#[test]
fn connection_is_reserved_for_cancellation() {
    let (db, mut holder, migrations) = gated(6);
    // One for the command, one for the lock, and one for each worker.
    let (role, url) = limited(&db, 6, 4);
    let args = ["migrate-all", "--jobs", "2", "--lock-timeout", FOREVER];
    let run = with(&db, &migrations, &args).env("DATABASE_URL", &url).spawn();
    db.wait_for_waiters(1);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted:");
    run.signal(Signal::INT);
    let output = run.wait();
    output.assert_code(130);
    assert!(output.stderr.contains("6 not reached"), "{}", output.stderr);
    holder.batch_execute("ROLLBACK").unwrap();
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn failed_cancellation_is_reported_and_retried() {
    let (db, mut holder, migrations) = gated(6);
    let (role, url) = limited(&db, 6, 3);
    let args = ["migrate-all", "--lock-timeout", FOREVER];
    let run = with(&db, &migrations, &args).env("DATABASE_URL", &url).spawn();
    db.wait_for_waiters(1);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted:");
    run.signal(Signal::INT);
    run.wait_for_stderr_line("error: cannot cancel the running statements yet: cannot connect");
    db.execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 4"));
    let output = run.wait();
    output.assert_code(130);
    assert_eq!(output.stderr.matches("cannot cancel the running statements yet").count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("6 not reached"), "{}", output.stderr);
    holder.batch_execute("ROLLBACK").unwrap();
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn interrupt_cancels_public_migrations() {
    let (db, mut holder, _) = gated(0);
    let public =
        Dir::new().add("20990101000000_plans", "CREATE TABLE plans (i int); LOCK TABLE public.gate IN ROW SHARE MODE;");
    let migrate =
        || db.tenantry(["migrate-public", "--lock-timeout", FOREVER, "--public-migrations"]).arg(public.path());
    let run = migrate().spawn();
    db.wait_for_waiters(1);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted:");
    run.signal(Signal::INT);
    assert_snapshot!(run.wait(), @r"
        --- stderr

        interrupted: finishing the running tenants; interrupt again to cancel them

        interrupted again: canceling the running statements; interrupt again to exit immediately
        error: cannot apply the public migrations: canceling statement due to user request
        --- exit 130
    ");
    assert_eq!(db.string("SELECT to_regclass('public.plans')"), "NULL");
    holder.batch_execute("ROLLBACK").unwrap();
    migrate().run().assert_code(0);
}
