//! `adopt`

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use crate::assert_snapshot;
use crate::support::proxy::{CutPoint, Proxy};
use crate::support::{Database, Output, Signal, Tenantry, create_older, fleet, server, strings, url_of_a_stranger};

/// The contents of a schema, with the transactions that last changed them.
fn contents(db: &Database, schema: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT concat_ws(' ', oid, xmin, relname, relfilenode) FROM pg_class \
         WHERE relnamespace = '\"{schema}\"'::regnamespace ORDER BY oid"
    ))
}

fn tracked(db: &Database) -> String {
    db.tenantry(["list", "--names"]).run().assert_code(0).stdout.clone()
}

/// A tenant's schema without a row in the tracker.
fn untracked(name: &str) -> Database {
    let db = fleet(&[name]);
    db.execute("DELETE FROM schema_tracker");
    db
}

#[test]
fn schema_with_a_ledger_is_adopted_unchanged() {
    let db = untracked("acme");
    let before = contents(&db, "acme");
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run(), @r"
        --- stderr
        1 adopted
        hint: 'tenantry health-check' shows pending migrations and drift
        --- exit 0
    ");
    assert_eq!(contents(&db, "acme"), before);
    assert_eq!(db.string("SELECT state FROM schema_tracker"), "active");
    db.tenantry(["health-check"]).run().assert_code(0);
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run(), @r"
        --- stderr
        0 adopted, 1 unchanged
        --- exit 0
    ");
    assert_eq!(contents(&db, "acme"), before);
}

#[test]
#[ignore = "long: make test-long"]
fn a_repeated_adopt_changes_nothing() {
    const BASELINE: &str = "20260119090000";
    let db = fleet(&[]);
    create_older(&db, &["acme"]);
    db.execute("DELETE FROM schema_tracker; DROP TABLE acme.__diesel_schema_migrations; CREATE SCHEMA empty");
    let adopt = |args: &[&str]| db.tenantry(["adopt", "--format", "json"]).args(args).run();
    adopt(&["acme", "--baseline", BASELINE]).assert_code(0);
    adopt(&["empty"]).assert_code(0);
    let everything = || (contents(&db, "acme"), contents(&db, "empty"), db.strings("SELECT xmin FROM schema_tracker"));
    let before = everything();
    let (runs, repeated) = (db.count("SELECT count(*) FROM schema_run"), adopt(&["acme", "empty"]));
    assert_snapshot!(repeated);
    assert_eq!(db.count("SELECT count(*) FROM schema_run"), runs, "nothing is no run");

    let repeated = adopt(&["acme", "--baseline", BASELINE]);
    repeated.assert_code(0);
    assert_eq!((listed(&repeated, "unchanged").len(), listed(&repeated, "adopted").len()), (1, 0));
    assert_eq!(repeated.json()["recorded"], 0);
    assert_eq!(
        db.string("SELECT concat_ws(' ', outcome, done, unchanged) FROM schema_run ORDER BY id DESC LIMIT 1"),
        "done 0 1"
    );
    // A baseline that the ledger contradicts.
    let wrong = adopt(&["acme", "--baseline", "20260209090000"]);
    assert_eq!(wrong.assert_code(1).json()["failed"][0]["code"], "ledger-exists");
    assert_eq!(everything(), before);

    // The tenant was migrated since then.
    db.tenantry(["migrate-one", "acme"]).run().assert_code(0);
    let before = everything();
    assert_eq!(listed(adopt(&["acme", "--baseline", BASELINE]).assert_code(0), "unchanged").len(), 1);
    assert_eq!(everything(), before);
}

