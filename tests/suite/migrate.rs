//! `migrate-one` and `migrate-all`: pending migrations, applied atomically, and reports of failures.

use tenantry::operations::migrate::{MigratePlan, Rollout, migrate};

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, public_migrations, run_with, schemas, set_up};

/// A fleet of four tenants with the repository's migrations.
fn fleet() -> Database {
    let db = set_up();
    db.tenantry(["create", "acme", "globex", "initech", "umbrella"]).run().assert_code(0);
    db
}

#[test]
fn only_tenants_with_pending_migrations_are_migrated() {
    let db = fleet();
    let migrations = Dir::copy_of_tenant().add("20270101000000_notes", "CREATE TABLE notes (id int PRIMARY KEY);");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all", "--dry-run", "--match", "^[ag]"]), @r"
        TENANT  VERSION         PENDING
        acme    20260209090000  20270101000000_notes
        globex  20260209090000  20270101000000_notes
        --- stderr
        tenant migrations: MIGRATIONS (6 in all, newest 20270101000000)
        20270101000000_notes: 2 tenants behind
        2 would be migrated, 0 up to date
        --- exit 0
    ");
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'notes'"), 0);
    assert_snapshot!(run_with(&db, &migrations, &["migrate-one", "globex"]), @r"
        --- stderr
        1 migrated
        --- exit 0
    ");
    let before = db.string("SELECT run_on FROM globex.__diesel_schema_migrations WHERE version = '20270101000000'");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all", "--except", "umbrella"]), @r"
        --- stderr
        2 migrated, 1 unchanged
        --- exit 0
    ");
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'notes'"), 3);
    let after = db.string("SELECT run_on FROM globex.__diesel_schema_migrations WHERE version = '20270101000000'");
    assert_eq!(before, after);
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all", "--except", "umbrella"]), @r"
        --- stderr
        0 migrated, 3 unchanged
        --- exit 0
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn failure_is_located_and_other_tenants_continue() {
    let db = fleet();
    db.execute("INSERT INTO initech.users (email, full_name) VALUES ('a@b', 'Same'), ('b@b', 'Same')");
    let up = "-- Names are unique now.\nCREATE TABLE notes (id int PRIMARY KEY);\n\nALTER TABLE users\n    ADD CONSTRAINT users_full_name_key UNIQUE (full_name);\n";
    let migrations = Dir::copy_of_tenant().add("20270101000000_unique_names", up);
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]));
    assert_eq!(
        db.strings("SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 'notes' ORDER BY 1::text").len(),
        3
    );
    assert_eq!(db.string("SELECT to_regclass('initech.notes') IS NULL"), "true", "rolled back whole");
    assert_eq!(db.count("SELECT count(*) FROM initech.users"), 2, "no row is lost");
    let json = run_with(&db, &migrations, &["migrate-all", "--format", "json"]);
    assert_eq!(json.json()["failed"][0]["migration"]["line"], 4);
    assert_eq!(json.json()["failed"][0]["server"]["detail"], "Key (full_name)=(Same) is duplicated.");
    // The data is corrected, and the command repeated.
    db.execute("UPDATE initech.users SET full_name = email");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]), @r"
        --- stderr
        1 migrated, 3 unchanged
        --- exit 0
    ");
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
}

#[test]
fn every_kind_of_failure_is_reported_with_its_line() {
    let db = set_up();
    let base = Dir::new().add("1_base", "CREATE TABLE t (i int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);");
    run_with(&db, &base, &["create", "acme"]).assert_code(0);
    // The failure, its line, and the beginning of its statement.
    let cases: &[(&str, &str, Option<u64>, Option<&str>)] = &[
        ("syntax", "SELECT 1;\n\nCREATE TABEL x (i int);", Some(3), Some("CREATE TABEL")),
        ("a name", "SELECT 1;\nSELECT 'é', '$1', 2\nFROM nowhere;", Some(3), Some("SELECT 'é'")),
        ("an execution", "SELECT 1;\nSELECT ';';\nSELECT 1/0\n;", Some(3), Some("SELECT 1/0")),
        ("a function's body", "\nDO $$ BEGIN\n  PERFORM 1;\n  RAISE EXCEPTION 'no';\nEND $$;", Some(2), Some("DO $$")),
        ("the commit", "INSERT INTO t VALUES (1), (1);", None, None),
        ("a second migration's", "CREATE TABLE y (i int); -- no end", Some(1), Some("SELECT nothing")),
    ];
    for (what, up, line, statement) in cases {
        let migrations = Dir::new()
            .add("1_base", "CREATE TABLE t (i int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);")
            .add("2_up", up);
        let migrations = match *what {
            "a second migration's" => migrations.add("3_more", "SELECT nothing"),
            _ => migrations,
        };
        let output = run_with(&db, &migrations, &["migrate-one", "acme", "--format", "json"]);
        output.assert_code(1);
        let failed = &output.json()["failed"][0];
        assert_eq!(failed["code"], "migration-failed", "{what}");
        assert_eq!(failed["migration"]["line"].as_u64(), *line, "{what}: {failed:#}");
        let reported = failed["migration"]["statement"].as_str();
        assert_eq!(reported.is_some(), statement.is_some(), "{what}: {failed:#}");
        assert!(reported.unwrap_or_default().starts_with(statement.unwrap_or_default()), "{what}: {failed:#}");
        assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations"), ["1"], "{what}");
    }
    assert_eq!(db.count("SELECT count(*) FROM acme.t"), 0);
}

