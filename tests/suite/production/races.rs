//! Several operators on one fleet.

use diesel::connection::SimpleConnection;

use super::{at, having, listed, names};
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Signal, schemas, set_up, small_fleet, with};

fn migrations() -> Dir {
    Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", "CREATE TABLE b (i int); INSERT INTO b VALUES (1);")
        .add("3_i", "CREATE INDEX CONCURRENTLY b_i ON b (i);\nUPDATE b SET i = i + 1;")
        .metadata("run_in_transaction = false")
}

#[test]
#[ignore = "long: make test-long"]
fn concurrent_migrations_creates_and_drops_leave_tenants_consistent() {
    let db = set_up();
    small_fleet(&db, 60, &["1"]);
    db.execute(&names(60).iter().map(|name| format!("CREATE TABLE {name}.a (i int);")).collect::<String>());
    let migrations = migrations();
    let new: Vec<String> = (0..20).map(|n| format!("n{n:05}")).collect();
    let old: Vec<String> = names(60).into_iter().step_by(3).collect();
    let run = |args: &[&str]| with(&db, &migrations, args).args(["--format", "json", "--jobs", "3"]).spawn();
    let words = |first: &[&str], names: &[String]| -> Vec<String> {
        first.iter().map(|word| (*word).to_owned()).chain(names.iter().cloned()).collect()
    };
    fn borrowed(words: &[String]) -> Vec<&str> {
        words.iter().map(String::as_str).collect()
    }
    let create = words(&["create"], &new);
    let drop = words(&["drop", "--yes"], &old);
    let whole = ["migrate-all", "--lock-wait", "1min"];
    let runs = [
        run(&["migrate-all", "--lock-wait", "1min", "--shard", "1/2"]),
        run(&["migrate-all", "--lock-wait", "1min", "--shard", "2/2"]),
        run(&borrowed(&create)),
        run(&whole),
        run(&borrowed(&drop)),
        run(&whole),
    ];
    let outputs = runs.map(|run| run.wait());
    let [one, two, created, third, dropped, fourth] = &outputs;
    created.assert_code(0);
    dropped.assert_code(0);
    for runner in [one, two, third, fourth] {
        // A tenant that was dropped meanwhile is reported, and does not fail others.
        assert!(matches!(runner.code, Some(0 | 1)), "{}", runner.stderr);
        let failed = listed(runner, "failed");
        assert!(failed.iter().all(|name| old.contains(name)), "{failed:?}: {}", runner.stderr);
    }
    let mut left: Vec<String> = names(60).into_iter().filter(|name| !old.contains(name)).chain(new).collect();
    left.sort();
    assert_eq!(schemas(&db), left);
    assert_eq!(db.strings("SELECT name FROM schema_tracker WHERE state = 'active' ORDER BY 1"), left);
    assert_eq!(at(&db, "3"), left.iter().cloned().collect());
    let rows: Vec<String> = left.iter().map(|name| format!("SELECT i FROM {name}.b")).collect();
    assert_eq!(db.strings(&rows.join(" UNION ALL ")), vec!["2"; left.len()], "each migration was run once");
    with(&db, &migrations, &["health-check"]).run().assert_code(0);
}

#[test]
fn concurrent_run_is_refused_and_the_first_is_named() {
    let db = set_up();
    small_fleet(&db, 4, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let args = ["migrate-all", "--lock-timeout", "1min"];
    let first = with(&db, &migrations, &args).env("USER", "ada").env("LOGNAME", "ada").spawn();
    db.wait_for_waiters(4);
    let second = with(&db, &migrations, &["migrate-all"]).run();
    second.assert_code(5);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let backend = db.count("SELECT backend FROM schema_run");
    let pid = first.pid();
    let who = format!("run 1 (migrate-all) by ada on {host}, process {pid}, server process {backend}, since 20");
    assert!(second.stderr.contains(&who), "{who}: {}", second.stderr);
    for refused in [&["revert-all", "--steps", "1", "--yes"][..], &["migrate-all", "--shard", "1/2"]] {
        let output = with(&db, &migrations, refused).run();
        output.assert_code(5);
        assert!(output.stderr.contains(&who), "{}", output.stderr);
    }
    // Commands that read or work on one tenant do not conflict with it.
    with(&db, &migrations, &["migrate-all", "--dry-run"]).run().assert_code(0);
    with(&db, &migrations, &["list"]).run().assert_code(0);
    let runs = db.tenantry(["runs"]).run();
    assert!(runs.stdout.contains("running"), "{}", runs.stdout);

    // The fleet lock of a killed run is released, though its server processes may still be running.
    first.kill();
    assert_eq!(first.wait().code, None);
    holder.batch_execute("COMMIT").unwrap();
    with(&db, &migrations, &["migrate-all", "--lock-wait", "10s"]).run().assert_code(0);
    assert_eq!((at(&db, "2").len(), having(&db, "b").len()), (4, 4));
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantry/1 %'",
        1,
    );
    // A run with the same number in another database does not matter.
    let other = set_up();
    let mut elsewhere = other.connect();
    elsewhere.batch_execute("SET application_name TO 'tenantry/1 t00000'").unwrap();
    let runs = db.tenantry(["runs"]).run();
    assert!(runs.stdout.contains("aborted"), "{}", runs.stdout);
}

