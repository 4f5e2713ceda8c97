//! Behind PgBouncer in transaction mode: each transaction may use another session.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{schemas, server, set_up};

/// The repository's transactional migrations.
fn transactional() -> Dir {
    let migrations = Dir::copy_of_tenant();
    migrations.remove("20260209090000_index_tasks_by_assignee");
    migrations
}

#[test]
#[ignore = "long: make test-long"]
fn all_commands_run_through_a_transaction_pooler() {
    let db = crate::support::Database::new();
    let pooler = PgBouncer::start(server());
    let migrations = transactional();
    let url = pooler.url(db.name());
    let run = |args: &[&str]| {
        let path = migrations.path().to_str().unwrap();
        db.tenantry(args).env("TENANTRY_TENANT_MIGRATIONS", path).env("DATABASE_URL", &url).run()
    };
    run(&["migrate-public"]).assert_code(0);
    let names: Vec<String> = (0..60).map(|n| format!("t{n:02}")).collect();
    let mut create = vec!["create"];
    create.extend(names.iter().map(String::as_str));
    // More workers than the pooler has sessions.
    create.extend(["--jobs", "12"]);
    run(&create).assert_code(0);
    run(&["health-check"]).assert_code(0);
    migrations.write("20260202090000_add_priority_and_due_date/down.sql", "");
    std::fs::create_dir(migrations.path().join("20270101000000_notes")).unwrap();
    migrations
        .write("20270101000000_notes/up.sql", "CREATE TABLE notes (i int); SELECT 1/(current_schema() <> 't07')::int;");
    let first = run(&["migrate-all", "--jobs", "12"]);
    first.assert_code(1);
    assert!(first.stderr.contains("59 migrated, 1 failed"), "{}", first.stderr);
    assert!(first.stderr.contains("tenant t07: migration 20270101000000_notes/up.sql:1 failed"), "{}", first.stderr);
    migrations.write("20270101000000_notes/up.sql", "CREATE TABLE notes (i int);");
    run(&["repair", "--accept", "20270101000000", "--reason", "it failed in one tenant"]).assert_code(0);
    run(&["migrate-all", "--jobs", "12"]).assert_code(0);
    assert_eq!(db.count("SELECT count(DISTINCT relnamespace) FROM pg_class WHERE relname = 'notes'"), 60);
    assert_eq!(db.string("SELECT to_regclass('public.notes') IS NULL"), "true");
    run(&["list"]).assert_code(0);
    run(&["adopt", "t01"]).assert_code(0);
    run(&["drop", "--yes", "t00", "t01"]).assert_code(0);
    run(&["cleanup", "--yes"]).assert_code(0);
    assert_eq!(schemas(&db), Vec::<String>::new());
}

#[test]
fn no_setting_remains_in_pooled_sessions() {
    let db = crate::support::Database::new();
    let pooler = PgBouncer::start(server());
    let migrations = transactional();
    let (path, url) = (migrations.path().to_str().unwrap(), pooler.url(db.name()));
    for args in [&["migrate-public"][..], &["create", "acme", "globex", "initech", "umbrella"]] {
        let run = db.tenantry(args).args(["--statement-timeout", "1m"]).env("TENANTRY_TENANT_MIGRATIONS", path);
        run.env("DATABASE_URL", &url).run().assert_code(0);
    }
    let mut conn = <diesel::PgConnection as diesel::Connection>::establish(&url).unwrap();
    for _ in 0..8 {
        let setting: String = diesel::RunQueryDsl::get_result(
            diesel::dsl::sql::<diesel::sql_types::Text>(
                "SELECT current_setting('search_path') || ' ' || current_setting('statement_timeout') \
                 || ' ' || current_setting('synchronous_commit')",
            ),
            &mut conn,
        )
        .unwrap();
        assert_eq!(setting, "\"$user\", public 0 off", "the server's own settings; off is the test server's");
    }
}

#[test]
fn non_transactional_migration_is_refused_behind_a_pooler() {
    let db = set_up();
    let pooler = PgBouncer::start(server());
    assert_snapshot!(db.tenantry(["create", "acme"]).env("DATABASE_URL", pooler.url(db.name())).run(), @r"
        --- stderr
        error: tenant acme: non-transactional migration 20260209090000_index_tasks_by_assignee cannot run through a transaction pooler
        hint: set --database-url to the server instead of the pooler
        0 created, 1 failed (run 1)
        --- exit 1
    ");
    assert_eq!(schemas(&db), Vec::<String>::new());
    // Also if the pooler drops the mark instead of refusing the connection.
    let lenient = PgBouncer::with_settings(server(), &[("ignore_startup_parameters", "extra_float_digits,options")]);
    let refused = db.tenantry(["create", "acme"]).env("DATABASE_URL", lenient.url(db.name())).run();
    refused.assert_code(1);
    assert!(refused.stderr.contains("transaction pooler"), "{}", refused.stderr);
    db.tenantry(["create", "acme"]).run().assert_code(0);
}
