//! `health-check`

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, create_older, fleet, url_of_a_stranger};

fn check(db: &Database) -> Output {
    db.tenantry(["health-check"]).run()
}

/// The codes of the findings with their tenants.
fn kinds(output: &Output) -> Vec<String> {
    let findings = output.json()["findings"].as_array().expect("a list").clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("database").to_owned();
    findings.iter().map(|finding| format!("{} {}", text(&finding["tenant"]), text(&finding["code"]))).collect()
}

fn kinds_of(db: &Database) -> Vec<String> {
    kinds(&db.tenantry(["health-check", "--format", "json"]).run())
}

#[test]
fn healthy_fleet_has_no_findings() {
    let db = fleet(&["acme", "globex"]);
    assert_snapshot!(check(&db), @r"
        --- stderr
        2 tenants checked, all healthy
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["health-check", "--format", "json"]).run());
    assert_eq!(db.tenantry(["health-check", "--quiet"]).run().assert_code(0).stderr, "");
    // Other objects of the application are ignored.
    db.execute("CREATE SCHEMA reports; CREATE TABLE reports.users(i int); CREATE TABLE public.plans(i int)");
    check(&db).assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn quiet_prints_only_findings_that_fail_the_check() {
    let db = fleet(&["acme", "globex"]);
    db.execute("COMMENT ON TABLE acme.users IS 'people'");
    for args in [&["health-check", "--quiet"][..], &["health-check", "--quiet", "--group"]] {
        let output = db.tenantry(args).run();
        assert_eq!((output.assert_code(0).stdout.as_str(), output.stderr.as_str()), ("", ""));
    }
    db.execute("DROP TABLE acme.comments CASCADE");
    for args in [&["health-check", "--quiet"][..], &["health-check", "--quiet", "--group"]] {
        let output = db.tenantry(args).run();
        let output = output.assert_code(1);
        assert!(output.stdout.contains("table comments is missing"), "{}", output.stdout);
        assert!(!output.stdout.contains("comment differs"), "{}", output.stdout);
    }
}

