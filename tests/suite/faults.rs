//! Lost connections and killed processes: a tenant is before or after its migrations, and the next run completes the rest.

use diesel::connection::SimpleConnection;

use crate::support::migrations::Dir;
use crate::support::proxy::{CutPoint, Proxy};
use crate::support::{assert_whole, exhaustive, server, set_up, small_fleet, with};

#[test]
fn process_killed_at_any_statement_leaves_tenants_consistent() {
    let db = set_up();
    small_fleet(&db, 12, &["1"]);
    db.execute("CREATE TABLE public.gate (n int PRIMARY KEY); INSERT INTO public.gate SELECT generate_series(1, 3)");
    let gate = |n: u32| format!("SELECT FROM public.gate WHERE n = {n} FOR UPDATE;");
    let up = format!("{} CREATE TABLE b (i int); {} CREATE TABLE c (i int); {}", gate(1), gate(2), gate(3));
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", &up);
    for n in 1..=3 {
        let mut holder = db.connect();
        holder.batch_execute(&format!("BEGIN; {}", gate(n))).unwrap();
        let run = with(&db, &migrations, &["migrate-all", "--jobs", "4"]).spawn();
        db.wait_for_waiters(1);
        run.kill();
        assert_eq!(run.wait().code, None);
        holder.batch_execute("ROLLBACK").unwrap();
        assert_whole(&db, &["b", "c"], "2");
    }
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_whole(&db, &["b", "c"], "2");
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname IN ('b', 'c')"), 24);
}

#[test]
fn create_killed_during_an_index_build_is_completed() {
    let db = set_up();
    // An old snapshot blocks the concurrent build.
    let mut holder = db.connect();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    let run = db.tenantry(["create", "acme"]).spawn();
    db.wait_for_concurrent_build();
    run.kill();
    assert_eq!(run.wait().code, None);
    assert_eq!(
        db.strings("SELECT state || ' ' || unfinished_version FROM schema_tracker"),
        ["creating 20260209090000"]
    );
    // The server process ends too, as with a failed machine, and leaves an invalid index behind.
    db.strings(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
         AND query LIKE '%CONCURRENTLY%' AND pid <> pg_backend_pid()",
    );
    let gone = "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = current_database() \
                AND query LIKE '%INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()";
    db.wait_for(gone, 1);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'acme.tasks_assignee_id_due_on_idx'::regclass";
    assert_eq!(db.string(valid), "false");
    let stuck = db.tenantry(["health-check"]).run();
    stuck.assert_code(1);
    assert!(stuck.stdout.contains("stuck-creating"), "{}", stuck.stdout);
    holder.batch_execute("ROLLBACK").unwrap();
    db.tenantry(["migrate-all"]).run().assert_code(0);
    assert_eq!(db.string(valid), "true");
    db.tenantry(["health-check"]).run().assert_code(0);
}

/// Cuts the connection at messages of a run, which the next run completes.
#[test]
#[ignore = "long: make test-long"]
fn connection_lost_at_any_message_loses_no_tenant() {
    let step = exhaustive::step(5);
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", "CREATE TABLE b (i int); CREATE TABLE c (i int);")
        .add("3_index", "CREATE INDEX CONCURRENTLY b_i ON b (i);")
        .metadata("run_in_transaction = false")
        .add("4_d", "CREATE TABLE d (i int);");
    let proxy = Proxy::start(server());
    let mut survived = 0;
    for point in [CutPoint::Before, CutPoint::After] {
        for n in (1..).step_by(step) {
            let db = set_up();
            small_fleet(&db, 2, &["1"]);
            db.execute("CREATE TABLE t00000.a (i int); CREATE TABLE t00001.a (i int)");
            proxy.reset();
            proxy.cut_at(n, point);
            let run = |args: &[&str]| with(&db, &migrations, args).env("DATABASE_URL", proxy.url(db.name())).run();
            let first = run(&["migrate-all", "--jobs", "1"]);
            assert!(first.code.is_some_and(|code| [0, 1, 5].contains(&code)), "{}", first.stderr);
            survived += usize::from(first.code == Some(0));
            let reached = proxy.messages();
            assert_whole(&db, &["b", "c"], "2");
            assert_whole(&db, &["d"], "4");
            proxy.reset();
            run(&["migrate-all"]).assert_code(0);
            run(&["health-check"]).assert_code(0);
            assert_eq!(db.count("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0);
            assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'b_i'"), 2);
            // The run was over before that message.
            if reached < n {
                assert!(n > 15, "{n} messages are fewer than such a run has");
                break;
            }
        }
    }
    assert!(survived > 10 / step, "a lost link is come back from: {survived}");
}
