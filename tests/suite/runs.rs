//! The record of runs.

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{Database, Output, Running, server, set_up, small_fleet, with};

/// Runs a command as the user `ops`.
fn run_as_ops(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    with(db, migrations, args).env("USER", "ops").run()
}

/// A run that created three tenants, and one that failed for one of them.
fn runs() -> (Database, Dir) {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);");
    run_as_ops(&db, &migrations, &["create", "acme", "globex", "initech"]).assert_code(0);
    let up = "CREATE TABLE b (i int);\nSELECT 1 / (current_schema() <> 'globex')::int;";
    let migrations = migrations.add("2_b", up);
    run_as_ops(&db, &migrations, &["migrate-all", "--jobs", "2"]).assert_code(1);
    (db, migrations)
}

/// Sets the values that differ between runs.
fn still(db: &Database) {
    db.execute(
        "UPDATE schema_run SET started_at = '2026-01-01 12:00', ended_at = '2026-01-01 12:00:01.5', host = 'db1', \
         pid = 4711, role = 'tenants', version = '1.2.3', \
         arguments = array(SELECT CASE WHEN starts_with(a, '/') THEN 'DIR' ELSE a END FROM unnest(arguments) AS a); \
         UPDATE schema_run SET request = jsonb_set(request, '{settings,tenant_migrations}', to_jsonb('DIR'::text)) \
         WHERE request IS NOT NULL; \
         UPDATE schema_run_tenant SET started_at = '2026-01-01 12:00', milliseconds = 12",
    );
}

#[test]
fn runs_are_listed_and_shown() {
    let (db, _) = runs();
    still(&db);
    assert_snapshot!(db.tenantry(["runs"]).run(), @r"
        RUN  STARTED              DURATION  COMMAND      USER     OUTCOME  DONE  FAILED  DEFERRED  NOT REACHED
        2    DATE TIME migrate-all  ops@db1  failed   2     1       0         0
        1    DATE TIME create       ops@db1  done     3     0       0         0
        --- stderr
        2 runs
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["runs", "show", "2"]).run());
    assert_snapshot!(db.tenantry(["runs", "show", "2", "--failed"]).run());
    assert_snapshot!(db.tenantry(["runs", "show", "99"]).run(), @r"
        --- stderr
        error: run 99 does not exist
        hint: the newest runs: 2 (migrate-all), 1 (create); 'tenantry runs' lists more
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["runs", "--last", "1"]).run(), @r"
        RUN  STARTED              DURATION  COMMAND      USER     OUTCOME  DONE  FAILED  DEFERRED  NOT REACHED
        2    DATE TIME migrate-all  ops@db1  failed   2     1       0         0
        --- stderr
        1 run
        --- exit 0
    ");
}