#[test]
fn fleet_lock_conflicts_with_every_shard_lock() {
    let db = set_up();
    small_fleet(&db, 8, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let run = |args: &[&str]| {
        let args = [&["migrate-all", "--jobs", "1", "--lock-timeout", "1min"], args].concat();
        with(&db, &migrations, &args)
    };
    let first = run(&["--shard", "1/2"]).spawn();
    db.wait_for_waiters(1);
    let second = run(&["--shard", "2/2"]).spawn();
    db.wait_for_waiters(2);
    let same = run(&["--shard", "1/2"]).hide(first.pid().to_string(), "FIRST").run();
    same.assert_code(5);
    assert!(same.stderr.contains("another run is in progress: run 1"), "{}", same.stderr);
    let whole = run(&[]).run();
    whole.assert_code(5);
    let waiting = run(&["--lock-wait", "1min"]).spawn();
    waiting.wait_for_stderr_line("waiting for run");
    holder.batch_execute("COMMIT").unwrap();
    for run in [first, second, waiting] {
        run.wait().assert_code(0);
    }
    assert_eq!(at(&db, "2").len(), 8);
}

#[test]
fn refused_shard_names_the_holder_of_that_shard() {
    let db = set_up();
    small_fleet(&db, 40, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let run = |shard: &str| {
        let args = ["migrate-all", "--jobs", "1", "--lock-timeout", "1min", "--shard", shard];
        with(&db, &migrations, &args)
    };
    // The run that started first has another shard.
    let first = run("1/8").spawn();
    db.wait_for_waiters(1);
    let second = run("2/8").spawn();
    db.wait_for_waiters(2);
    for (shard, id, pid) in [("2/8", 2, second.pid()), ("1/8", 1, first.pid())] {
        let refused = run(shard).run();
        refused.assert_code(5);
        assert!(refused.stderr.contains(&format!("run {id} (migrate-all)")), "{shard}: {}", refused.stderr);
        assert!(refused.stderr.contains(&format!("process {pid},")), "{shard}: {}", refused.stderr);
    }
    // With another number of shards, two runs would work on the same tenants.
    let refused = run("2/3").env("USER", "ada");
    let host = format!("on {}", rustix::system::uname().nodename().to_string_lossy());
    let backend = db.string("SELECT backend FROM schema_run WHERE id = 1");
    let user = db.string("SELECT coalesce(os_user, role) FROM schema_run WHERE id = 1");
    let refused =
        refused.hide(host, "on HOST").hide(backend, "BACKEND").hide(format!(" by {user} "), " by USER ").run();
    refused.assert_code(5);
    assert_snapshot!(refused, @"
    --- stderr
    error: another run is in progress: run 1 (migrate-all) with 8 shards by USER on HOST, process PID, server process BACKEND, since DATE
    hint: use the same number of shards (--shard I/8), or wait for the run with --lock-wait 10m; if its host is down, release the lock with SELECT pg_terminate_backend(BACKEND)
    --- exit 5
    ");
    let third = run("3/8").spawn();
    db.wait_for_waiters(3);
    let waiting = run("2/2").args(["--lock-wait", "1min"]).spawn();
    waiting.wait_for_stderr_line("waiting for run 1 (migrate-all) with 8 shards");
    holder.batch_execute("COMMIT").unwrap();
    for run in [first, second, third, waiting] {
        run.wait().assert_code(0);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn lost_fleet_lock_is_acquired_again() {
    let db = set_up();
    small_fleet(&db, 4, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let first = with(&db, &migrations, &["migrate-all", "--lock-timeout", "1min"]).spawn();
    db.wait_for_waiters(4);
    let lost = db.string("SELECT backend FROM schema_run");
    db.execute(&format!("SELECT pg_terminate_backend({lost})"));
    // The record is updated.
    db.wait_for(&format!("SELECT count(*) FROM schema_run WHERE backend <> {lost}"), 1);
    let backend = db.string("SELECT backend FROM schema_run");
    let name = format!("SELECT application_name FROM pg_stat_activity WHERE pid = {backend}");
    assert_eq!(db.string(&name), "tenantry/1: fleet");
    let second = with(&db, &migrations, &["migrate-all"]).run();
    second.assert_code(5);
    assert!(second.stderr.contains("run 1 (migrate-all)"), "{}", second.stderr);
    assert!(second.stderr.contains(&format!("process {}, server process {backend}", first.pid())));
    holder.batch_execute("COMMIT").unwrap();
    first.wait().assert_code(0);
}

#[test]
fn fleet_lock_is_held_during_planning() {
    let db = set_up();
    small_fleet(&db, 2, &["1"]);
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);").down("DROP TABLE b;");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    // It waits for the tracker.
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE schema_tracker").unwrap();
    let first = with(&db, &migrations, &["migrate-all"]).env("USER", "ada").spawn();
    db.wait_for_waiters(1);
    let host = format!("on {}", rustix::system::uname().nodename().to_string_lossy());
    let session = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantry fleet %'";
    let backend = db.string(session);
    let second = with(&db, &migrations, &["migrate-all"]).hide(host, "on HOST").hide(&backend, "BACKEND").run();
    second.assert_code(5);
    assert_snapshot!(second, @"
    --- stderr
    error: another run is in progress: a run that has not started yet by ada on HOST, process PID, server process BACKEND, since DATE
    hint: wait for the run with --lock-wait 10m; if its host is down, release the lock with SELECT pg_terminate_backend(BACKEND)
    --- exit 5
    ");
    // The server detects a lost client by keepalives; an operator can follow the hint.
    let query = format!("SELECT query FROM pg_stat_activity WHERE pid = {backend}");
    assert!(db.string(&query).contains("SET LOCAL tcp_keepalives_idle TO 60"), "{}", db.string(&query));
    db.execute(&format!("SELECT pg_terminate_backend({backend})"));
    drop(holder);
    first.wait().assert_code(0);
    with(&db, &migrations, &["migrate-all", "--lock-wait", "10s"]).run().assert_code(0);
}

/// Terminates the sessions of a run that work on tenants, as an administrator would.
fn end_sessions(db: &crate::support::Database, application: &str) {
    db.strings(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name LIKE '{application}'"
    ));
}

#[test]
fn tenant_created_by_another_run_after_a_lost_connection_is_refused() {
    let db = set_up();
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new().add("1_a", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE a (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let args = ["create", "acme", "--lock-timeout", "1min", "--format", "json"];
    let first = with(&db, &migrations, &args).spawn();
    db.wait_for_waiters(1);
    first.signal(Signal::STOP);
    end_sessions(&db, "tenantry/1 %");
    holder.batch_execute("COMMIT").unwrap();
    with(&db, &migrations, &args).run().assert_code(0);
    first.signal(Signal::CONT);
    let output = first.wait();
    output.assert_code(1);
    assert_eq!((listed(&output, "done").len(), listed(&output, "failed").len()), (0, 1));
    assert_eq!(output.json()["failed"][0]["code"], "already-tracked");
    assert_eq!(
        db.strings("SELECT concat_ws(' ', run, tenant, outcome) FROM schema_run_tenant ORDER BY 1"),
        ["1 acme failed", "2 acme done"]
    );
}

#[test]
#[ignore = "long: make test-long"]
fn ledger_locked_after_the_commit_fails_verification() {
    for verify in [false, true] {
        let db = set_up();
        small_fleet(&db, 2, &["1"]);
        db.execute("CREATE TABLE public.gate (i int)");
        // The reference does not wait.
        let wait = "DO $$ BEGIN IF starts_with(current_schema(), 't000') THEN LOCK TABLE public.gate IN ROW SHARE MODE; \
                    END IF; END $$;";
        let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);").add("3_wait", wait);
        let mut gate = db.connect();
        gate.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
        let mut args = vec!["migrate-all", "--lock-timeout", "1min", "--format", "json"];
        args.extend(verify.then_some("--verify"));
        let run = with(&db, &migrations, &args).spawn();
        db.wait_for_waiters(2);
        // It acquires the lock after the migrations are committed and before the ledger is read again.
        let mut vacuum = db.connect();
        let locked = std::thread::spawn(move || {
            vacuum.batch_execute("BEGIN; LOCK TABLE t00000.__diesel_schema_migrations").unwrap();
            vacuum
        });
        db.wait_for_waiters(3);
        gate.batch_execute("COMMIT").unwrap();
        let output = run.wait();
        drop(locked.join().unwrap());
        assert_eq!(db.count("SELECT count(*) FROM schema_run_tenant WHERE attempts = 1"), 2);
        if verify {
            output.assert_code(1);
            assert_eq!(listed(&output, "failed").into_iter().collect::<Vec<_>>(), ["t00000"]);
            assert_eq!(output.json()["failed"][0]["code"], "not-compared");
        } else {
            output.assert_code(0);
            assert_eq!(listed(&output, "done").len(), 2);
        }
    }
}