#[test]
fn same_failure_of_many_tenants_is_reported_once() {
    let db = fleet();
    let migrations = Dir::copy_of_tenant().add("20270101000000_bad", "SELECT 1;\nDROP TABLE nothing;");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]), @r#"
        --- stderr
        error: 4 tenants: migration 20270101000000_bad/up.sql:2 failed: table "nothing" does not exist
          statement: DROP TABLE nothing
          effect: rolled back, nothing was changed
          tenants: acme, globex, initech, umbrella
        0 migrated, 4 failed (run 2)
        hint: to retry: tenantry migrate-all --match '^(acme|globex|initech|umbrella)$' --tenant-migrations MIGRATIONS
        --- exit 1
    "#);
}

#[test]
fn fail_fast_stops_before_the_next_tenant() {
    let db = fleet();
    let migrations = Dir::copy_of_tenant().add("20270101000000_bad", "SELECT 1/0;");
    let output = run_with(&db, &migrations, &["migrate-all", "--fail-fast", "--jobs", "1", "--format", "json"]);
    output.assert_code(1);
    let json = output.json();
    assert_eq!(json["stop_reason"], "failure");
    let count = |key: &str| json[key].as_array().unwrap().len();
    assert_eq!(count("failed") + count("not_reached"), 4);
    assert!(count("failed") >= 1);
}

#[test]
fn missing_schema_fails_its_tenant_and_no_other_schema_is_changed() {
    let db = set_up();
    db.execute("CREATE SCHEMA extensions; CREATE SCHEMA more; CREATE TABLE more.precious AS SELECT 1 AS i");
    let settings = ["--extension-schema", "extensions", "--extension-schema", "more,public"];
    db.tenantry(["create", "acme", "globex", "initech"]).args(settings).run().assert_code(0);
    // `globex` is tracked, and its schema does not exist; the path continues with schemas that could receive its objects.
    db.execute("DROP SCHEMA globex CASCADE; DELETE FROM acme.__diesel_schema_migrations WHERE version > '20260201'");
    let tables = "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE n.nspname IN ('public', 'extensions', 'more', 'acme', 'initech') ORDER BY 1";
    let before = db.strings(tables);
    // In `acme`, the migrations that were removed from its ledger fail first, because their objects exist.
    let migrations = Dir::copy_of_tenant().add("20270101000000_notes", "CREATE TABLE notes (i int);");
    let path = migrations.path().to_str().unwrap();
    let output =
        db.tenantry(["migrate-all", "--tenant-migrations", path]).args(settings).hide(path, "MIGRATIONS").run();
    assert_snapshot!(output);
    let mut expected = before;
    expected.push("initech.notes".to_owned());
    expected.sort();
    assert_eq!(db.strings(tables), expected, "nothing landed elsewhere, and nothing went");
    assert_eq!(schemas(&db), ["acme", "extensions", "initech", "more"]);
}

#[test]
fn schema_dropped_after_planning_fails_the_tenant() {
    let db = set_up();
    db.execute("CREATE SCHEMA more");
    db.tenantry(["create", "acme", "--extension-schema", "more"]).run().assert_code(0);
    let migrations = Dir::copy_of_tenant().add("20270101000000_notes", "CREATE TABLE notes (i int);");
    let tenancy = tenantry::Tenancy::new(tenantry::MigrationSet::from_dir(migrations.path()).unwrap())
        .unwrap()
        .with_extension_schemas(vec!["more".parse().unwrap()]);
    let connector = crate::support::connector(&db.url());
    let mut connected = tenantry::Database::connect(connector, 1).unwrap();
    let set = tenancy.tenant_migrations();
    let plan = MigratePlan::of(tenantry::Fleet::read(connected.connection(), set).unwrap(), set, |_| true);
    db.execute("DROP SCHEMA acme CASCADE");
    let report = migrate(&mut connected, &tenancy, plan, &Rollout::default(), &tenantry::Stop::default(), &mut ());
    let report = report.unwrap();
    assert_eq!(report.failed[0].error.code(), "schema-missing");
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'notes'"), 0);
}

#[test]
fn extension_schema_follows_the_tenant_in_the_search_path() {
    let db = set_up();
    db.execute("CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions");
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (name citext);");
    let without = run_with(&db, &migrations, &["create", "acme"]);
    without.assert_code(1);
    assert!(without.stderr.contains("type \"citext\" does not exist"), "{}", without.stderr);
    run_with(&db, &migrations, &["create", "acme", "--extension-schema", "extensions"]).assert_code(0);
    let gone = run_with(&db, &migrations, &["migrate-all", "--extension-schema", "nowhere"]);
    gone.assert_code(2);
    assert!(gone.stderr.contains("extension schema nowhere does not exist"), "{}", gone.stderr);
}