#[test]
fn runs_are_printed_as_json() {
    let (db, _) = runs();
    still(&db);
    assert_snapshot!(db.tenantry(["runs", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["runs", "show", "2", "--format", "json"]).run());
}

#[test]
fn retry_failed_migrates_failed_tenants() {
    let (db, migrations) = runs();
    db.execute("CREATE TABLE globex.kept AS SELECT 1 AS i");
    migrations.write("2_b/up.sql", "CREATE TABLE b (i int);");
    run_as_ops(&db, &migrations, &["repair", "--accept", "2", "--reason", "globex"]).assert_code(0);
    assert_snapshot!(run_as_ops(&db, &migrations, &["migrate-all", "--retry-failed", "7"]), @r"
        --- stderr
        error: run 7 does not exist
        hint: the newest runs: 2 (migrate-all), 1 (create); 'tenantry runs' lists more
        --- exit 2
    ");
    let again = run_as_ops(&db, &migrations, &["migrate-all", "--retry-failed", "2"]);
    again.assert_code(0);
    assert!(again.stderr.contains("1 migrated"), "{}", again.stderr);
    assert_eq!(
        db.strings("SELECT concat_ws(' ', tenant, outcome, from_version, to_version, attempts) FROM schema_run_tenant WHERE run = 3"),
        ["globex done 1 2 1"]
    );
}

#[test]
#[ignore = "long: make test-long"]
fn only_writing_commands_are_recorded() {
    let (db, migrations) = runs();
    db.execute("CREATE SCHEMA stray");
    for command in [
        &["list"][..],
        &["health-check"],
        &["migrate-all", "--dry-run"],
        &["drop", "acme", "--dry-run"],
        &["adopt", "stray"],
        &["drop", "acme", "--yes"],
    ] {
        run_as_ops(&db, &migrations, command);
    }
    db.tenantry(["runs"]).run().assert_code(0);
    assert_eq!(
        db.strings("SELECT command || ' ' || outcome || ' ' || done FROM schema_run ORDER BY id"),
        ["create done 3", "migrate-all failed 2", "adopt done 1", "drop done 1"]
    );
}

#[test]
fn no_password_is_recorded() {
    let db = set_up();
    let url = format!("{}&password=s3cret", db.url());
    db.tenantry(["create", "acme", "--database-url", &url]).run().assert_code(0);
    db.tenantry(["create", &format!("--database-url={url}"), "globex"]).run().assert_code(0);
    assert_eq!(db.strings("SELECT arguments::text FROM schema_run ORDER BY id"), ["{acme}", "{globex}"]);
}

#[test]
fn old_runs_are_deleted() {
    let (db, migrations) = runs();
    db.execute("UPDATE schema_run SET started_at = now() - interval '10 days' WHERE id = 1");
    run_as_ops(&db, &migrations, &["create", "hooli"]);
    assert_eq!(db.count("SELECT count(*) FROM schema_run WHERE id = 1"), 1);
    run_as_ops(&db, &migrations, &["create", "umbrella", "--keep", "9days"]);
    assert_eq!(db.count("SELECT count(*) FROM schema_run WHERE id = 1"), 0);
    assert_eq!(db.count("SELECT count(*) FROM schema_run_tenant WHERE run = 1"), 0);
    assert_eq!(db.count("SELECT count(*) FROM schema_run_tenant WHERE run = 2"), 3);
}

/// Migrations that note the server's time before and after they pause, in one transaction or statement by statement.
fn slow(metadata: &str) -> Dir {
    let up = "CREATE TABLE times (at timestamptz);\nINSERT INTO times VALUES (clock_timestamp());\n\
              SELECT pg_sleep(0.3);\nINSERT INTO times VALUES (clock_timestamp());";
    Dir::new().add("0_first", "SELECT 1;").add("1_slow", up).metadata(metadata)
}

#[test]
fn duration_of_a_tenant_covers_all_transactions() {
    for metadata in ["run_in_transaction = true", "run_in_transaction = false"] {
        let db = set_up();
        small_fleet(&db, 2, &["0"]);
        with(&db, &slow(metadata), &["migrate-all"]).run().assert_code(0);
        for tenant in ["t00000", "t00001"] {
            let is_true = format!(
                "SELECT milliseconds + 1 >= EXTRACT(epoch FROM last - first) * 1000 \
                 AND milliseconds <= EXTRACT(epoch FROM ended_at - r.started_at) * 1000 + 1 AND t.started_at <= first \
                 FROM schema_run_tenant AS t JOIN schema_run AS r ON r.id = t.run, \
                 (SELECT min(at) AS first, max(at) AS last FROM {tenant}.times) AS times WHERE tenant = '{tenant}'"
            );
            assert_eq!(
                db.strings(&is_true),
                ["true"],
                "{metadata}: {:?}",
                db.strings("SELECT concat_ws(' ', tenant, started_at, milliseconds) FROM schema_run_tenant")
            );
        }
    }
}

#[test]
fn duration_of_a_tenant_covers_earlier_attempts() {
    let db = set_up();
    small_fleet(&db, 1, &["0"]);
    db.execute("CREATE TABLE t00000.a (i int)");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE t00000.a").unwrap();
    let migrations = Dir::new().add("0_first", "SELECT 1;").add("1_a", "ALTER TABLE a ADD COLUMN j int;");
    let run = with(&db, &migrations, &["migrate-all", "--lock-timeout", "200ms", "--retries", "99"]).spawn();
    db.wait_for_waiters(1);
    let waited_since = db.string("SELECT clock_timestamp()");
    // The first attempt has failed.
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        1,
    );
    let failed_before = db.string("SELECT clock_timestamp()");
    holder.batch_execute("ROLLBACK").unwrap();
    run.wait().assert_code(0);
    let is_true = format!(
        "SELECT attempts > 1 AND started_at <= '{waited_since}' \
         AND milliseconds + 1 >= EXTRACT(epoch FROM timestamptz '{failed_before}' - '{waited_since}') * 1000 \
         FROM schema_run_tenant"
    );
    assert_eq!(db.strings(&is_true), ["true"]);
}

/// The end of a run does not wait for the deletion of all old runs.
#[test]
fn old_runs_are_deleted_in_batches() {
    let db = set_up();
    db.execute(
        "INSERT INTO schema_run (command, version, started_at, ended_at, outcome) \
         SELECT 'create', '1', now() - interval '1 day' * (100 + n), now(), 'done' FROM generate_series(1, 250) AS n; \
         INSERT INTO schema_run_tenant (run, tenant, outcome, started_at, milliseconds, attempts) \
         SELECT id, 'gone', 'done', started_at, 1, 1 FROM schema_run",
    );
    let old = "SELECT count(*) FROM schema_run WHERE version = '1'";
    let tenants = "SELECT count(*) FROM schema_run_tenant WHERE tenant = 'gone'";
    for (name, left) in [("acme", 150), ("globex", 50), ("initech", 0)] {
        db.tenantry(["create", name]).run().assert_code(0);
        assert_eq!((db.count(old), db.count(tenants)), (left, left), "after {name}");
        // The oldest runs are deleted first.
        assert_eq!(db.count(&format!("{old} AND started_at < now() - interval '1 day' * ({left} + 101)")), 0);
    }
    assert_eq!(db.count("SELECT count(*) FROM schema_run"), 3);
}

/// The command that the hint of `runs show` gives to retry a run.
fn hint(db: &Database, run: &str) -> Option<String> {
    let output = db.tenantry(["runs", "show", run]).run();
    let hint = output.stderr.lines().find_map(|line| line.strip_prefix("hint: retry with '"))?;
    Some(hint.strip_suffix('\'').unwrap().to_owned())
}

#[test]
#[ignore = "long: make test-long"]
fn run_is_retried_only_by_commands_of_the_same_kind() {
    let (db, migrations) = runs();
    migrations.write("1_a/down.sql", "DROP TABLE a;");
    migrations.write("2_b/down.sql", "DROP TABLE b;");
    run_as_ops(&db, &migrations, &["migrate-one", "globex"]).assert_code(1);
    run_as_ops(&db, &migrations, &["adopt", "nowhere"]).assert_code(1);
    // A migration that was never applied is not reverted.
    assert_snapshot!(run_as_ops(&db, &migrations, &["revert-all", "--steps", "1", "--yes", "--retry-failed", "2"]), @r"
        --- stderr
        error: run 2 is a run of 'migrate-all', and revert-all retries only runs of revert-one and revert-all
        hint: retry it with 'tenantry migrate-all --retry-failed 2 --tenant-migrations MIGRATIONS'
        --- exit 2
    ");
    assert_snapshot!(run_as_ops(&db, &migrations, &["migrate-all", "--retry-failed", "1"]), @r"
        --- stderr
        error: run 1 is a run of 'create', and migrate-all retries only runs of migrate-one and migrate-all
        hint: 'tenantry runs show 1' shows its tenants
        --- exit 2
    ");
    let version = "SELECT max(version) FROM globex.__diesel_schema_migrations";
    assert_eq!(db.string(version), "1");
    for (run, other) in [("2", "revert-all"), ("3", "revert-all"), ("4", "revert-all"), ("4", "migrate-all")] {
        let steps: &[&str] = if other == "revert-all" { &["--to", "1", "--dry-run"] } else { &[] };
        let output = run_as_ops(&db, &migrations, &[&[other, "--retry-failed", run], steps].concat());
        output.assert_code(2);
        assert!(output.stderr.contains(&format!("run {run} is a run of '")), "{}", output.stderr);
    }
    // A run of one tenant is retried by the command for the fleet.
    let again = run_as_ops(&db, &migrations, &["migrate-all", "--retry-failed", "3", "--dry-run"]);
    assert!(again.assert_code(0).stderr.contains("1 would be migrated"), "{}", again.stderr);
    // A reverting run is retried by another reverting command.
    migrations.write("2_b/down.sql", "DROP TABLE b;\nSELECT 1 / (current_schema() <> 'acme')::int;");
    let revert = ["revert-all", "--to", "1", "--yes"];
    run_as_ops(&db, &migrations, &revert).assert_code(1);
    run_as_ops(&db, &migrations, &["migrate-all", "--retry-failed", "5"]).assert_code(2);
    migrations.write("2_b/down.sql", "DROP TABLE b;");
    let again = run_as_ops(&db, &migrations, &[&revert[..], &["--retry-failed", "5"]].concat());
    assert!(again.assert_code(0).stderr.contains("1 reverted"), "{}", again.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn hint_repeats_the_options_of_the_run() {
    let (db, migrations) = runs();
    let path = migrations.path().to_str().unwrap();
    let given = ["migrate-all", "--to", "2", "--verify", "--shard=1/1", "--canary", "^g", "--lock-wait", "1s"];
    run_as_ops(&db, &migrations, &given).assert_code(1);
    let rest = format!("--tenant-migrations {path} --retry-failed 3");
    let flags = "--to 2 --verify --canary '^g' --shard 1/1";
    assert_eq!(hint(&db, "3"), Some(format!("tenantry migrate-all {flags} {rest}")));
    // The command in the hint works, and a retry of a retry repeats no flag.
    run_as_ops(&db, &migrations, &["migrate-all", "--to", "2", "--retry-failed", "3", "--canary=^x|globex"])
        .assert_code(1);
    let rest = format!("--tenant-migrations {path} --retry-failed 4");
    assert_eq!(hint(&db, "4"), Some(format!("tenantry migrate-all --to 2 --canary '^x|globex' {rest}")));
    let again = run_as_ops(&db, &migrations, &["migrate-all", "--to", "2", "--canary", "^g", "--retry-failed", "4"]);
    assert!(again.assert_code(1).stderr.contains("globex"), "{}", again.stderr);
    // A canary that has not failed would be refused.
    db.execute(
        "UPDATE schema_run SET request = '{\"command\": \"migrate-all\", \"rollout\": {\"canary\": \"^acme$\"}, \
         \"settings\": {\"jobs\": \"2\"}}' WHERE id = 4",
    );
    assert_eq!(hint(&db, "4").as_deref(), Some("tenantry migrate-all --jobs 2 --retry-failed 4"));
}

/// All options of a rollout and all settings, and their form in the retry command.
const OPTIONS: &[&str] = &[
    "--except",
    "^x",
    "--canary",
    "1",
    "--batch",
    "2",
    "--pause",
    "1ms",
    "--max-failures",
    "50%",
    "--shard",
    "1/1",
    "--order",
    "size",
    "--jobs",
    "2",
    "--lock-timeout",
    "1s",
    "--statement-timeout",
    "1m",
    "--retries",
    "1",
    "--reconnect-for",
    "2s",
    "--keep",
    "2days",
    "--as-owner",
    "--connect-timeout",
    "9s",
    "--yes",
    "--lock-wait",
    "1s",
];
const REPEATED: &str = "--except '^x' --canary 1 --batch 2 --pause 1ms --max-failures 50% --shard 1/1 --order size";
const SETTINGS: &str =
    "--jobs 2 --lock-timeout 1s --statement-timeout 1m --retries 1 --reconnect-for 2s --keep 2days --as-owner";

#[test]
fn all_options_of_a_run_are_repeated() {
    let (db, migrations) = runs();
    let path = migrations.path().to_str().unwrap();
    let given = |first: &[&str], leave_out: &[&str]| {
        let options: Vec<&str> = OPTIONS.iter().copied().filter(|one| !leave_out.contains(one)).collect();
        run_as_ops(&db, &migrations, &[first, &options[..]].concat()).assert_code(1);
    };
    given(&["migrate-all", "--to", "2", "--verify", "--match", "^g"], &["--yes"]);
    let (settings, run) = (format!("--tenant-migrations {path} {SETTINGS}"), "--retry-failed 3");
    assert_eq!(
        hint(&db, "3"),
        Some(format!("tenantry migrate-all --to 2 --verify --match '^g' {REPEATED} {settings} {run}"))
    );
    migrations.write("1_a/down.sql", "DROP TABLE a;");
    migrations.write("2_b/down.sql", "DROP TABLE b;\nSELECT 1 / 0;");
    given(&["revert-all", "--to", "1", "--match", "^acme"], &[]);
    assert_eq!(
        hint(&db, "4"),
        Some(format!("tenantry revert-all --to 1 --match '^acme' {REPEATED} {settings} --retry-failed 4"))
    );
}

/// A session that holds a lock on a table of `tenant`, so that its schema cannot be dropped.
fn lock_table(db: &Database, tenant: &str) -> diesel::PgConnection {
    let mut holder = db.connect();
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {tenant}.a IN ACCESS SHARE MODE")).unwrap();
    holder
}

#[test]
fn a_failed_drop_and_a_failed_cleanup_are_repeated() {
    let (db, migrations) = runs();
    let path = migrations.path().to_str().unwrap();
    let holder = lock_table(&db, "globex");
    let flags = ["--yes", "--lock-timeout", "100ms", "--retries", "0"];
    run_as_ops(&db, &migrations, &[&["drop", "globex", "initech", "--untracked"], &flags[..]].concat()).assert_code(1);
    let settings = format!("--tenant-migrations {path} --lock-timeout 100ms --retries 0");
    assert_eq!(hint(&db, "3"), Some(format!("tenantry drop globex --untracked {settings}")));
    run_as_ops(&db, &migrations, &[&["cleanup", "--include-orphans"], &flags[..]].concat()).assert_code(1);
    assert_eq!(hint(&db, "4"), Some(format!("tenantry cleanup --include-orphans {settings}")));
    drop(holder);
}

#[test]
fn a_run_of_an_earlier_release_is_retried_by_hand() {
    let (db, _) = runs();
    db.execute("UPDATE schema_run SET request = NULL");
    let show = |command: &str| {
        db.execute(&format!("UPDATE schema_run SET command = '{command}' WHERE id = 2"));
        let output = db.tenantry(["runs", "show", "2"]).run();
        output.assert_code(0);
        output.stderr.lines().find(|line| line.starts_with("hint: ")).map(str::to_owned)
    };
    let hint = |line: &str| {
        Some(format!(
            "hint: an earlier release recorded the run without its options; retry with 'tenantry {line}' and the options of \
             the run"
        ))
    };
    assert_eq!(show("migrate-all"), hint("migrate-all --retry-failed 2"));
    assert_eq!(show("revert-all"), hint("revert-all --to VERSION --retry-failed 2"));
    assert_eq!(show("drop"), hint("drop NAME --if-exists"));
    assert_eq!(show("cleanup"), hint("cleanup"));
    assert_eq!(show("adopt"), None);
}

#[test]
fn a_run_of_a_newer_release_is_retried_with_that_release() {
    let (db, _) = runs();
    db.execute("UPDATE schema_run SET version = '99.0.0', request = request || '{\"dance\": true}' WHERE id = 2");
    let output = db.tenantry(["runs", "show", "2"]).run();
    output.assert_code(0);
    let hint = "hint: retry with tenantry 99.0.0, which recorded the run: this version cannot read its options (unknown \
                field `dance`";
    assert!(output.stderr.contains(hint), "{}", output.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn hint_is_omitted_if_nothing_would_be_retried() {
    let (db, migrations) = runs();
    migrations.write("2_b/down.sql", "DROP TABLE b;\nSELECT 1 / 0;");
    run_as_ops(&db, &migrations, &["migrate-one", "globex"]).assert_code(1);
    run_as_ops(&db, &migrations, &["adopt", "nowhere"]).assert_code(1);
    run_as_ops(&db, &migrations, &["revert-all", "--steps", "1", "--yes", "--match", "acme"]).assert_code(1);
    for (run, command) in [("1", "create"), ("3", "migrate-one"), ("4", "adopt")] {
        assert_eq!(hint(&db, run), None, "{command}");
    }
    // All tenants of the run are reverted to one version, which is given instead of the steps.
    assert!(hint(&db, "5").is_some_and(|hint| hint.starts_with("tenantry revert-all --to 1 --match acme ")));
    run_as_ops(&db, &migrations, &["revert-all", "--to", "1", "--yes", "--match", "acme"]).assert_code(1);
    assert!(
        hint(&db, "6").is_some_and(|hint| hint.contains("revert-all --to 1 --match acme") && !hint.contains("--yes"))
    );
    // A tenant without a row is only in the counts of a run, and is not retried.
    db.execute("DELETE FROM schema_run_tenant WHERE run = 2 AND outcome <> 'done'");
    assert_eq!((hint(&db, "2"), db.count("SELECT failed FROM schema_run WHERE id = 2")), (None, 1));
}

/// Whether `runs` lists the newest run as running, in its table and in its JSON.
fn state(db: &Database) -> (bool, bool) {
    let table = db.tenantry(["runs", "--last", "1"]).run();
    let json = db.tenantry(["runs", "--last", "1", "--format", "json"]).run();
    (table.stdout.contains("running"), json.json()["runs"][0]["running"].as_bool().unwrap())
}

/// Kills a run, and checks that it is listed as aborted.
fn is_aborted_when_killed(db: &Database, run: Running) {
    run.kill();
    run.wait();
    let none = "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name LIKE 'tenantry/%'";
    db.wait_for(none, 1);
    assert_eq!(state(db), (false, false));
    let table = db.tenantry(["runs", "--last", "1"]).run();
    assert!(table.stdout.contains("aborted"), "{}", table.stdout);
    // The recorded tenants are counted, although the run has no end.
    let done =
        "SELECT count(*) FROM schema_run_tenant WHERE outcome = 'done' AND run = (SELECT max(id) FROM schema_run)";
    let json = db.tenantry(["runs", "--format", "json"]).run().json();
    assert_eq!(json["runs"][0]["done"].as_i64(), Some(db.count(done)), "{json}");
}

#[test]
#[ignore = "long: make test-long"]
fn paused_run_is_shown_as_running() {
    let db = set_up();
    small_fleet(&db, 7, &["1"]);
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);");
    let path = migrations.path().to_str().unwrap();
    let args = ["migrate-all", "--batch", "3", "--pause", "10min", "--tenant-migrations", path];
    let run = db.tenantry(args).spawn();
    run.wait_for_stderr_line("pausing for 10m before the next batch");
    (0..5).for_each(|_| assert_eq!(state(&db), (true, true)));
    let show = db.tenantry(["runs", "show", "1"]).run();
    assert!(show.stderr.contains("running") && !show.stderr.contains("aborted"), "{}", show.stderr);
    // The fleet lock is held during the pause, and identifies its run.
    let lost = db.string("SELECT backend FROM schema_run");
    db.execute(&format!("SELECT pg_terminate_backend({lost})"));
    db.wait_for(&format!("SELECT count(*) FROM schema_run WHERE backend <> {lost}"), 1);
    assert_eq!(state(&db), (true, true));
    is_aborted_when_killed(&db, run);
}

#[test]
#[ignore = "long: make test-long"]
fn run_that_waits_for_locks_is_shown_as_running() {
    let db = set_up();
    let mut holder = db.connect();
    holder.batch_execute("SELECT pg_advisory_lock(hashtextextended('tenantry:' || name, 0)) FROM unnest(array['acme', 'globex']) AS name").unwrap();
    // The run does not hold the fleet lock, and none of its sessions is in a tenant.
    let run = db.tenantry(["create", "acme", "globex"]).spawn();
    db.wait_for("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantry/1: watch'", 1);
    (0..5).for_each(|_| assert_eq!(state(&db), (true, true)));
    is_aborted_when_killed(&db, run);
}

#[test]
fn application_name_does_not_remain_in_pooled_sessions() {
    let db = set_up();
    let pooler = PgBouncer::start(server());
    db.tenantry(["create", "acme"]).run().assert_code(0);
    let mut holder = db.connect();
    holder.batch_execute("SELECT pg_advisory_lock(hashtextextended('tenantry:acme', 0))").unwrap();
    let migrations = Dir::copy_of_tenant().add("20270101000000_notes", "CREATE TABLE notes (i int);");
    let path = migrations.path().to_str().unwrap();
    let args = ["migrate-one", "acme", "--tenant-migrations", path];
    let run = db.tenantry(args).env("DATABASE_URL", pooler.url(db.name())).spawn();
    // The lock monitor of this run, not of the previous one, whose session may still exist.
    let watched = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND query LIKE '%pg_blocking_pids%' AND pid <> pg_backend_pid() \
                   AND query_start > (SELECT started_at FROM schema_run WHERE command = 'migrate-one')";
    db.wait_for(watched, 1);
    is_aborted_when_killed(&db, run);
}
