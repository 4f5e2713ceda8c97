//! Several commands at the same time, as real processes.

use diesel::connection::SimpleConnection;

use crate::support::migrations::Dir;
use crate::support::{Output, Signal, schemas, set_up, small_fleet, with};

fn done(outputs: &[Output]) -> usize {
    outputs.iter().map(|output| output.json()["done"].as_array().unwrap().len()).sum()
}

#[test]
fn concurrent_runs_migrate_each_tenant_once() {
    let db = set_up();
    small_fleet(&db, 60, &["1"]);
    let migrations =
        Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int); INSERT INTO b SELECT pg_backend_pid();");
    let shards = ["1/2", "2/2"].map(|shard| ["migrate-all", "--format", "json", "--shard", shard]);
    let whole = ["migrate-all", "--format", "json", "--lock-wait", "1min"];
    let runs: Vec<_> = shards.iter().chain([&whole]).map(|args| with(&db, &migrations, args).spawn()).collect();
    let outputs: Vec<Output> = runs.into_iter().map(|run| run.wait()).collect();
    for output in &outputs {
        // The run over the whole fleet may come first, and then the shards are refused.
        assert!([Some(0), Some(5)].contains(&output.code), "{}", output.stderr);
    }
    let outputs: Vec<Output> = outputs.into_iter().filter(|output| output.code == Some(0)).collect();
    assert_eq!(done(&outputs), 60);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'b'"), 60);
}

#[test]
#[ignore = "long: make test-long"]
fn concurrent_creates_of_one_name_create_one_tenant() {
    let db = set_up();
    for round in 0..5 {
        let name = format!("acme_{round}");
        let runs: Vec<_> = (0..4).map(|_| db.tenantry(["create", &name]).spawn()).collect();
        let outputs: Vec<Output> = runs.into_iter().map(|run| run.wait()).collect();
        let mut codes: Vec<Option<i32>> = outputs.iter().map(|output| output.code).collect();
        codes.sort();
        let reports: Vec<&str> = outputs.iter().map(|output| output.stderr.as_str()).collect();
        assert_eq!(codes, [Some(0), Some(1), Some(1), Some(1)], "{reports:#?}");
        for output in outputs.iter().filter(|output| output.code == Some(1)) {
            assert!(output.stderr.contains("tenant already exists"), "{}", output.stderr);
        }
    }
    let runs: Vec<_> = (0..4).map(|_| db.tenantry(["create", "--if-not-exists", "globex"]).spawn()).collect();
    runs.into_iter().for_each(|run| _ = run.wait().assert_code(0));
    db.tenantry(["health-check"]).run().assert_code(0);
    assert_eq!(schemas(&db).len(), 6);
}

#[test]
fn concurrent_creates_of_names_that_differ_in_case_create_one_tenant() {
    let db = set_up();
    let runs: Vec<_> = ["acme", "Acme", "ACME"].iter().map(|name| db.tenantry(["create", name]).spawn()).collect();
    let outputs: Vec<Output> = runs.into_iter().map(|run| run.wait()).collect();
    assert_eq!(outputs.iter().filter(|output| output.code == Some(0)).count(), 1);
    assert_eq!(schemas(&db).len(), 1);
    assert!(
        outputs.iter().filter(|output| output.code == Some(1)).all(|output| output.stderr.contains("only in case"))
    );
}

#[test]
fn locked_tenant_is_waited_for() {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    let mut holder = db.connect();
    holder.batch_execute("SELECT pg_advisory_lock(hashtextextended('tenantry:acme', 0))").unwrap();
    let migrations = Dir::copy_of_tenant().add("20270101000000_notes", "CREATE TABLE notes (i int);");
    let run = with(&db, &migrations, &["migrate-all", "--format", "json"]).spawn();
    // The run has tried and was refused the lock before it is released.
    let tried = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND query LIKE '%ROLLBACK%' AND pid <> pg_backend_pid()";
    db.wait_for(tried, 1);
    assert_eq!(db.string("SELECT to_regclass('acme.notes') IS NULL"), "true");
    holder.batch_execute("SELECT pg_advisory_unlock_all()").unwrap();
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(done(&[output]), 1);
}

#[test]
fn concurrent_index_build_does_not_deadlock_with_waiting_runs() {
    let db = set_up();
    db.tenantry(["create", "acme", "globex", "initech"]).run().assert_code(0);
    let migrations = Dir::copy_of_tenant()
        .add("20270101000000_index", "CREATE INDEX CONCURRENTLY users_role_idx ON users (role);")
        .metadata("run_in_transaction = false")
        .add("20270102000000_notes", "CREATE TABLE notes (i int);");
    let names = ["acme", "globex", "initech"];
    let runs: Vec<_> =
        (0..9).map(|n| with(&db, &migrations, &["migrate-one", names[n % 3], "--format", "json"]).spawn()).collect();
    let outputs: Vec<Output> = runs.into_iter().map(|run| run.wait()).collect();
    for output in &outputs {
        output.assert_code(0);
    }
    assert_eq!(done(&outputs), 3);
    assert_eq!(db.count("SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = 'users_role_idx' AND indisvalid"), 3);
}