#[test]
fn invalid_index_of_an_earlier_attempt_is_rebuilt() {
    let db = fleet();
    db.execute("INSERT INTO globex.users (email, full_name) VALUES ('a@b', 'Same'), ('b@b', 'Same')");
    let migrations = Dir::copy_of_tenant()
        .add("20270101000000_unique", "CREATE UNIQUE INDEX CONCURRENTLY users_name ON users (full_name);")
        .metadata("run_in_transaction = false");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]), @r#"
        --- stderr
        error: tenant globex: migration 20270101000000_unique/up.sql:1 failed: could not create unique index "users_name"
          statement: CREATE UNIQUE INDEX CONCURRENTLY users_name ON users (full_name)
          detail: Key (full_name)=(Same) is duplicated.
        hint: the migration is not transactional: 0 of its 1 statements were executed, and the next run resumes after them
        3 migrated, 1 failed (run 2)
        hint: to retry: tenantry migrate-all --match '^globex$' --tenant-migrations MIGRATIONS
        --- exit 1
    "#);
    let state = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'globex.users_name'::regclass";
    assert_eq!(db.string(state), "false");
    db.execute("UPDATE globex.users SET full_name = email");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    assert_eq!(db.string(state), "true");
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE unfinished_version IS NOT NULL"), 0);
}

#[test]
fn statement_timeout_rolls_back_the_tenant() {
    let db = fleet();
    let migrations =
        Dir::copy_of_tenant().add("20270101000000_slow", "CREATE TABLE slow (i int);\nSELECT pg_sleep(60);");
    let output = run_with(&db, &migrations, &["migrate-one", "acme", "--statement-timeout", "100ms"]);
    output.assert_code(1);
    assert!(output.stderr.contains("canceling statement due to statement timeout"), "{}", output.stderr);
    assert!(output.stderr.contains("statement: SELECT pg_sleep(60)"), "{}", output.stderr);
    assert_eq!(db.string("SELECT to_regclass('acme.slow') IS NULL"), "true");
}

#[test]
fn untracked_tenant_is_refused() {
    let db = fleet();
    db.execute("CREATE SCHEMA stray");
    assert_snapshot!(db.tenantry(["migrate-one", "nobody"]).run(), @r"
        --- stderr
        error: tenant nobody: not tracked in public.schema_tracker
        hint: 'tenantry create nobody' creates it
        0 migrated, 1 failed
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["migrate-one", "stray"]).run(), @r"
        --- stderr
        error: tenant stray: not tracked in public.schema_tracker
        hint: 'tenantry adopt stray' adds its schema to the tracker
        0 migrated, 1 failed
        --- exit 1
    ");
}

#[test]
fn empty_fleet_is_migrated() {
    let db = set_up();
    db.tenantry(["migrate-all"]).run().assert_code(0);
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn invalid_migrations_are_refused_before_the_run_starts() {
    let db = fleet();
    let migrations = Dir::copy_of_tenant()
        .add("20270101000000_fine", "CREATE TABLE fine (i int);")
        .add("20270102000000_commit", "CREATE TABLE a (i int);\nCOMMIT;\n")
        .add("20270103000000_path", "SET search_path TO public;")
        .add("20270104000000_concurrently", "CREATE INDEX CONCURRENTLY i ON users (role);");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]), @r"
        --- stderr
        error: invalid migrations in MIGRATIONS:
                 20270102000000_commit/up.sql:2: COMMIT is not allowed, because tenantry controls the transaction; remove it
                 20270103000000_path/up.sql:1: changing search_path is not allowed; qualify the names in the statements instead
                 20270104000000_concurrently/up.sql:1: CREATE INDEX CONCURRENTLY cannot run in a transaction; move it to a separate migration with run_in_transaction = false in metadata.toml
        hint: nothing was run
        --- exit 2
    ");
    assert_eq!(db.count("SELECT count(*) FROM pg_class WHERE relname = 'fine'"), 0);
}

#[test]
fn migration_that_changes_the_search_path_leaves_other_ledgers_unchanged() {
    let db = fleet();
    let sneaky = "UPDATE pg_settings SET setting = 'public' WHERE name = 'search_path';\nCREATE TABLE lost (i int);";
    let migrations = Dir::copy_of_tenant()
        .add("20270101000000_sneaky", sneaky)
        .add("20270102000000_next", "CREATE TABLE next (i int);");
    run_with(&db, &migrations, &["migrate-one", "acme"]);
    assert_eq!(db.count("SELECT count(*) FROM public.schema_ledger"), public_migrations(), "the tracker's own");
    assert_eq!(
        db.string("SELECT to_regclass('public.next') IS NULL"),
        "true",
        "the path is set again for each migration"
    );
}
