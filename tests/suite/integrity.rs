//! Migrations must remain as they were first applied.

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, run_with, set_up};

/// Two migrations, applied in one tenant.
fn applied() -> (Database, Dir) {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);\n").add("2_b", "CREATE TABLE b (i int);\n");
    run_with(&db, &migrations, &["create", "acme"]).assert_code(0);
    (db, migrations)
}

#[test]
#[ignore = "long: make test-long"]
fn edited_migration_is_refused_before_the_run_starts() {
    let (db, migrations) = applied();
    let migrations = migrations.add("3_c", "CREATE TABLE c (i int);");
    migrations.write("1_a/up.sql", "CREATE TABLE a (i int);\nCREATE TABLE more (i int);\n");
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]), @r"
        --- stderr
        error: tenant migration 1_a was edited since it was applied (recorded on DATE):
                   @@ -1 +1,2 @@
                    CREATE TABLE a (i int);
                   +CREATE TABLE more (i int);
        hint: restore it, and make the change in a new migration; or accept it with 'tenantry repair --accept 1 --reason TEXT --tenant-migrations MIGRATIONS'
        --- exit 3
    ");
    db.execute("CREATE SCHEMA stray");
    for command in [
        &["create", "globex"][..],
        &["migrate-one", "acme"],
        &["migrate-all", "--dry-run"],
        &["adopt", "stray"],
        &["revert-one", "acme", "--steps", "1", "--yes"],
        &["revert-all", "--steps", "1", "--yes"],
        &["drop", "acme", "--yes"],
        &["drop", "acme", "--dry-run"],
        &["cleanup", "--yes"],
    ] {
        let output = run_with(&db, &migrations, command);
        output.assert_code(3);
        assert!(output.stderr.contains("1_a was edited since it was applied"), "{command:?}: {}", output.stderr);
    }
    assert_eq!(db.strings("SELECT name FROM schema_tracker"), ["acme"]);
    assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"), ["1", "2"]);
    // Commands that only read continue to work.
    run_with(&db, &migrations, &["list"]).assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn health_check_finds_changed_migrations() {
    let db = set_up();
    let migrations = Dir::new().add("10_a", "CREATE TABLE a (i int);\n").add("20_b", "CREATE TABLE b (i int);\n");
    run_with(&db, &migrations, &["create", "acme"]).assert_code(0);
    let changed = Dir::new().add("15_late", "CREATE TABLE late (i int);\n").add("20_b", "CREATE TABLE b (i bigint);\n");
    let check = ["health-check", "--match", "^nobody$", "--allow-empty"];
    run_with(&db, &migrations, &check).assert_code(0);
    assert_snapshot!(run_with(&db, &changed, &check), @r"
        TENANT      CODE               LEVEL       FINDING                                                                                     FIX
        (database)  migration-changed  structural  tenant migration 20_b was edited since it was applied (recorded on DATE)    tenantry repair --accept 20 --reason TEXT --tenant-migrations MIGRATIONS (restore it, and make the change in a new migration)
        (database)  migration-changed  structural  tenant migration 10_a was applied (recorded on DATE), but no longer exists  tenantry repair --accept 10 --reason TEXT --tenant-migrations MIGRATIONS (restore it, or use the release that contains it)
        (database)  migration-changed  structural  tenant migration 15_late is out of order: it precedes 20, which is applied                  tenantry repair --accept 15 --reason TEXT --tenant-migrations MIGRATIONS (rename it to a version after the newest applied one)
        --- stderr
        0 tenants checked, 0 healthy, 3 findings
        --- exit 1
    ");
    for version in ["10", "15", "20"] {
        run_with(&db, &changed, &["repair", "--accept", version, "--reason", "a test"]).assert_code(0);
    }
    run_with(&db, &changed, &check).assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn migration_may_be_applied_in_an_unreadable_ledger() {
    let (db, migrations) = applied();
    let migrations = migrations.add("3_c", "CREATE TABLE c (i int);");
    run_with(&db, &migrations, &["create", "globex"]).assert_code(0);
    migrations.write("3_c/up.sql", "CREATE TABLE c (i bigint);");
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE globex.__diesel_schema_migrations IN ACCESS EXCLUSIVE MODE").unwrap();
    assert_snapshot!(run_with(&db, &migrations, &["migrate-one", "acme"]), @r"
        --- stderr
        error: tenant migration 3_c was edited since it was recorded on DATE; it may be applied in tenant globex, whose ledger cannot be read:
                   @@ -1 +1 @@
                   -CREATE TABLE c (i int);
                   +CREATE TABLE c (i bigint);
        hint: restore it, and make the change in a new migration; or accept it with 'tenantry repair --accept 3 --reason TEXT --tenant-migrations MIGRATIONS'
        --- exit 3
    ");
    drop(holder);
    run_with(&db, &migrations, &["migrate-one", "acme"]).assert_code(3);
    assert_eq!(db.string("SELECT script FROM schema_migration WHERE version = '3'"), "CREATE TABLE c (i int);");
}

#[test]
fn migration_being_applied_is_not_recorded_with_other_contents() {
    let (db, migrations) = applied();
    let migrations =
        migrations.add("3_c", "CREATE INDEX CONCURRENTLY c_idx ON a (i);").metadata("run_in_transaction = false");
    // The index build waits for snapshots that precede it.
    let mut reader = db.connect();
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM acme.a").unwrap();
    let path = migrations.path().to_str().unwrap();
    let build = db.tenantry(["migrate-one", "acme", "--tenant-migrations", path]).spawn();
    db.wait_for_concurrent_build();
    let edited = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);\n")
        .add("2_b", "CREATE TABLE b (i int);\n")
        .add("3_c", "CREATE INDEX CONCURRENTLY c_idx ON b (i);")
        .metadata("run_in_transaction = false");
    assert_snapshot!(run_with(&db, &edited, &["create", "globex"]), @"
    --- stderr
    error: cannot acquire the lock of the recorded migrations: held by process PID (user postgres, application tenantry/2 acme) since DATE
    hint: use the same release for all runs, or try again when that run has ended; if its host is down, release the lock with SELECT pg_terminate_backend(PID)
    --- exit 5
    ");
    drop(reader);
    build.wait().assert_code(0);
    run_with(&db, &edited, &["create", "globex"]).assert_code(3);
}

#[test]
fn changed_white_space_and_comments_are_not_an_edit() {
    let (db, migrations) = applied();
    migrations.write("1_a/up.sql", "-- The first table.\nCREATE  TABLE a (\n    i int -- a number\n);   \n\n");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    migrations.write("1_a/up.sql", "CREATE TABLE a (i int DEFAULT '  ');\n");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(3);
}

#[test]
fn acceptance_is_recorded_with_user_and_reason() {
    let (db, migrations) = applied();
    migrations.write("1_a/up.sql", "CREATE TABLE IF NOT EXISTS a (i int);\n");
    assert_snapshot!(run_with(&db, &migrations, &["repair", "--accept", "1", "--reason", "  "]), @r"
        --- stderr
        error: --reason is empty
        --- exit 2
    ");
    assert_snapshot!(run_with(&db, &migrations, &["repair", "--accept", "2", "--reason", "why not"]), @r"
        --- stderr
        error: no changed, deleted or out-of-order migration in 2
        --- exit 3
    ");
    let reason = "it failed where the table was there";
    assert_snapshot!(run_with(&db, &migrations, &["repair", "--accept", "1", "--reason", reason]), @r"
        --- stderr
        accepted: tenant migration 1_a was edited since it was applied (recorded on DATE):
                @@ -1 +1 @@
                -CREATE TABLE a (i int);
                +CREATE TABLE IF NOT EXISTS a (i int);
        --- exit 0
    ");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    assert_eq!(
        db.strings(
            "SELECT concat_ws('|', kind, version, change, reason, role = session_user, old_script) FROM schema_acceptance"
        ),
        [format!("tenant|1|edited|{reason}|t|CREATE TABLE a (i int);\n")]
    );
    // Restoring the old text is another edit.
    migrations.write("1_a/up.sql", "CREATE TABLE a (i int);\n");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(3);
}

#[test]
fn repair_is_reported_as_json() {
    let (db, migrations) = applied();
    migrations.write("1_a/up.sql", "SELECT 1;");
    assert_snapshot!(run_with(
        &db,
        &migrations,
        &["repair", "--accept", "1", "--reason", "a test", "--format", "json"]
    ));
}

#[test]
fn removed_migration_is_refused_until_accepted() {
    let (db, _) = applied();
    let without = Dir::new().add("2_b", "CREATE TABLE b (i int);\n");
    assert_snapshot!(run_with(&db, &without, &["migrate-all"]), @r"
        --- stderr
        error: tenant migration 1_a was applied (recorded on DATE), but no longer exists
        hint: restore it, or use the release that contains it; or accept it with 'tenantry repair --accept 1 --reason TEXT --tenant-migrations MIGRATIONS'
        --- exit 3
    ");
    run_with(&db, &without, &["repair", "--accept", "1", "--reason", "squashed"]).assert_code(0);
    run_with(&db, &without, &["migrate-all"]).assert_code(0);
    run_with(&db, &without, &["create", "globex"]).assert_code(0);
}

#[test]
fn older_release_continues_with_its_migrations() {
    let (db, _) = applied();
    let older = Dir::new().add("1_a", "CREATE TABLE a (i int);\n");
    run_with(&db, &older, &["create", "globex"]).assert_code(0);
    assert_eq!(db.strings("SELECT version FROM globex.__diesel_schema_migrations"), ["1"]);
}

#[test]
fn out_of_order_migration_is_refused_until_accepted() {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int);").add("3_c", "CREATE TABLE c (i int);");
    run_with(&db, &migrations, &["create", "acme"]).assert_code(0);
    let migrations = migrations.add("2_b", "CREATE TABLE b (i int);");
    assert_snapshot!(run_with(&db, &migrations, &["create", "globex"]), @r"
        --- stderr
        error: tenant migration 2_b is out of order: it precedes 3, which is applied
        hint: rename it to a version after the newest applied one; or accept it with 'tenantry repair --accept 2 --reason TEXT --tenant-migrations MIGRATIONS'
        --- exit 3
    ");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(3);
    run_with(&db, &migrations, &["repair", "--accept", "2", "--reason", "independent"]).assert_code(0);
    run_with(&db, &migrations, &["create", "globex"]).assert_code(0);
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"), ["1", "2", "3"]);
}

#[test]
fn unapplied_migration_may_be_edited() {
    let (db, migrations) = applied();
    let migrations = migrations.add("3_c", "CREATE TABLE c (i int); SELECT 1/0;");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(1);
    assert_eq!(db.count("SELECT count(*) FROM schema_migration WHERE version = '3'"), 1);
    migrations.write("3_c/up.sql", "CREATE TABLE c (i int);");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    // The migration was removed from all tenants again.
    db.execute("DROP TABLE acme.c; DELETE FROM acme.__diesel_schema_migrations WHERE version = '3'");
    migrations.write("3_c/up.sql", "CREATE TABLE c (i bigint);");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    assert_eq!(
        db.string("SELECT script FROM schema_migration WHERE kind = 'tenant' AND version = '3'"),
        "CREATE TABLE c (i bigint);"
    );
}

#[test]
fn existing_fleet_is_recorded_by_the_first_run() {
    let (db, migrations) = applied();
    db.execute("DELETE FROM schema_migration WHERE kind = 'tenant'");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(0);
    assert_eq!(db.strings("SELECT version FROM schema_migration WHERE kind = 'tenant' ORDER BY 1"), ["1", "2"]);
    migrations.write("2_b/up.sql", "CREATE TABLE b (i bigint);");
    run_with(&db, &migrations, &["migrate-all"]).assert_code(3);
}

#[test]
fn edited_public_migration_is_refused_until_accepted() {
    let db = Database::new();
    let public = Dir::new().add("20990101000000_plans", "CREATE TABLE plans (i int);").down("DROP TABLE plans;");
    let path = public.path().to_str().unwrap().to_owned();
    let run = |args: &[&str]| db.tenantry(args).args(["--public-migrations", &path]).hide(&path, "MIGRATIONS").run();
    run(&["migrate-public"]).assert_code(0);
    public.write("20990101000000_plans/up.sql", "CREATE TABLE plans (i bigint);");
    assert_snapshot!(run(&["migrate-public"]), @r"
        --- stderr
        error: public migration 20990101000000_plans was edited since it was applied (recorded on DATE):
                   @@ -1 +1 @@
                   -CREATE TABLE plans (i int);
                   +CREATE TABLE plans (i bigint);
        hint: restore it, and make the change in a new migration; or accept it with 'tenantry repair --accept 20990101000000 --reason TEXT --public-migrations MIGRATIONS'
        --- exit 3
    ");
    run(&["create", "acme"]).assert_code(3);
    run(&["repair", "--accept", "20990101000000", "--reason", "a test"]).assert_code(0);
    run(&["create", "acme"]).assert_code(0);
}

#[test]
fn run_with_a_conflicting_record_is_refused() {
    let (db, migrations) = applied();
    let migrations = migrations.add("3_c", "CREATE TABLE c (i int);");
    // As if another release had recorded it after this run read the record and before it sent its message.
    db.execute(
        "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.checksum := 'other'; RETURN NEW; END $$; \
         CREATE TRIGGER other BEFORE INSERT ON schema_migration FOR EACH ROW WHEN (NEW.version = '3') \
         EXECUTE FUNCTION other()",
    );
    assert_snapshot!(run_with(&db, &migrations, &["migrate-all"]), @r"
        --- stderr
        error: tenant acme: another run applies a different migration with the same version
        hint: use the same release for all runs
        0 migrated, 1 failed (run 2)
        hint: to retry: tenantry migrate-all --match '^acme$' --tenant-migrations MIGRATIONS
        --- exit 1
    ");
    assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"), ["1", "2"]);
}

/// Three migrations, applied in one tenant.
fn three() -> (Database, Dir) {
    let db = set_up();
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);\n")
        .add("2_b", "CREATE TABLE b (i int);\n")
        .add("3_c", "ALTER TABLE a ADD COLUMN c int;\n");
    run_with(&db, &migrations, &["create", "acme"]).assert_code(0);
    (db, migrations)
}

/// The three migrations as one.
fn squashed() -> Dir {
    Dir::new().add("3_all", "CREATE TABLE a (i int, c int);\nCREATE TABLE b (i int);\n").down("DROP TABLE a, b;\n")
}

#[test]
#[ignore = "long: make test-long"]
fn squashed_migrations_are_accepted_as_a_range() {
    let (db, _) = three();
    let squashed = squashed();
    assert_snapshot!(run_with(&db, &squashed, &["migrate-all"]));
    let reason = "squashed, applied everywhere";
    assert_snapshot!(run_with(&db, &squashed, &["repair", "--accept", "1..3", "--reason", reason]));
    assert_eq!(
        db.strings("SELECT concat_ws('|', version, change, reason) FROM schema_acceptance ORDER BY id"),
        [format!("1|removed|{reason}"), format!("2|removed|{reason}"), format!("3|edited|{reason}")]
    );
    assert_eq!(db.count("SELECT count(DISTINCT accepted_at) FROM schema_acceptance"), 1, "one transaction");
    // Tenants created before and after are equal.
    assert_snapshot!(run_with(&db, &squashed, &["migrate-all"]), @r"
        --- stderr
        0 migrated, 1 unchanged
        --- exit 0
    ");
    run_with(&db, &squashed, &["create", "globex", "initech"]).assert_code(0);
    assert_eq!(db.strings("SELECT version FROM globex.__diesel_schema_migrations"), ["3"]);
    assert_eq!(db.strings("SELECT version FROM acme.__diesel_schema_migrations ORDER BY 1"), ["1", "2", "3"]);
    for args in [
        &["health-check"][..],
        &["health-check", "--remember"],
        &["health-check", "--reference", "globex"],
        &["health-check", "--reference", "acme"],
        &["diff", "acme"],
        &["diff", "acme", "globex"],
        &["repair-plan", "acme"],
        &["migrate-all", "--verify"],
        &["migrate-all", "--verify", "--canary", "acme"],
        &["migrate-one", "acme", "--verify"],
    ] {
        let output = run_with(&db, &squashed, args);
        output.assert_code(0);
        assert!(!output.stderr.contains("not checked"), "{args:?}: {}", output.stderr);
    }
    // A reference saved from an earlier tenant matches both.
    let file = squashed.path().join(".reference");
    run_with(&db, &squashed, &["reference", "--of", "acme", "--output", file.to_str().unwrap()]).assert_code(0);
    run_with(&db, &squashed, &["health-check", "--reference", file.to_str().unwrap()]).assert_code(0);
    // The comparison does find differences.
    db.execute("ALTER TABLE acme.b ADD COLUMN drifted int");
    let health = run_with(&db, &squashed, &["health-check", "--format", "json"]);
    assert_eq!(health.assert_code(1).json()["findings"][0]["difference"]["name"], "b.drifted");
    // Other versions that the set does not contain are still unknown.
    db.execute("INSERT INTO globex.__diesel_schema_migrations VALUES ('0')");
    assert!(run_with(&db, &squashed, &["health-check"]).stdout.contains("unknown-migrations"));
    db.execute(
        "ALTER TABLE acme.b DROP COLUMN drifted; DELETE FROM globex.__diesel_schema_migrations WHERE version = '0'",
    );
    // The next migration is applied to both.
    let squashed = squashed.add("4_d", "CREATE TABLE d (i int);\n").down("DROP TABLE d;\n");
    run_with(&db, &squashed, &["migrate-all", "--verify", "--canary", "1"]).assert_code(0);
    run_with(&db, &squashed, &["health-check"]).assert_code(0);
    run_with(&db, &squashed, &["revert-all", "--to", "3", "--yes"]).assert_code(0);
}

#[test]
fn changes_are_accepted_atomically() {
    let (db, _) = three();
    let squashed = squashed();
    let repair = |ranges: &[&str]| {
        let accept = ranges.iter().flat_map(|range| ["--accept", range]);
        let args: Vec<&str> = ["repair"].into_iter().chain(accept).chain(["--reason", "a test"]).collect();
        run_with(&db, &squashed, &args)
    };
    assert_snapshot!(repair(&["1..3", "7"]), @r"
        --- stderr
        error: no changed, deleted or out-of-order migration in 7
        --- exit 3
    ");
    for (ranges, code) in
        [(&["4..9"][..], 3), (&["3..1"], 2), (&["1.."], 2), (&["..3"], 2), (&["1...3"], 2), (&["a..b"], 2), (&[], 2)]
    {
        repair(ranges).assert_code(code);
    }
    assert_eq!(db.count("SELECT count(*) FROM schema_acceptance"), 0);
    assert_snapshot!(repair(&["3..1"]), @r"
        --- stderr
        error: invalid value '3..1' for '--accept <VERSION|FIRST..LAST>': the range ends before it starts; use 1..3

        For more information, try '--help'.
        --- exit 2
    ");
    // Within a range, versions without a change are ignored; a version named twice is accepted once.
    repair(&["0..2", "3", "2..9"]).assert_code(0);
    assert_eq!(db.strings("SELECT version FROM schema_acceptance ORDER BY id"), ["1", "2", "3"]);
    run_with(&db, &squashed, &["health-check"]).assert_code(0);
    repair(&["1..3"]).assert_code(3);
}

#[test]
fn range_accepts_only_tenant_migrations() {
    let (db, _) = three();
    let public = Dir::new().add("20990101000000_plans", "CREATE TABLE plans (i int);").down("DROP TABLE plans;");
    let path = public.path().to_str().unwrap().to_owned();
    let squashed = squashed();
    let run = |args: &[&str]| run_with(&db, &squashed, &[args, &["--public-migrations", &path]].concat());
    db.tenantry(["migrate-public", "--public-migrations", &path]).run().assert_code(0);
    public.write("20990101000000_plans/up.sql", "CREATE TABLE plans (i bigint);");
    run(&["repair", "--accept", "1..20990101000000", "--reason", "a test"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM schema_acceptance WHERE kind = 'public'"), 0);
    run(&["repair", "--accept", "20990101000000", "--reason", "a test"]).assert_code(0);
    assert_eq!(db.count("SELECT count(*) FROM schema_acceptance WHERE kind = 'public'"), 1);
}

#[test]
#[ignore = "long: make test-long"]
fn changed_line_endings_are_not_an_edit() {
    let up = "-- A comment.\nCREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\n    SELECT 'a\nb'\n$$;\n";
    let db = set_up();
    let (lf, crlf) = (Dir::new().add("1_f", up), Dir::new().add("1_f", &up.replace('\n', "\r\n")));
    run_with(&db, &lf, &["create", "by_lf"]).assert_code(0);
    run_with(&db, &crlf, &["create", "by_crlf"]).assert_code(0);
    for migrations in [&lf, &crlf] {
        run_with(&db, migrations, &["migrate-all", "--verify"]).assert_code(0);
        run_with(&db, migrations, &["health-check"]).assert_code(0);
    }
    let bodies = "SELECT DISTINCT prosrc FROM pg_proc WHERE proname = 'f'";
    assert_eq!(db.strings(bodies), ["\n    SELECT 'a\nb'\n"]);
    // What an earlier release recorded from a checkout with CRLF.
    db.execute(
        "UPDATE schema_migration SET script = replace(script, E'\\n', E'\\r\\n'), checksum = 'x' WHERE version = '1'",
    );
    assert_snapshot!(run_with(&db, &lf, &["migrate-all"]), @r"
        --- stderr
        error: tenant migration 1_f was edited since it was applied (recorded on DATE):
                   differs only in line endings (CRLF or CR instead of LF)
        hint: restore it, and make the change in a new migration; or accept it with 'tenantry repair --accept 1 --reason TEXT --tenant-migrations MIGRATIONS'
        --- exit 3
    ");
}