#[test]
fn concurrent_drop_and_migration_leave_tenants_consistent() {
    let db = set_up();
    small_fleet(&db, 30, &["1"]);
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);");
    let migrate = with(&db, &migrations, &["migrate-all"]).spawn();
    let names: Vec<String> = (0..30).step_by(2).map(|n| format!("t{n:05}")).collect();
    let drop = with(&db, &migrations, &["drop", "--yes"]).args(&names).spawn();
    let (migrated, dropped) = (migrate.wait(), drop.wait());
    dropped.assert_code(0);
    assert!(matches!(migrated.code, Some(0 | 1)), "{}", migrated.stderr);
    assert_eq!(schemas(&db).len(), 15, "no dropped schema came back");
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 15);
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'b'"), 15);
}

#[test]
fn interrupted_run_is_completed_by_the_next() {
    let db = set_up();
    small_fleet(&db, 30, &["1"]);
    // Each tenant waits for a lock that the test holds, so that the run cannot end before the signal.
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "2", "--format", "json"]).spawn();
    db.wait_for_waiters(2);
    run.signal(Signal::INT);
    run.wait_for_stderr_line("interrupted");
    holder.batch_execute("COMMIT").unwrap();
    let output = run.wait();
    output.assert_code(130);
    let json = output.json();
    assert_eq!(json["stop_reason"], "interrupted");
    assert_eq!(json["done"].as_array().unwrap().len(), 2);
    assert_eq!(json["not_reached"].as_array().unwrap().len(), 28);
    assert!(output.stderr.contains("to retry: tenantry migrate-all"), "{}", output.stderr);
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'b'"), 30);
}

#[test]
fn second_interrupt_exits_at_once() {
    let db = set_up();
    small_fleet(&db, 3, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "1"]).spawn();
    db.wait_for_waiters(1);
    run.signal(Signal::TERM);
    run.wait_for_stderr_line("interrupted");
    run.signal(Signal::TERM);
    run.wait().assert_code(130);
}

#[test]
#[ignore = "long: make test-long"]
fn connection_limit_of_the_role_is_respected() {
    let db = set_up();
    let (name, role) = (db.name(), format!("limited_{}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT 3; GRANT CREATE ON DATABASE {name} TO {role}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let url = db.url().replace("postgres@", &format!("{role}@"));
    let names: Vec<String> = (0..40).map(|n| format!("t{n:02}")).collect();
    let create = db.tenantry(["create", "--jobs", "50"]).args(&names).env("DATABASE_URL", &url).run();
    create.assert_code(0);
    db.tenantry(["health-check"]).env("DATABASE_URL", &url).run().assert_code(0);
    // Together with the command's connection, the limit is reached.
    db.execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 1"));
    let refused = db.tenantry(["create", "one_more"]).env("DATABASE_URL", &url).run();
    refused.assert_code(5);
    assert!(refused.stderr.contains("no free connection for this role"), "{}", refused.stderr);
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn terminal_shows_a_progress_bar() {
    let db = set_up();
    small_fleet(&db, 12, &["1"]);
    db.execute("CREATE TABLE public.gate (i int)");
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "LOCK TABLE public.gate IN ROW SHARE MODE; CREATE TABLE b (i int);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE public.gate").unwrap();
    let command = with(&db, &migrations, &["migrate-all", "--jobs", "2"]).env("TERM", "xterm");
    let mut terminal = crate::support::Terminal::spawn(command);
    terminal.expect("0/12 tenants");
    holder.batch_execute("COMMIT").unwrap();
    terminal.expect("12 migrated");
    assert_eq!(terminal.wait().1, Some(0));
}

#[test]
fn tenant_being_created_is_not_a_finding() {
    let db = set_up();
    let mut holder = db.connect();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
    let run = db.tenantry(["create", "acme"]).spawn();
    db.wait_for_concurrent_build();
    let health = db.tenantry(["health-check", "--allow-unchecked"]).run();
    assert_eq!(health.assert_code(0).stdout, "", "it is unchecked, and no finding");
    let list = db.tenantry(["list"]).run();
    assert!(list.stdout.contains("creating"), "{}", list.stdout);
    holder.batch_execute("ROLLBACK").unwrap();
    run.wait().assert_code(0);
}