#[test]
#[ignore = "long: make test-long"]
fn an_empty_schema_is_adopted_and_migrated_later() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA acme");
    assert_snapshot!(db.tenantry(["adopt", "acme", "--verbose"]).run(), @r"
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        database: DATABASE on the socket in SOCKET
        adopted acme in TIME
        1 adopted
        hint: 'tenantry health-check' shows pending migrations and drift
        --- exit 0
    ");
    assert_eq!(contents(&db, "acme"), [""; 0]);
    db.tenantry(["migrate-all"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn objects_without_a_ledger_require_a_baseline() {
    let db = untracked("acme");
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    let before = contents(&db, "acme");
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run(), @r"
        --- stderr
        error: tenant acme: schema has objects but no migration ledger
        hint: 'tenantry adopt acme --baseline VERSION' records the migrations up to VERSION as applied
        0 adopted, 1 failed (run 2)
        --- exit 1
    ");
    assert_eq!((contents(&db, "acme"), tracked(&db)), (before.clone(), String::new()));

    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "20260119090000"]).run(), @r"
        --- stderr
        1 adopted (with 3 migrations recorded as applied)
        hint: 'tenantry health-check' shows pending migrations and drift
        --- exit 0
    ");
    assert_eq!(
        db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"),
        ["20260105090000", "20260112090000", "20260119090000"]
    );
    let after = contents(&db, "acme");
    assert!(before.iter().all(|object| after.contains(object)), "only a ledger came: {before:?} {after:?}");
    assert_snapshot!(db.tenantry(["list"]).run(), @r"
        TENANT  STATE   VERSION         PENDING  CREATED
        acme    active  20260119090000  2        DATE
        --- stderr
        1 tenant
        --- exit 0
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn baseline_of_the_newest_migration_leaves_none_pending() {
    let db = untracked("acme");
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "20260209090000"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn baseline_version_may_contain_dashes() {
    let db = untracked("acme");
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "2026-02-09-090000"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn unknown_baseline_version_is_refused() {
    let db = fleet(&[]);
    db.execute("CREATE SCHEMA acme");
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "20260119090001"]).run(), @r"
        --- stderr
        error: no tenant migration has version 20260119090001
        hint: valid versions: 20260119090000, 20260112090000, 20260209090000, 20260105090000, 20260202090000
        --- exit 2
    ");
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "the newest"]).run(), @r#"
    --- stderr
    error: no tenant migration has the name "the newest"
    hint: tenant migrations: 20260105090000_create_users, 20260119090000_create_comments, 20260112090000_create_projects_and_tasks, 20260209090000_index_tasks_by_assignee, 20260202090000_add_priority_and_due_date
    --- exit 2
    "#);
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", ""]).run(), @r#"
    --- stderr
    error: no tenant migration has the name ""
    hint: tenant migrations: 20260105090000_create_users, 20260119090000_create_comments, 20260209090000_index_tasks_by_assignee, 20260202090000_add_priority_and_due_date, 20260112090000_create_projects_and_tasks
    --- exit 2
    "#);
    assert_eq!((contents(&db, "acme"), tracked(&db)), (vec![], String::new()));
}

#[test]
fn baseline_that_contradicts_the_ledger_is_refused() {
    let db = fleet(&[]);
    create_older(&db, &["acme"]);
    db.execute("DELETE FROM schema_tracker");
    let before = contents(&db, "acme");
    let refused = db.tenantry(["adopt", "acme", "--baseline", "20260209090000"]).run();
    assert!(!refused.stderr.contains("recorded as applied"), "nothing was: {}", refused.stderr);
    assert_snapshot!(refused, @"
    --- stderr
    error: tenant acme: migration ledger already records 3 migrations
    hint: omit --baseline, or replace the baseline of an earlier adopt with --rebaseline
    0 adopted, 1 failed (run 2)
    --- exit 1
    ");
    assert_eq!((contents(&db, "acme"), tracked(&db)), (before, String::new()));
    assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 3);

    // A baseline that records nothing new does not contradict the ledger.
    db.execute("DELETE FROM acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "20260119090000"]).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM acme.__diesel_schema_migrations"), 3);
}

#[test]
fn missing_schema_is_refused_with_the_command_that_helps() {
    let db = fleet(&["gone"]);
    db.execute("DROP SCHEMA gone CASCADE; INSERT INTO schema_tracker (name) VALUES ('registered')");
    let output = db.tenantry(["adopt", "nobody", "gone", "registered"]).run();
    // Three states, and a different command for each.
    for way in ["create nobody", "drop gone", "create registered"] {
        assert!(output.stderr.contains(way), "{way}: {}", output.stderr);
    }
    assert_snapshot!(output);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('nobody', 'gone', 'registered')"), 0);
}

#[test]
fn manually_registered_tenant_becomes_active() {
    let db = untracked("acme");
    db.execute("INSERT INTO schema_tracker (name) VALUES ('acme')");
    db.tenantry(["adopt", "acme"]).run().assert_code(0);
    assert_eq!(db.string("SELECT state FROM schema_tracker"), "active");
}

