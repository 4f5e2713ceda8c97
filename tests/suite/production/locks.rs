//! Other sessions hold locks that a run needs: it waits for a limited time, defers the tenant, and retries.

use std::collections::BTreeSet;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::{at, having, listed, names};
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, schemas, set_up, small_fleet, strings, with};

/// For migrations that write to `public`: sequences, which no rollback resets, or tables that all tenants share.
const SHARED: &str = "run_in_transaction = true\nchanges_outside = \"all tenants write to it\"";

/// Limits that keep the tests short.
const SHORT_LOCK_TIMEOUT: [&str; 4] = ["--lock-timeout", "200ms", "--retries", "2"];

/// Tenants with a table of one row.
fn fleet(tenants: usize) -> Database {
    let db = set_up();
    small_fleet(&db, tenants, &["1"]);
    let tables = names(tenants)
        .into_iter()
        .map(|name| format!("CREATE TABLE {name}.a (i int); INSERT INTO {name}.a VALUES (7);"));
    db.execute(&tables.collect::<String>());
    db
}

fn migrations() -> Dir {
    Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", "CREATE TABLE b (i int);\nALTER TABLE a ADD COLUMN j int;")
        .down("ALTER TABLE a DROP COLUMN j;\nDROP TABLE b;")
}

/// A session with a known application name that holds a lock on a table, and its process id.
fn holder(db: &Database, table: &str) -> (PgConnection, i64) {
    let mut conn = db.connect();
    conn.batch_execute(&format!("SET application_name TO 'nightly report'; BEGIN; LOCK TABLE {table}")).unwrap();
    let pid = strings(&mut conn, "SELECT pg_backend_pid()")[0].parse().unwrap();
    (conn, pid)
}

/// The state of a tenant: its columns and its ledger.
fn state(db: &Database, tenant: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT relname || ' ' || attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid \
         WHERE relnamespace = '{tenant}'::regnamespace AND attnum > 0 AND NOT attisdropped \
         UNION ALL SELECT 'at ' || version FROM {tenant}.__diesel_schema_migrations ORDER BY 1"
    ))
}

#[test]
#[ignore = "long: make test-long"]
fn locked_tenant_is_deferred_and_the_holder_is_named() {
    let db = fleet(8);
    let migrations = migrations();
    let before = state(&db, "t00003");
    let (_holder, pid) = holder(&db, "t00003.a");
    let run = with(&db, &migrations, &["migrate-all", "--format", "json"]).args(SHORT_LOCK_TIMEOUT).run();
    run.assert_code(1);
    let json = run.json();
    assert_eq!((listed(&run, "done").len(), listed(&run, "failed")), (7, BTreeSet::from(["t00003".to_owned()])));
    let failed = &json["failed"][0];
    assert_eq!(failed["code"], "deferred");
    assert_eq!(failed["server"]["message"], "canceling statement due to lock timeout");
    let held = &failed["holders"][0];
    assert_eq!((held["lock"].as_str(), held["pid"].as_i64()), (Some("t00003.a"), Some(pid)));
    assert_eq!((held["user"].as_str(), held["application"].as_str()), (Some("postgres"), Some("nightly report")));
    assert_eq!(held["state"].as_str(), Some("idle in transaction"));
    for time in ["since", "query_start"] {
        assert!(held[time].as_str().is_some_and(|time| time.starts_with("20")), "{time}: {held}");
    }
    assert_eq!(state(&db, "t00003"), before);
    assert!(run.stderr.contains("7 migrated, 1 deferred (run 1)"), "{}", run.stderr);

    // The same as text.
    let output = with(&db, &migrations, &["migrate-all"]).args(SHORT_LOCK_TIMEOUT).run();
    assert_snapshot!(output);
    let run = db.tenantry(["runs", "show", "2"]).run();
    run.assert_code(0);
    assert!(run.stdout.contains("deferred"), "{}", run.stdout);
}