#[test]
fn an_empty_fleet_is_healthy() {
    assert_snapshot!(check(&fleet(&[])), @r"
        --- stderr
        0 tenants checked, all healthy
        --- exit 0
    ");
}

#[test]
fn missing_tracker_is_an_error() {
    assert_snapshot!(check(&Database::new()), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'tenantry migrate-public'
        --- exit 3
    "#);
    assert_snapshot!(Database::new().tenantry(["health-check", "--format", "json"]).run(), @r#"
    {
      "error": {
        "code": "tracker-missing",
        "message": "database \"DATABASE\" has no tracker (public.schema_tracker)",
        "hint": "run 'tenantry migrate-public'",
        "sqlstate": null,
        "retryable": false,
        "migration": null,
        "server": null,
        "tenant": null,
        "details": []
      }
    }
    --- stderr
    error: database "DATABASE" has no tracker (public.schema_tracker)
    hint: run 'tenantry migrate-public'
    --- exit 3
    "#);
}

#[test]
fn tracker_behind_is_found() {
    let db = fleet(&["acme"]);
    let dir = Dir::new().add("20990101000000_plans", "CREATE TABLE plans(i int);").down("DROP TABLE plans;");
    let output = db
        .tenantry(["health-check", "--public-migrations"])
        .arg(dir.path())
        .hide(dir.path().to_string_lossy(), "DIR")
        .run();
    assert!(
        output.stdout.contains("migrate-public --public-migrations"),
        "the command that fixes it: {}",
        output.stdout
    );
    assert_snapshot!(output, @r"
        TENANT      CODE            LEVEL       FINDING                        FIX
        (database)  tracker-behind  structural  1 public migration is pending  tenantry migrate-public --public-migrations DIR
        --- stderr
        1 tenant checked, 1 healthy, 1 finding
        --- exit 1
    ");
    db.tenantry(["migrate-public", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
    db.tenantry(["health-check", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
}

#[test]
fn reference_failed_is_found() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant().add("20990101000000_broken", "CREATE TABLE broken(\n    i no_such_type\n);");
    let output =
        db.tenantry(["health-check", "--tenant-migrations"]).arg(dir.path()).hide(dir.path().to_string_lossy(), "DIR");
    assert_snapshot!(output.run(), @r#"
        TENANT      CODE                LEVEL       FINDING                                                                                        FIX
        (database)  reference-failed    structural  migration 20990101000000_broken failed in an empty schema: type "no_such_type" does not exist  correct 20990101000000_broken/up.sql
        acme        missing-migrations  structural  1 migration is not applied: 20990101000000                                                     tenantry migrate-one acme --tenant-migrations DIR
        --- stderr
        warning: not checked: 1 tenant: acme: no reference: migration 20990101000000_broken failed in an empty schema: type "no_such_type" does not exist
        0 tenants checked, 1 unchecked, 0 healthy, 2 findings
        --- exit 1
    "#);
}

#[test]
#[ignore = "long: make test-long"]
fn table_in_public_is_found() {
    let db = fleet(&["acme"]);
    db.execute("CREATE TABLE public.users(i int); CREATE TABLE public.comments(i int)");
    check(&db).assert_code(0);
    // Tables and a ledger that Diesel's own command line created in public, with the same names.
    db.execute(
        "CREATE TABLE public.__diesel_schema_migrations (LIKE public.schema_ledger INCLUDING ALL); \
         INSERT INTO public.__diesel_schema_migrations (version) VALUES ('20260105090000'), ('20260112090000')",
    );
    assert_eq!(check(&db).assert_code(0).stdout, "", "nothing proves that they are tenants' tables");
    apply_to_public(&db, &["20260105090000", "20260112090000"]);
    assert_snapshot!(check(&db), @r"
        TENANT      CODE               LEVEL       FINDING                                                                                                                         FIX
        (database)  migration-changed  structural  public migration 20260105090000_create_users was applied (recorded on DATE), but no longer exists               tenantry repair --accept 20260105090000 --reason TEXT (restore it, or use the release that contains it)
        (database)  migration-changed  structural  public migration 20260112090000_create_projects_and_tasks was applied (recorded on DATE), but no longer exists  tenantry repair --accept 20260112090000 --reason TEXT (restore it, or use the release that contains it)
        (database)  table-in-public    warning     a tenant migration has created the table users in public                                                                        check whether the application uses the table
        (database)  ledger-in-public   warning     2 tenant migrations were applied to public: 20260105090000, 20260112090000                                                      check which objects in public the application uses, and the setting --public-migrations
        --- stderr
        1 tenant checked, 1 healthy, 4 findings
        --- exit 1
    ");
    let run = |args: &[&str]| db.tenantry(["health-check", "--ignore", "migration-changed"]).args(args).run();
    run(&[]).assert_code(0);
    run(&["--fail-on", "warning"]).assert_code(1);
    run(&["--fail-on", "table-in-public"]).assert_code(1);
    assert_eq!(run(&["--fail-on", "warning", "--ignore", "*-in-public"]).assert_code(0).stdout, "");
}

/// Records tenant migrations as if `migrate-public` had applied them.
fn apply_to_public(db: &Database, versions: &[&str]) {
    for version in versions {
        db.execute(&format!(
            "INSERT INTO public.schema_ledger (version) VALUES ('{version}') ON CONFLICT DO NOTHING; \
             INSERT INTO public.schema_migration (kind, version, folder, checksum, script) \
             SELECT 'public', version, folder, checksum, script FROM public.schema_migration \
             WHERE kind = 'tenant' AND version = '{version}'"
        ));
    }
}

#[test]
fn table_of_a_public_migration_is_not_reported() {
    let db = fleet(&["acme"]);
    let dir = Dir::new()
        .add("20990101000000_users", "CREATE TABLE users(id int); CREATE TABLE public.\"tasks\"(id int);")
        .down("DROP TABLE users, tasks;");
    let with_dir = |command: &str| db.tenantry([command, "--public-migrations"]).arg(dir.path()).run();
    with_dir("migrate-public").assert_code(0);
    assert_snapshot!(with_dir("health-check"), @r"
        --- stderr
        1 tenant checked, all healthy
        --- exit 0
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn ledger_in_public_is_found() {
    let db = fleet(&["acme"]);
    apply_to_public(&db, &["20260105090000", "20260112090000"]);
    assert_snapshot!(check(&db), @r"
        TENANT      CODE               LEVEL       FINDING                                                                                                                         FIX
        (database)  migration-changed  structural  public migration 20260105090000_create_users was applied (recorded on DATE), but no longer exists               tenantry repair --accept 20260105090000 --reason TEXT (restore it, or use the release that contains it)
        (database)  migration-changed  structural  public migration 20260112090000_create_projects_and_tasks was applied (recorded on DATE), but no longer exists  tenantry repair --accept 20260112090000 --reason TEXT (restore it, or use the release that contains it)
        (database)  ledger-in-public   warning     2 tenant migrations were applied to public: 20260105090000, 20260112090000                                                      check which objects in public the application uses, and the setting --public-migrations
        --- stderr
        1 tenant checked, 1 healthy, 3 findings
        --- exit 1
    ");
    // A project without tenants that has applied them to public with diesel_cli is correct.
    db.execute("DELETE FROM public.schema_migration WHERE kind = 'public' AND version = '20260112090000'");
    let output = db.tenantry(["health-check", "--ignore", "migration-changed", "--format", "json"]).run();
    assert_eq!(output.json()["findings"][0]["items"], serde_json::json!(["20260105090000"]), "{}", output.stdout);
    db.execute("DELETE FROM public.schema_migration WHERE kind = 'public' AND version = '20260105090000'");
    db.tenantry(["health-check"]).run().assert_code(0);
    // An unreadable ledger is not reported as healthy.
    db.execute(
        "CREATE TABLE public.elsewhere (version text); \
         CREATE VIEW public.__diesel_schema_migrations AS TABLE public.elsewhere",
    );
    let output = db.tenantry(["health-check", "--format", "json"]).run();
    let unchecked = output.json()["unchecked"].to_string();
    assert!(unchecked.contains("public.__diesel_schema_migrations records tenant migrations"), "{unchecked}");
}

#[test]
#[ignore = "long: make test-long"]
fn every_kind_of_finding_can_be_ignored() {
    let (db, dir) = broken();
    let run = |args: &[&str]| {
        db.tenantry(["health-check", "--allow-unchecked", "--format", "json"])
            .env("TENANTRY_PUBLIC_MIGRATIONS", dir.path())
            .args(args)
            .run()
    };
    let found = kinds(&run(&[]));
    for finding in &found {
        let (tenant, code) = finding.split_once(' ').expect("a tenant and a code");
        let pattern = if tenant == "database" { code.to_owned() } else { format!("{tenant}/{code}") };
        let left = kinds(&run(&["--ignore", &pattern]));
        let expected: Vec<String> = found.iter().filter(|other| *other != finding).cloned().collect();
        assert_eq!(left, expected, "{pattern}");
    }
    let all: Vec<String> =
        found.iter().filter_map(|it| it.split(' ').nth(1)).map(|code| format!("--ignore={code}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(kinds(run(&all).assert_code(0)), [""; 0]);
    run(&["--fail-on", "tables/table.missing:comments"]).assert_code(1);
    run(&["--fail-on", "missing/missing-migrations"]).assert_code(1);
    run(&["--fail-on", "gone/missing-migrations,index.missing"]).assert_code(0);
}

#[test]
fn orphaned_schema_is_found() {
    let db = fleet(&["acme", "by_ledger", "by_tables", "twin"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name <> 'acme'; \
         DROP TABLE by_tables.__diesel_schema_migrations; DROP TABLE by_ledger.users, by_ledger.comments CASCADE; \
         CREATE SCHEMA other_diesel; CREATE TABLE other_diesel.__diesel_schema_migrations (LIKE acme.__diesel_schema_migrations); \
         INSERT INTO other_diesel.__diesel_schema_migrations VALUES ('20200101000000', now()); \
         CREATE SCHEMA some_tables; CREATE TABLE some_tables.users(i int)",
    );
    assert_snapshot!(check(&db), @r"
        TENANT      CODE             LEVEL       FINDING                                                                  FIX
        (database)  orphaned-schema  structural  schema by_ledger is not tracked; its ledger records 5 tenant migrations  tenantry adopt by_ledger (or drop --untracked)
        (database)  orphaned-schema  structural  schema by_tables is not tracked; it has all tables of a tenant           tenantry adopt by_tables --baseline VERSION (or drop --untracked)
        (database)  orphaned-schema  structural  schema twin is not tracked; its ledger records 5 tenant migrations       tenantry adopt twin (or drop --untracked)
        --- stderr
        1 tenant checked, 1 healthy, 3 findings
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["health-check", "--match", "^by_l"]).run(), @r"
        TENANT      CODE             LEVEL       FINDING                                                                  FIX
        (database)  orphaned-schema  structural  schema by_ledger is not tracked; its ledger records 5 tenant migrations  tenantry adopt by_ledger (or drop --untracked)
        --- stderr
        0 tenants checked, 0 healthy, 1 finding
        --- exit 1
    ");
    db.execute("DROP SCHEMA by_ledger CASCADE; DROP SCHEMA by_tables CASCADE");
    // The fix of the finding works.
    db.tenantry(["adopt", "twin"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn bad_name_is_found() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('user'), ('public')");
    assert_snapshot!(check(&db), @r#"
    TENANT  CODE            LEVEL       FINDING                      FIX
    public  bad-name        structural  "public" is a system schema  if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'public'
    user    schema-missing  structural  the schema does not exist    tenantry create --any-name user
    --- stderr
    warning: not checked: 1 tenant: public: the name is not a tenant name
    warning: not checked: 1 tenant: user: the schema does not exist
    1 tenant checked, 2 unchecked, 1 healthy, 2 findings
    --- exit 1
    "#);
    let json = db.tenantry(["health-check", "--format", "json"]).run();
    assert_snapshot!(json);
    let fix = json.json()["findings"][0]["fix"].to_string();
    assert!(!fix.contains("ALTER SCHEMA"), "public must not be renamed: {fix}");
}

#[test]
fn schema_missing_is_found() {
    let db = fleet(&["dropped", "halfway"]);
    db.execute(
        "DROP SCHEMA dropped CASCADE; DROP SCHEMA halfway CASCADE; \
         UPDATE schema_tracker SET state = 'creating' WHERE name = 'halfway'; \
         INSERT INTO schema_tracker (name) VALUES ('registered')",
    );
    assert_snapshot!(check(&db), @r"
        TENANT      CODE            LEVEL       FINDING                    FIX
        dropped     schema-missing  structural  the schema does not exist  tenantry drop dropped (or restore the schema from a backup)
        halfway     schema-missing  structural  the schema does not exist  tenantry create halfway
        registered  schema-missing  structural  the schema does not exist  tenantry create registered
        --- stderr
        warning: not checked: 3 tenants: dropped, halfway, registered: the schema does not exist
        0 tenants checked, 3 unchecked, 0 healthy, 3 findings
        --- exit 1
    ");
    assert_eq!(crate::drop::schemas(&db), "public", "none is made");
    // The fixes of the findings work.
    db.tenantry(["create", "registered"]).run().assert_code(0);
    db.tenantry(["create", "halfway"]).run().assert_code(0);
    db.tenantry(["drop", "dropped", "--yes"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn unreadable_tenant_is_unchecked() {
    let db = fleet(&["acme", "open"]);
    let url = url_of_a_stranger(&db);
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; GRANT USAGE ON SCHEMA open TO {role}; \
         GRANT SELECT ON open.__diesel_schema_migrations TO {role}",
        db.name()
    ));
    assert_snapshot!(db.tenantry(["health-check"]).env("DATABASE_URL", &url).run(), @r#"
        TENANT  CODE           LEVEL       FINDING                                                                           FIX
        acme    unreadable     structural  cannot read the migration ledger: permission denied for role "stranger_DATABASE"  run as the owner: GRANT USAGE ON SCHEMA "acme" TO "stranger_DATABASE"; GRANT SELECT ON "acme".__diesel_schema_migrations TO "stranger_DATABASE"
        open    schema.grants  privilege   schema open: grants differ                                                        tenantry repair-plan open
        open    table.grants   privilege   table __diesel_schema_migrations: grants differ                                   tenantry repair-plan open
        --- stderr
        warning: not checked: 1 tenant: acme: the migration ledger cannot be read
        1 tenant checked, 1 unchecked, 0 healthy, 3 findings
        --- exit 1
    "#);
    assert_snapshot!(db.tenantry(["list"]).env("DATABASE_URL", &url).run(), @r"
        TENANT  STATE   VERSION         PENDING  CREATED
        acme    active  unreadable      -        DATE
        open    active  20260209090000  0        DATE
        --- stderr
        2 tenants
        hint: 'tenantry health-check' shows the problems
        --- exit 0
    ");
}

#[test]
fn role_that_cannot_build_the_reference_leaves_tenants_unchecked() {
    let db = fleet(&["acme"]);
    let url = url_of_a_stranger(&db);
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "GRANT USAGE ON SCHEMA acme TO {role}; GRANT SELECT ON acme.__diesel_schema_migrations TO {role}"
    ));
    assert_snapshot!(db.tenantry(["health-check"]).env("DATABASE_URL", &url).run(), @r#"
        --- stderr
        warning: not checked: 1 tenant: acme: no reference: role stranger_DATABASE cannot create schemas in database DATABASE
        hint: GRANT CREATE ON DATABASE "DATABASE" TO "stranger_DATABASE", or compare with a saved reference (--reference FILE)
        0 tenants checked, 1 unchecked, no findings
        hint: to accept this, add --allow-unchecked
        --- exit 1
    "#);
    assert_snapshot!(db.tenantry(["health-check", "--format", "json"]).env("DATABASE_URL", &url).run());
    db.tenantry(["health-check", "--allow-unchecked"]).env("DATABASE_URL", &url).run().assert_code(0);
    // Findings that need no reference are still reported.
    db.execute("DROP SCHEMA acme CASCADE");
    db.tenantry(["health-check", "--allow-unchecked"]).env("DATABASE_URL", &url).run().assert_code(1);
}

#[test]
fn unfinished_migration_that_was_removed_is_found() {
    let db = fleet(&["acme"]);
    db.execute(
        "UPDATE schema_tracker SET unfinished_version = '20990101000000', unfinished_statements = 1, \
         unfinished_digest = '', unfinished_in_doubt = false",
    );
    let output = check(&db);
    output.assert_code(1);
    assert_snapshot!(output, @r"
        TENANT  CODE                  LEVEL       FINDING                                                                                            FIX
        acme    unfinished-migration  structural  migration 20990101000000 was interrupted after 1 statement and is not a tenant migration any more  restore the migration, then run migrate-one acme
        --- stderr
        warning: not checked: 1 tenant: acme: a non-transactional migration is unfinished
        0 tenants checked, 1 unchecked, 0 healthy, 1 finding
        --- exit 1
    ");
}

#[test]
#[ignore = "long: make test-long"]
fn ledger_missing_is_found() {
    let db = fleet(&["without"]);
    db.execute(
        "DROP TABLE without.__diesel_schema_migrations; CREATE SCHEMA empty; \
         INSERT INTO schema_tracker (name) VALUES ('empty')",
    );
    assert_snapshot!(check(&db), @r"
        TENANT   CODE            LEVEL       FINDING                             FIX
        empty    ledger-missing  structural  the schema is empty                 tenantry migrate-one empty
        without  ledger-missing  structural  the schema has no migration ledger  tenantry adopt without --baseline VERSION (VERSION is the newest migration it contains)
        --- stderr
        warning: not checked: 2 tenants: empty, without: the schema has no migration ledger
        0 tenants checked, 2 unchecked, 0 healthy, 2 findings
        --- exit 1
    ");
    // The fixes of the findings work.
    db.tenantry(["migrate-one", "empty"]).run().assert_code(0);
    db.tenantry(["adopt", "without", "--baseline", "20260209090000"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn interrupted_create_and_drop_are_found() {
    let db = fleet(&["begun", "ended"]);
    db.execute(
        "UPDATE schema_tracker SET state = 'creating' WHERE name = 'begun'; \
         UPDATE schema_tracker SET state = 'dropping' WHERE name = 'ended'",
    );
    assert_snapshot!(check(&db), @r"
        TENANT  CODE            LEVEL       FINDING                 FIX
        begun   stuck-creating  structural  create was interrupted  tenantry create begun
        ended   stuck-dropping  structural  drop was interrupted    tenantry drop ended
        --- stderr
        warning: not checked: 1 tenant: begun: its creation is not complete
        warning: not checked: 1 tenant: ended: its drop is not complete
        0 tenants checked, 2 unchecked, 0 healthy, 2 findings
        --- exit 1
    ");
    db.tenantry(["create", "begun"]).run().assert_code(0);
    db.tenantry(["drop", "ended", "--yes"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn tenant_locked_by_a_run_is_not_stuck() {
    let db = fleet(&["begun"]);
    db.execute("UPDATE schema_tracker SET state = 'creating'");
    let mut run = db.connect();
    run.batch_execute("SELECT pg_advisory_lock(hashtextextended('tenantry:begun', 0))").expect("the tenant's lock");
    assert_eq!(kinds_of(&db), [""; 0]);
    // But the tenant was not checked.
    assert_snapshot!(check(&db), @r"
        --- stderr
        warning: not checked: 1 tenant: begun: another run is working on the tenant
        0 tenants checked, 1 unchecked, no findings
        hint: to accept this, add --allow-unchecked
        --- exit 1
    ");
    db.tenantry(["health-check", "--allow-unchecked"]).run().assert_code(0);
    std::mem::drop(run);
    // The lock is released with the session, whose server process may end a moment later.
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        1,
    );
    check(&db).assert_code(1);
}

#[test]
#[ignore = "long: make test-long"]
fn missing_migrations_are_found() {
    let db = fleet(&["whole"]);
    create_older(&db, &["behind"]);
    assert_snapshot!(check(&db), @r"
        TENANT  CODE                LEVEL       FINDING                                                       FIX
        behind  missing-migrations  structural  2 migrations are not applied: 20260202090000, 20260209090000  tenantry migrate-one behind
        --- stderr
        2 tenants checked, 1 healthy, 1 finding
        --- exit 1
    ");
    db.tenantry(["migrate-one", "behind"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn out_of_order_migration_is_found() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant().add("20260110000000_between", "CREATE TABLE between_two(i int);");
    let with_dir = |command: &str| db.tenantry([command, "--tenant-migrations"]).arg(dir.path()).run();
    assert_snapshot!(with_dir("health-check"), @r"
        TENANT      CODE               LEVEL       FINDING                                                                                                FIX
        (database)  migration-changed  structural  tenant migration 20260110000000_between is out of order: it precedes 20260209090000, which is applied  tenantry repair --accept 20260110000000 --reason TEXT --tenant-migrations TEMPORARY (rename it to a version after the newest applied one)
        acme        out-of-order       structural  1 migration is not applied, but a newer one is: 20260110000000                                         tenantry migrate-one acme --tenant-migrations TEMPORARY
        --- stderr
        1 tenant checked, 0 healthy, 2 findings
        --- exit 1
    ");
    assert_snapshot!(with_dir("migrate-all"), @r"
        --- stderr
        error: tenant migration 20260110000000_between is out of order: it precedes 20260209090000, which is applied
        hint: rename it to a version after the newest applied one; or accept it with 'tenantry repair --accept 20260110000000 --reason TEXT --tenant-migrations TEMPORARY'
        --- exit 3
    ");
    db.tenantry(["repair", "--accept", "20260110000000", "--reason", "merged late", "--tenant-migrations"])
        .arg(dir.path())
        .run()
        .assert_code(0);
    with_dir("migrate-all").assert_code(0);
    with_dir("health-check").assert_code(0);
}

#[test]
fn unknown_migrations_are_found() {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('20251231000000'), ('20990101000000'); \
         INSERT INTO globex.__diesel_schema_migrations (version) VALUES ('20990101000000')",
    );
    assert_snapshot!(check(&db), @r"
        TENANT  CODE                LEVEL       FINDING                                                                  FIX
        acme    unknown-migrations  structural  the ledger records 2 unknown migrations: 20251231000000, 20990101000000  tenantry repair --accept 20251231000000 --accept 20990101000000 --reason TEXT (or use the release that contains them)
        globex  unknown-migrations  structural  the ledger records 1 unknown migration: 20990101000000                   tenantry repair --accept 20990101000000 --reason TEXT (or use the release that contains them)
        --- stderr
        warning: not checked: 2 tenants: acme, globex: the ledger records migrations that are not tenant migrations
        0 tenants checked, 2 unchecked, 0 healthy, 2 findings
        --- exit 1
    ");
}

#[test]
fn missing_tables_are_found() {
    let db = fleet(&["acme", "globex"]);
    db.execute("DROP TABLE acme.comments CASCADE; DROP TABLE globex.tasks, globex.users CASCADE");
    assert_snapshot!(check(&db));
    // A view with the table's name does not replace the table.
    db.execute("CREATE VIEW acme.comments AS SELECT 1 AS i");
    let kinds = kinds_of(&db);
    assert!(
        kinds.contains(&"acme table.missing".to_owned()) && kinds.contains(&"acme view.extra".to_owned()),
        "{kinds:?}"
    );
}

#[test]
fn tables_of_pending_migrations_are_not_missing() {
    let db = fleet(&[]);
    let dir = Dir::copy_of_tenant();
    let (first, rest) = (dir.names()[0].clone(), dir.names()[1..].to_vec());
    for name in rest {
        dir.remove(&name);
    }
    assert_eq!(dir.names(), [first]);
    db.tenantry(["create", "acme", "--tenant-migrations"]).arg(dir.path()).run().assert_code(0);
    assert_eq!(kinds_of(&db), ["acme missing-migrations"]);
}

/// A database with findings of every kind that one role can see together.
fn broken() -> (Database, Dir) {
    let db = fleet(&["dropping", "creating", "gone", "missing", "no_ledger", "orphan", "tables", "unknown"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name = 'orphan'; \
         DROP SCHEMA gone CASCADE; \
         DROP TABLE no_ledger.__diesel_schema_migrations; \
         DELETE FROM missing.__diesel_schema_migrations WHERE version IN ('20260112090000', '20260209090000'); \
         DROP TABLE tables.comments CASCADE; \
         INSERT INTO unknown.__diesel_schema_migrations (version) VALUES ('20200101000000'); \
         UPDATE schema_tracker SET state = name WHERE name IN ('dropping', 'creating'); \
         INSERT INTO schema_tracker (name) VALUES ('select'); \
         CREATE TABLE public.users(i int)",
    );
    apply_to_public(&db, &["20260105090000"]);
    let dir = Dir::new().add("20990101000000_plans", "CREATE TABLE plans(i int);").down("DROP TABLE plans;");
    (db, dir)
}

#[test]
#[ignore = "long: make test-long"]
fn all_findings_are_reported_together() {
    let (db, dir) = broken();
    let run =
        |args: &[&str]| db.tenantry(["health-check"]).env("TENANTRY_PUBLIC_MIGRATIONS", dir.path()).args(args).run();
    assert_snapshot!(run(&[]));
    assert_snapshot!(run(&["--format", "json"]));
    assert_eq!(
        kinds(&run(&["--format", "json"])),
        [
            "database tracker-behind",
            "database migration-changed",
            "database table-in-public",
            "database ledger-in-public",
            "database orphaned-schema",
            "creating stuck-creating",
            "dropping stuck-dropping",
            "gone schema-missing",
            "missing missing-migrations",
            "missing out-of-order",
            "no_ledger ledger-missing",
            "select schema-missing",
            "tables table.missing",
            "tables view.missing",
            "unknown unknown-migrations",
        ]
    );
    assert_snapshot!(run(&["--match", "^(gone|tables)$"]));
    // A pattern that matches no tenant does not hide the findings of the database.
    let unmatched = run(&["--match", "^nobody$", "--quiet"]);
    unmatched.assert_code(1);
    for (text, shown) in [
        (&unmatched.stdout, "tracker-behind"),
        (&unmatched.stdout, "migration-changed"),
        (&unmatched.stderr, "error: --match '^nobody$' matches none of"),
        (&unmatched.stderr, "hint: 'tenantry list --names' lists the tenants"),
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert_snapshot!(run(&["--match", "^whole$", "--allow-empty", "--quiet"]), @r"
        TENANT      CODE               LEVEL       FINDING                                                                                                            FIX
        (database)  tracker-behind     structural  1 public migration is pending                                                                                      tenantry migrate-public
        (database)  migration-changed  structural  public migration 20260105090000_create_users was applied (recorded on DATE), but no longer exists  tenantry repair --accept 20260105090000 --reason TEXT (restore it, or use the release that contains it)
        --- stderr
        --- exit 1
    ");
}

#[test]
fn health_check_changes_nothing() {
    let (db, dir) = broken();
    let catalog = |db: &Database| {
        db.strings(
            "SELECT md5(string_agg(line, ',' ORDER BY line)) FROM ( \
                 SELECT concat('c', oid, ' ', xmin, ' ', ctid) FROM pg_class \
                 UNION ALL SELECT concat('n', oid, ' ', xmin, ' ', ctid) FROM pg_namespace \
                 UNION ALL SELECT concat('p', oid, ' ', xmin, ' ', ctid) FROM pg_proc \
                 UNION ALL SELECT concat('t', oid, ' ', xmin, ' ', ctid) FROM pg_type \
                 UNION ALL SELECT concat('s', id, ' ', xmin, ' ', ctid) FROM schema_tracker \
                 UNION ALL SELECT concat('l', version, ' ', xmin, ' ', ctid) FROM public.schema_ledger \
             ) AS t(line)",
        )
    };
    let before = catalog(&db);
    db.tenantry(["health-check", "--public-migrations"]).arg(dir.path()).run().assert_code(1);
    assert_eq!(catalog(&db), before);
}

#[test]
#[ignore = "long: make test-long"]
fn fail_on_selects_findings_for_the_exit_code() {
    let db = fleet(&["acme"]);
    create_older(&db, &["behind"]);
    db.execute("CREATE TABLE public.users(i int)");
    apply_to_public(&db, &["20260105090000"]);
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "missing-migrations"]).run(), @r"
        TENANT      CODE                LEVEL       FINDING                                                                                                            FIX
        (database)  migration-changed   structural  public migration 20260105090000_create_users was applied (recorded on DATE), but no longer exists  tenantry repair --accept 20260105090000 --reason TEXT (restore it, or use the release that contains it)
        (database)  table-in-public     warning     a tenant migration has created the table users in public                                                           check whether the application uses the table
        (database)  ledger-in-public    warning     1 tenant migration was applied to public: 20260105090000                                                           check which objects in public the application uses, and the setting --public-migrations
        behind      missing-migrations  structural  2 migrations are not applied: 20260202090000, 20260209090000                                                       tenantry migrate-one behind
        --- stderr
        2 tenants checked, 1 healthy, 4 findings
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "schema-missing,ledger-missing"]).run(), @r"
        TENANT      CODE                LEVEL       FINDING                                                                                                            FIX
        (database)  migration-changed   structural  public migration 20260105090000_create_users was applied (recorded on DATE), but no longer exists  tenantry repair --accept 20260105090000 --reason TEXT (restore it, or use the release that contains it)
        (database)  table-in-public     warning     a tenant migration has created the table users in public                                                           check whether the application uses the table
        (database)  ledger-in-public    warning     1 tenant migration was applied to public: 20260105090000                                                           check which objects in public the application uses, and the setting --public-migrations
        behind      missing-migrations  structural  2 migrations are not applied: 20260202090000, 20260209090000                                                       tenantry migrate-one behind
        --- stderr
        2 tenants checked, 1 healthy, 4 findings
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "table-in-public", "--format", "json"]).run());
    db.tenantry(["health-check", "--fail-on", "schema-missing", "--fail-on", "missing-migrations"])
        .run()
        .assert_code(1);
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "bad-luck"]).run(), @r#"
        --- stderr
        error: invalid value 'bad-luck' for '--fail-on <CODE|LEVEL>': unknown code or level "bad-luck"; 'health-check --help' lists the codes

        For more information, try '--help'.
        --- exit 2
    "#);
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", ""]).run(), @r#"
        --- stderr
        error: invalid value '' for '--fail-on <CODE|LEVEL>': invalid pattern "": expected [TENANT/]CODE[:OBJECT], for example index.extra:tmp_* or acme/*.comment

        For more information, try '--help'.
        --- exit 2
    "#);
    let all: Vec<&str> = tenantry::health::FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    db.tenantry(["health-check", "--fail-on", &all.join(",")]).run().assert_code(1);
}

#[test]
fn invalid_match_expression_is_refused() {
    assert_snapshot!(fleet(&[]).tenantry(["health-check", "--match", "a["]).run(), @r"
        --- stderr
        error: invalid value 'a[' for '--match <REGEX>': regex parse error:
            a[
             ^
        error: unclosed character class

        For more information, try '--help'.
        --- exit 2
    ");
}

/// One vocabulary: the table, JSON, `--group`, `--fail-on`, `--ignore` and JUnit have the same codes.
#[test]
#[ignore = "long: make test-long"]
fn the_code_of_each_finding_is_the_same_everywhere() {
    let db = fleet(&["acme", "globex", "initech"]);
    db.execute("CREATE INDEX tmp ON acme.users (id); DROP SCHEMA globex CASCADE");
    create_older(&db, &["initech_2"]);
    let run = |args: &[&str]| db.tenantry(["health-check"]).args(args).run();
    let json = run(&["--format", "json"]).assert_code(1).json();
    let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
    let codes: Vec<String> = list(&json["findings"]).iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect();
    let mut expected = ["index.extra", "schema-missing", "missing-migrations"].to_vec();
    expected.retain(|code| !codes.iter().any(|found| found == code));
    assert_eq!(expected, [""; 0], "{codes:?}");
    let (table, junit) = (run(&[]).stdout, run(&["--junit", "-"]).stdout);
    for code in &codes {
        assert!(table.contains(&format!("  {code}  ")) && junit.contains(&format!("{code}: ")), "{code} in\n{table}");
        run(&["--fail-on", code]).assert_code(1);
        run(&["--fail-on", &format!("initech/{code}"), "--allow-unchecked"]).assert_code(0);
        let rest = run(&["--ignore", code, "--format", "json"]).json();
        assert!(list(&rest["findings"]).iter().all(|it| it["code"] != code.as_str()), "{rest}");
    }
    let grouped = run(&["--group"]).stdout;
    assert!(grouped.lines().any(|line| line.starts_with("acme ") && line.contains("  index.extra  ")), "{grouped}");
    assert!(list(&json["groups"]).iter().any(|group| group["codes"] == serde_json::json!(["index.extra"])), "{json}");
    db.tenantry(["diff", "acme", "--fail-on", "index.extra:tmp"]).run().assert_code(0);
    db.tenantry(["diff", "acme", "--fail-on", "index.extra:users.tmp"]).run().assert_code(1);
    db.tenantry(["diff", "acme", "--fail-on", "table.comment,tuning,warning"]).run().assert_code(0);
}

#[test]
fn an_unknown_code_is_answered_with_a_similar_one_and_the_list() {
    let db = fleet(&["acme"]);
    let options: [&[&str]; 4] = [
        &["health-check", "--fail-on", "index.extr"],
        &["health-check", "--ignore", "index.extr"],
        &["diff", "acme", "--fail-on", "index.extr"],
        &["diff", "acme", "--ignore", "index.extr:users"],
    ];
    for options in options {
        let output = db.tenantry(options).run();
        let text = "\"index.extr\"; a similar one is index.extra; 'health-check --help' lists the codes";
        assert!(output.assert_code(2).stderr.contains(text), "{}", output.stderr);
    }
    db.tenantry(["health-check", "--fail-on", "drift"]).run().assert_code(2);
    let help = db.tenantry(["health-check", "--help"]).run().stdout;
    let listed = |code: &str| help.contains(code);
    let findings = tenantry::health::FindingKind::ALL.iter().map(|kind| kind.as_str());
    let missing: Vec<&str> = findings.filter(|code| !listed(code)).collect();
    assert_eq!(missing, [""; 0]);
    for code in ["fk.without-tenant", "materialized-view", "validated"] {
        assert!(listed(code), "{code}");
    }
}