#[test]
#[ignore = "long: make test-long"]
fn baseline_creates_a_missing_ledger_of_a_tracked_tenant() {
    let db = fleet(&["acme"]);
    db.execute("DROP TABLE acme.__diesel_schema_migrations");
    db.tenantry(["adopt", "acme", "--baseline", "20260209090000"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn name_that_differs_only_in_case_is_refused() {
    let db = fleet(&["acme"]);
    db.execute("CREATE SCHEMA \"Acme\"");
    assert_snapshot!(db.tenantry(["adopt", "Acme"]).run(), @r#"
        --- stderr
        error: tenant Acme: name differs only in case from tenant "acme"
        hint: choose another name
        0 adopted, 1 failed (run 2)
        --- exit 1
    "#);
    db.execute("CREATE SCHEMA globex; CREATE SCHEMA \"GLOBEX\"");
    db.tenantry(["adopt", "globex", "GLOBEX"]).run().assert_code(1);
    assert_eq!(tracked(&db), "acme\nglobex\n");
}

#[test]
fn tenant_being_dropped_is_refused() {
    let db = fleet(&["acme"]);
    db.execute("UPDATE schema_tracker SET state = 'dropping'");
    assert_snapshot!(db.tenantry(["adopt", "acme"]).run(), @r"
        --- stderr
        error: tenant acme: a drop is in progress
        hint: 'tenantry drop acme' completes the drop
        0 adopted, 1 failed (run 2)
        --- exit 1
    ");
}

#[test]
fn unreadable_schema_is_refused_with_the_missing_grant() {
    let db = untracked("acme");
    let url = url_of_a_stranger(&db);
    assert_snapshot!(db.tenantry(["adopt", "acme"]).env("DATABASE_URL", url).run(), @r#"
        --- stderr
        error: tenant acme: cannot read the migration ledger: permission denied for role "stranger_DATABASE"
        hint: run as the owner: GRANT USAGE ON SCHEMA "acme" TO "stranger_DATABASE"; GRANT SELECT ON "acme".__diesel_schema_migrations TO "stranger_DATABASE"
        0 adopted, 1 failed (run 2)
        --- exit 1
    "#);
    assert_eq!(tracked(&db), "");
}

#[test]
fn failures_do_not_affect_other_schemas() {
    let db = fleet(&["acme", "tracked"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name = 'acme'; \
         CREATE SCHEMA empty; CREATE SCHEMA tables; CREATE TABLE tables.t(i int)",
    );
    assert_snapshot!(db.tenantry(["adopt", "acme", "tables", "nobody", "empty", "tracked"]).run(), @r"
        --- stderr
        error: tenant tables: schema has objects but no migration ledger
        hint: 'tenantry adopt tables --baseline VERSION' records the migrations up to VERSION as applied
        error: tenant nobody: schema does not exist
        hint: 'tenantry create nobody' creates it
        2 adopted, 2 failed, 1 unchanged (run 2)
        hint: 'tenantry health-check' shows pending migrations and drift
        --- exit 1
    ");
    assert_eq!(tracked(&db), "acme\nempty\ntracked\n");
}

#[test]
fn report_is_printed_as_json() {
    let db = fleet(&["acme", "tracked"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name = 'acme'; DROP TABLE acme.__diesel_schema_migrations; \
         CREATE SCHEMA tables; CREATE TABLE tables.t(i int)",
    );
    assert_snapshot!(db.tenantry(["adopt", "tables", "nobody", "tracked", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["adopt", "acme", "--baseline", "20260209090000", "--format", "json"]).run());
}

#[test]
fn system_schemas_are_refused() {
    let db = fleet(&[]);
    for name in ["public", "information_schema", "pg_catalog", "pg_toast"] {
        db.tenantry(["adopt", name]).run().assert_code(2);
    }
    assert_eq!(tracked(&db), "");
}

#[test]
fn missing_tracker_or_name_is_an_error() {
    assert_snapshot!(Database::new().tenantry(["adopt", "acme"]).run(), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
    assert_snapshot!(Tenantry::new().without_migrations().arg("adopt").run(), @r"
        --- stderr
        error: the following required arguments were not provided:
          <NAME>...

        Usage: tenantry adopt <NAME>...

        For more information, try '--help'.
        --- exit 2
    ");
}

const STRAY: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];

/// A tracker, and untracked schemas with a table each.
fn strays() -> Database {
    let db = fleet(&[]);
    db.execute(&STRAY.map(|name| format!("CREATE SCHEMA {name}; CREATE TABLE {name}.t (i int);")).concat());
    db
}

fn adopt_strays(db: &Database, args: &[&str]) -> Tenantry {
    db.tenantry(["adopt", "--baseline", "20260119090000"]).args(args).args(STRAY)
}

/// A session that allows only reads of the tracker.
fn reader(db: &Database) -> (PgConnection, String) {
    let mut conn = db.connect();
    conn.batch_execute("SET application_name TO 'nightly report'; BEGIN; LOCK TABLE schema_tracker IN SHARE MODE")
        .unwrap();
    let pid = strings(&mut conn, "SELECT pg_backend_pid()").remove(0);
    (conn, pid)
}

fn listed(output: &Output, list: &str) -> BTreeSet<String> {
    let json = output.json();
    let name = |entry: &serde_json::Value| entry.as_str().or(entry["tenant"].as_str()).unwrap().to_owned();
    json[list].as_array().unwrap().iter().map(name).collect()
}

#[test]
#[ignore = "long: make test-long"]
fn report_is_correct_if_the_connection_is_lost_at_any_message() {
    let template = strays();
    let proxy = Proxy::start(server());
    let (mut cuts, mut survived) = (0, 0);
    for point in [CutPoint::Before, CutPoint::After] {
        for n in 1.. {
            let db = template.copy();
            proxy.reset();
            proxy.cut_at(n, point);
            let run = adopt_strays(&db, &["--jobs", "2", "--format", "json"]);
            let output = run.env("DATABASE_URL", proxy.url(db.name())).run();
            let reached = proxy.messages();
            proxy.reset();
            let there: BTreeSet<String> = db.strings("SELECT name FROM schema_tracker").into_iter().collect();
            match output.code {
                Some(0) => {
                    assert_eq!((listed(&output, "adopted"), there.len()), (there.clone(), STRAY.len()), "cut at {n}");
                    survived += 1;
                }
                // Before the first tenant was started.
                code => {
                    assert_eq!((code, there.len()), (Some(5), 0), "{}", output.stderr);
                    assert_eq!(output.json()["error"]["retryable"], true, "{}", output.stdout);
                }
            }
            for name in &there {
                assert_eq!(db.count(&format!("SELECT count(*) FROM {name}.__diesel_schema_migrations")), 3);
            }
            if reached < n {
                break;
            }
            cuts += 1;
        }
    }
    eprintln!("{cuts} cuts, {survived} survived");
    // A connection lost before the first tenant is started ends the run, and this is a large part of so short a run.
    assert!(cuts > 20 && survived > cuts / 3, "{cuts} cuts, {survived} survived");
}

#[test]
fn lock_timeout_is_retried_and_reported() {
    let db = strays();
    let (mut reader, pid) = reader(&db);
    let options = ["--lock-timeout", "200ms", "--retries", "1"];
    let output = adopt_strays(&db, &options).args(["--format", "json"]).run();
    output.assert_code(1);
    assert_eq!((listed(&output, "failed").len(), listed(&output, "adopted").len()), (6, 0));
    for failed in output.json()["failed"].as_array().unwrap() {
        assert_eq!(failed["code"], "deferred");
        let message = failed["message"].as_str().unwrap();
        assert!(message.starts_with("lock timeout on 2 of 2 attempts"), "{message}");
        assert_eq!(failed["holders"][0]["pid"].to_string(), pid);
    }
    assert!(output.stderr.contains("0 adopted, 6 deferred (run 1)"), "{}", output.stderr);
    assert!(output.stderr.contains("to retry: tenantry adopt s0 s1 s2 s3 s4 s5 --baseline"), "{}", output.stderr);
    assert_eq!(db.string("SELECT outcome || ' ' || deferred FROM schema_run"), "failed 6");

    // A session that ends meanwhile is not a holder.
    let run = adopt_strays(&db, &["--lock-timeout", "200ms", "-v"]).spawn();
    db.wait_for_waiters(1);
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        1,
    );
    reader.batch_execute("COMMIT").unwrap();
    run.wait().assert_code(0);
    assert_eq!(tracked(&db), "s0\ns1\ns2\ns3\ns4\ns5\n");
    assert_eq!(
        db.count("SELECT count(*) FROM schema_run_tenant WHERE run = 2 AND attempts > 1 AND outcome = 'done'"),
        6
    );
}

#[test]
fn interrupt_completes_running_tenants_and_reports_the_rest() {
    for signals in [1, 2] {
        let db = strays();
        let (mut reader, _) = reader(&db);
        let run = adopt_strays(&db, &["--jobs", "2", "--lock-timeout", "1min", "--format", "json"]).spawn();
        db.wait_for_waiters(2);
        for line in ["interrupted:", "interrupted again"].into_iter().take(signals) {
            run.signal(Signal::INT);
            run.wait_for_stderr_line(line);
        }
        if signals == 1 {
            reader.batch_execute("COMMIT").unwrap();
        }
        let output = run.wait();
        if signals == 1 {
            assert_snapshot!(output);
        }
        output.assert_code(130);
        let done = if signals == 1 { 2 } else { 0 };
        assert_eq!((listed(&output, "adopted").len(), listed(&output, "not_reached").len()), (done, 6 - done));
        let recorded = format!("interrupted {done} {}", 6 - done);
        assert_eq!(db.string("SELECT concat_ws(' ', outcome, done, not_reached) FROM schema_run"), recorded);
        assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), done as i64);
    }
}

#[test]
fn schema_locked_by_another_run_is_waited_for() {
    let db = strays();
    let mut holder = db.connect();
    holder.batch_execute("SELECT pg_advisory_lock(hashtextextended('tenantry:s3', 0))").unwrap();
    let run = adopt_strays(&db, &["--format", "json"]).spawn();
    db.wait_for("SELECT count(*) FROM schema_tracker", 5);
    holder.batch_execute("SELECT pg_advisory_unlock_all()").unwrap();
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(listed(&output, "adopted").len(), 6);
}