#[test]
fn lock_released_before_a_retry_is_not_a_failure() {
    let db = fleet(6);
    let migrations = migrations();
    let (mut holder, _) = holder(&db, "t00003.a");
    let run = with(&db, &migrations, &["migrate-all", "--format", "json", "--lock-timeout", "200ms"]).spawn();
    db.wait_for_waiters(1);
    // The first attempt is over.
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        1,
    );
    holder.batch_execute("COMMIT").unwrap();
    let output = run.wait();
    output.assert_code(0);
    let json = output.json();
    let done = json["done"].as_array().unwrap();
    assert_eq!(done.len(), 6);
    for tenant in done {
        let tried = tenant["attempts"].as_u64().unwrap();
        assert_eq!(tried > 1, tenant["tenant"] == "t00003", "{tenant}");
    }
    assert_eq!(having(&db, "b").len(), 6);
}

#[test]
fn deferred_create_leaves_nothing_behind() {
    let db = set_up();
    db.execute("CREATE TABLE public.plans (i int PRIMARY KEY)");
    let (_plans, pid) = holder(&db, "public.plans");
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int REFERENCES public.plans);");
    let create = with(&db, &migrations, &["create", "acme"]).args(SHORT_LOCK_TIMEOUT);
    let create = create.run();
    assert!(
        create.stderr.contains(&format!(
            "process {pid} (user postgres, application nightly report, database {}), lock on public.plans",
            db.name()
        )),
        "{}",
        create.stderr
    );
    assert_snapshot!(create);
    assert_eq!(schemas(&db), Vec::<String>::new());
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 0);
}

#[test]
#[ignore = "long: make test-long"]
fn revert_and_drop_are_deferred_after_lock_timeouts() {
    let db = fleet(3);
    let migrations = migrations();
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    let (_a, pid) = holder(&db, "t00001.a");
    let run = |args: &[&str]| with(&db, &migrations, args).args(SHORT_LOCK_TIMEOUT).run();
    let before = state(&db, "t00001");
    let revert = run(&["revert-one", "t00001", "--to", "1", "--yes"]);
    assert!(
        revert.stderr.contains(&format!("process {pid} (user postgres, application nightly report, database")),
        "{}",
        revert.stderr
    );
    assert_snapshot!(revert);
    let revert_all = run(&["revert-all", "--to", "1", "--yes"]);
    revert_all.assert_code(1);
    assert!(revert_all.stderr.contains("2 reverted, 1 deferred"), "{}", revert_all.stderr);
    assert_eq!(state(&db, "t00001"), before);

    let drop = run(&["drop", "t00000", "t00001", "--yes"]);
    assert!(
        drop.stderr.contains(&format!("process {pid} (user postgres, application nightly report, database")),
        "{}",
        drop.stderr
    );
    assert_snapshot!(drop);
    assert_eq!(state(&db, "t00001"), before);
    assert_eq!(schemas(&db), ["t00001", "t00002"]);
    // The schemas and the tracker agree.
    assert_eq!(db.strings("SELECT name FROM schema_tracker ORDER BY 1"), ["t00001", "t00002"]);
}

#[test]
#[ignore = "long: make test-long"]
fn reading_commands_do_not_wait_for_locks_indefinitely() {
    let db = fleet(3);
    let migrations = migrations();
    let (_a, _) = holder(&db, "t00001.a");
    let (_ledger, _) = holder(&db, "t00001.__diesel_schema_migrations");
    let looks: [&[&str]; 9] = [
        &["list"],
        &["health-check"],
        &["diff", "t00001"],
        &["repair-plan", "t00001"],
        &["migrate-all", "--dry-run"],
        &["migrate-all", "--dry-run", "--order", "size"],
        &["drop", "--dry-run", "t00001"],
        &["cleanup", "--dry-run"],
        &["revert-all", "--to", "1", "--dry-run"],
    ];
    // Concurrently, because each may take its time.
    let runs: Vec<_> =
        looks.iter().map(|args| with(&db, &migrations, args).env("TENANTRY_LOCK_TIMEOUT", "200ms").spawn()).collect();
    for (args, run) in looks.iter().zip(runs) {
        let output = run.wait();
        assert!(output.code.is_some_and(|code| code <= 3 || code == 5), "{args:?}: {}", output.stderr);
    }
    let run = with(&db, &migrations, &["migrate-all"]).args(SHORT_LOCK_TIMEOUT).run();
    run.assert_code(1);
    assert!(run.stderr.contains("2 migrated"), "{}", run.stderr);
}

#[test]
fn every_statement_in_a_tenant_has_a_lock_timeout() {
    let db = set_up();
    // An event trigger records the settings of every statement.
    db.execute(
        "CREATE TABLE public.seen (tag text, lock_timeout text, application text); \
         CREATE FUNCTION public.see() RETURNS event_trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN \
         IF current_setting('application_name') NOT LIKE 'psql%' THEN INSERT INTO public.seen \
         VALUES (tg_tag, current_setting('lock_timeout'), current_setting('application_name')); END IF; END $$; \
         CREATE EVENT TRIGGER see ON ddl_command_start EXECUTE FUNCTION public.see()",
    );
    let note =
        "INSERT INTO public.seen VALUES ('row', current_setting('lock_timeout'), current_setting('application_name'));";
    let migrations = Dir::new()
        .add("1_a", &format!("CREATE TABLE a (i int); {note}"))
        .down(&format!("DROP TABLE a; {note}"))
        .metadata(SHARED)
        .add("2_b", &format!("{note}\nCREATE INDEX CONCURRENTLY a_i ON a (i);\n{note}"))
        .metadata(&SHARED.replace("true", "false"))
        .down(&format!("DROP INDEX CONCURRENTLY a_i; {note}"))
        .add("3_c", &format!("CREATE TABLE c (i int); {note}"))
        .down(&format!("DROP TABLE c; {note}"))
        .metadata(SHARED);
    let commands: [&[&str]; 7] = [
        &["create", "acme", "globex", "initech"],
        &["revert-one", "acme", "--to", "1", "--yes"],
        &["migrate-one", "acme"],
        &["revert-all", "--to", "1", "--yes"],
        &["migrate-all"],
        &["drop", "acme", "globex", "--yes"],
        &["cleanup", "--yes"],
    ];
    for command in commands {
        db.execute("TRUNCATE public.seen");
        with(&db, &migrations, command).args(["--lock-timeout", "200ms"]).run().assert_code(0);
        let seen = db.strings("SELECT DISTINCT lock_timeout || ' ' || tag FROM public.seen WHERE tag <> 'DROP TABLE' OR application LIKE 'tenantry/%' ORDER BY 1");
        assert!(!seen.is_empty(), "{command:?}");
        for entry in &seen {
            // Statements that block nobody have more time.
            let expected = if entry.ends_with("CREATE INDEX") { "12s " } else { "200ms " };
            assert!(entry.starts_with(expected), "{command:?}: {entry}");
        }
    }
}

#[test]
fn deadlock_is_retried() {
    let db = fleet(4);
    db.execute(&format!(
        "CREATE TABLE public.one (i int); CREATE TABLE public.two (i int); \
         ALTER DATABASE {} SET deadlock_timeout TO '1s'",
        db.name()
    ));
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);").add(
        "2_b",
        "LOCK TABLE public.one IN ROW SHARE MODE;\nLOCK TABLE public.two IN ROW SHARE MODE;\nCREATE TABLE b (i int);",
    );
    let mut other = db.connect();
    // The run detects the deadlock and gives way.
    other.batch_execute("SET deadlock_timeout TO '1min'; BEGIN; LOCK TABLE public.two").unwrap();
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "1", "--format", "json"]).spawn();
    db.wait_for_waiters(1);
    let other = thread::spawn(move || {
        other.batch_execute("LOCK TABLE public.one; COMMIT").unwrap();
    });
    let output = run.wait();
    other.join().unwrap();
    output.assert_code(0);
    assert_eq!(at(&db, "2").len(), 4);
    // Its count of deadlocks reaches the server's statistics a little later.
    db.wait_for("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", 1);
    let attempts: u64 =
        output.json()["done"].as_array().unwrap().iter().map(|done| done["attempts"].as_u64().unwrap()).sum();
    assert_eq!(attempts, 5);
}

#[test]
fn serialization_failure_and_localized_deadlock_are_retried() {
    let db = fleet(2);
    // A sequence, which no rollback resets, counts the attempts.
    db.execute("CREATE SEQUENCE public.tries");
    let up = "DO $$ BEGIN CASE nextval('public.tries') \
              WHEN 1 THEN RAISE serialization_failure; \
              WHEN 2 THEN RAISE EXCEPTION 'Verklemmung (Deadlock) entdeckt' USING ERRCODE = 'deadlock_detected'; \
              WHEN 3 THEN RAISE EXCEPTION 'storniere Anfrage wegen Zeitüberschreitung einer Sperre' USING ERRCODE = 'lock_not_available'; \
              ELSE NULL; END CASE; END $$;\nCREATE TABLE b (i int);";
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);").add("2_b", up).metadata(SHARED);
    let output = with(&db, &migrations, &["migrate-all", "--jobs", "1", "--format", "json"]).run();
    output.assert_code(0);
    assert_eq!(having(&db, "b").len(), 2);
    let attempts: u64 =
        output.json()["done"].as_array().unwrap().iter().map(|done| done["attempts"].as_u64().unwrap()).sum();
    assert_eq!(attempts, 5);
    // Each attempt: the failure, and the reason that the retry is deferred.
    let never = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", up)
        .metadata(SHARED)
        .add("3_c", "DO $$ BEGIN RAISE serialization_failure; END $$;");
    assert_snapshot!(with(&db, &never, &["migrate-all", "--retries", "1"]).run());
}

#[test]
fn only_conflict_attempts_are_counted_and_only_the_last_holder_is_named() {
    let db = fleet(1);
    db.execute("CREATE SEQUENCE public.tries; CREATE TABLE public.gate (i int)");
    let (_gate, _) = holder(&db, "public.gate");
    let up = "DO $$ BEGIN CASE nextval('public.tries') \
              WHEN 1 THEN LOCK TABLE public.gate IN ROW SHARE MODE; \
              WHEN 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); \
              ELSE RAISE serialization_failure; END CASE; END $$;";
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);").add("2_b", up).metadata(SHARED);
    let args = ["migrate-all", "--lock-timeout", "300ms", "--retries", "1", "--format", "json"];
    let output = with(&db, &migrations, &args).run();
    output.assert_code(1);
    let failed = &output.json()["failed"][0];
    let message = failed["message"].as_str().unwrap();
    assert!(message.starts_with("serialization failure on 2 of 2 attempts"), "{message}");
    assert_eq!(failed["holders"].as_array().map(Vec::len), Some(0), "{failed}");
    assert_eq!(db.strings("SELECT attempts FROM schema_run_tenant"), ["3"]);
}

#[test]
fn concurrent_index_build_outlasts_the_lock_timeout() {
    let db = fleet(1);
    let mut old = db.connect();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_i", "CREATE INDEX CONCURRENTLY a_i ON a (i);")
        .metadata("run_in_transaction = false");
    let args = ["migrate-all", "--lock-timeout", "500ms", "--retries", "0", "--format", "json"];
    let run = with(&db, &migrations, &args).spawn();
    // The wait exceeds the lock timeout; the limit of the build is 60 times as long.
    db.wait_for(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%CONCURRENTLY%' \
         AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > '1 s' AND pid <> pg_backend_pid()",
        1,
    );
    old.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(output.json()["done"][0]["attempts"], 1);
    assert_eq!(db.count("SELECT count(*) FROM pg_index WHERE indexrelid = 't00000.a_i'::regclass AND indisvalid"), 1);
}

#[test]
#[ignore = "long: make test-long"]
fn concurrent_build_that_waits_for_an_old_snapshot_names_the_session_while_it_waits() {
    let db = fleet(1);
    let mut old = db.connect();
    old.batch_execute(
        "SET application_name TO 'nightly report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
    )
    .unwrap();
    let pid = strings(&mut old, "SELECT pg_backend_pid()").remove(0);
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_i", "CREATE INDEX CONCURRENTLY a_i ON a (i);")
        .metadata("run_in_transaction = false");
    let run = with(&db, &migrations, &["migrate-all"]).spawn();
    let line = run.wait_for_stderr_line("has waited");
    assert!(line.starts_with("tenant t00000 has waited "), "{line}");
    assert!(line.contains(" s (index build: waiting for "), "{line}");
    let blocked_by = format!(
        "blocked by process {pid} (user postgres, application nightly report, database {}), an older transaction, \
         idle in transaction, transaction started 20",
        db.name()
    );
    assert!(line.contains(&blocked_by), "{line}");
    old.batch_execute("ROLLBACK").unwrap();
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(output.stderr.matches("has waited").count(), 1, "{}", output.stderr);
}
