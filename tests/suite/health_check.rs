//! `health-check`

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, create_older, fleet, url_of_a_stranger};

fn check(db: &Database) -> Output {
    db.tenantry(["health-check"]).run()
}

/// The kinds of what is found, and to whom; of drift, the code of the difference.
fn kinds(output: &Output) -> Vec<String> {
    let findings = output.json()["findings"].as_array().expect("a list").clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("database").to_owned();
    let kind = |finding: &serde_json::Value| match text(&finding["kind"]) {
        drift if drift == "drift" => text(&finding["difference"]["code"]),
        kind => kind,
    };
    findings.iter().map(|finding| format!("{} {}", text(&finding["tenant"]), kind(finding))).collect()
}

fn kinds_of(db: &Database) -> Vec<String> {
    kinds(&db.tenantry(["health-check", "--format", "json"]).run())
}

#[test]
fn healthy() {
    let db = fleet(&["acme", "globex"]);
    assert_snapshot!(check(&db));
    assert_snapshot!(db.tenantry(["health-check", "--format", "json"]).run());
    assert_eq!(db.tenantry(["health-check", "--quiet"]).run().assert_code(0).stderr, "");
    // What the application has beside the tenants is its own.
    db.execute("CREATE SCHEMA reports; CREATE TABLE reports.users(i int); CREATE TABLE public.plans(i int)");
    check(&db).assert_code(0);
}

#[test]
fn quiet_shows_only_what_fails() {
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
    assert_snapshot!(check(&fleet(&[])));
}

#[test]
fn without_a_tracker() {
    assert_snapshot!(check(&Database::new()));
    assert_snapshot!(Database::new().tenantry(["health-check", "--format", "json"]).run());
}

#[test]
fn tracker_behind() {
    let db = fleet(&["acme"]);
    let dir = Dir::new().add("20990101000000_plans", "CREATE TABLE plans(i int);").down("DROP TABLE plans;");
    let output = db
        .tenantry(["health-check", "--public-migrations"])
        .arg(dir.path())
        .hide(dir.path().to_string_lossy(), "DIR")
        .run();
    assert!(
        output.stdout.contains("migrate-public --public-migrations"),
        "the command that mends it: {}",
        output.stdout
    );
    assert_snapshot!(output);
    db.tenantry(["migrate-public", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
    db.tenantry(["health-check", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
}

#[test]
fn reference_failed() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant().add("20990101000000_broken", "CREATE TABLE broken(\n    i no_such_type\n);");
    let output =
        db.tenantry(["health-check", "--tenant-migrations"]).arg(dir.path()).hide(dir.path().to_string_lossy(), "DIR");
    assert_snapshot!(output.run());
}

#[test]
fn table_in_public() {
    let db = fleet(&["acme"]);
    db.execute("CREATE TABLE public.users(i int); CREATE TABLE public.comments(i int)");
    check(&db).assert_code(0);
    // Of Diesel's own command line: an application's migrations and tables of the same names.
    db.execute(
        "CREATE TABLE public.__diesel_schema_migrations (LIKE public.schema_ledger INCLUDING ALL); \
         INSERT INTO public.__diesel_schema_migrations (version) VALUES ('20260105090000'), ('20260112090000')",
    );
    assert_eq!(check(&db).assert_code(0).stdout, "", "nothing proves that they are tenants' tables");
    apply_to_public(&db, &["20260105090000", "20260112090000"]);
    assert_snapshot!(check(&db));
    let run = |args: &[&str]| db.tenantry(["health-check", "--ignore", "migration-changed"]).args(args).run();
    run(&[]).assert_code(0);
    run(&["--fail-on", "warning"]).assert_code(1);
    run(&["--fail-on", "table-in-public"]).assert_code(1);
    assert_eq!(run(&["--fail-on", "warning", "--ignore", "*-in-public"]).assert_code(0).stdout, "");
}

/// As if tenant migrations had been given as public ones and applied by `migrate-public`.
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
fn a_table_of_the_public_migrations_is_no_false_alarm() {
    let db = fleet(&["acme"]);
    let dir = Dir::new()
        .add("20990101000000_users", "CREATE TABLE users(id int); CREATE TABLE public.\"tasks\"(id int);")
        .down("DROP TABLE users, tasks;");
    let with_dir = |command: &str| db.tenantry([command, "--public-migrations"]).arg(dir.path()).run();
    with_dir("migrate-public").assert_code(0);
    assert_snapshot!(with_dir("health-check"));
}

#[test]
fn ledger_in_public() {
    let db = fleet(&["acme"]);
    apply_to_public(&db, &["20260105090000", "20260112090000"]);
    assert_snapshot!(check(&db));
    // A project that has applied them to public with diesel_cli, and no tenant yet, has done nothing wrong.
    db.execute("DELETE FROM public.schema_migration WHERE kind = 'public' AND version = '20260112090000'");
    let output = db.tenantry(["health-check", "--ignore", "migration-changed", "--format", "json"]).run();
    assert_eq!(output.json()["findings"][0]["items"], serde_json::json!(["20260105090000"]), "{}", output.stdout);
    db.execute("DELETE FROM public.schema_migration WHERE kind = 'public' AND version = '20260105090000'");
    db.tenantry(["health-check"]).run().assert_code(0);
    // What cannot be read is not reported as healthy.
    db.execute(
        "CREATE TABLE public.elsewhere (version text); \
         CREATE VIEW public.__diesel_schema_migrations AS TABLE public.elsewhere",
    );
    let output = db.tenantry(["health-check", "--format", "json"]).run();
    let unchecked = output.json()["unchecked"].to_string();
    assert!(unchecked.contains("public.__diesel_schema_migrations records tenant migrations"), "{unchecked}");
}

#[test]
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
fn orphaned_schema() {
    let db = fleet(&["acme", "by_ledger", "by_tables", "twin"]);
    db.execute(
        "DELETE FROM schema_tracker WHERE name <> 'acme'; \
         DROP TABLE by_tables.__diesel_schema_migrations; DROP TABLE by_ledger.users, by_ledger.comments CASCADE; \
         CREATE SCHEMA other_diesel; CREATE TABLE other_diesel.__diesel_schema_migrations (LIKE acme.__diesel_schema_migrations); \
         INSERT INTO other_diesel.__diesel_schema_migrations VALUES ('20200101000000', now()); \
         CREATE SCHEMA some_tables; CREATE TABLE some_tables.users(i int)",
    );
    assert_snapshot!(check(&db));
    assert_snapshot!(db.tenantry(["health-check", "--match", "^by_l"]).run());
    db.execute("DROP SCHEMA by_ledger CASCADE; DROP SCHEMA by_tables CASCADE");
    // What the finding says mends it.
    db.tenantry(["adopt", "twin"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn bad_name() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('user'), ('public')");
    assert_snapshot!(check(&db));
    let json = db.tenantry(["health-check", "--format", "json"]).run();
    assert_snapshot!(json);
    let mended = json.json()["findings"][0]["fix"].to_string();
    assert!(!mended.contains("ALTER SCHEMA"), "nobody is told to rename public: {mended}");
}

#[test]
fn schema_missing() {
    let db = fleet(&["dropped", "halfway"]);
    db.execute(
        "DROP SCHEMA dropped CASCADE; DROP SCHEMA halfway CASCADE; \
         UPDATE schema_tracker SET state = 'creating' WHERE name = 'halfway'; \
         INSERT INTO schema_tracker (name) VALUES ('registered')",
    );
    assert_snapshot!(check(&db));
    assert_eq!(crate::drop::schemas(&db), "public", "none is made");
    // What the findings say mends it.
    db.tenantry(["create", "registered"]).run().assert_code(0);
    db.tenantry(["create", "halfway"]).run().assert_code(0);
    db.tenantry(["drop", "dropped", "--yes"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn unreadable() {
    let db = fleet(&["acme", "open"]);
    let url = url_of_a_stranger(&db);
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; GRANT USAGE ON SCHEMA open TO {role}; \
         GRANT SELECT ON open.__diesel_schema_migrations TO {role}",
        db.name()
    ));
    assert_snapshot!(db.tenantry(["health-check"]).env("DATABASE_URL", &url).run());
    assert_snapshot!(db.tenantry(["list"]).env("DATABASE_URL", &url).run());
}

#[test]
fn a_role_that_may_not_make_the_reference() {
    let db = fleet(&["acme"]);
    let url = url_of_a_stranger(&db);
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "GRANT USAGE ON SCHEMA acme TO {role}; GRANT SELECT ON acme.__diesel_schema_migrations TO {role}"
    ));
    assert_snapshot!(db.tenantry(["health-check"]).env("DATABASE_URL", &url).run());
    assert_snapshot!(db.tenantry(["health-check", "--format", "json"]).env("DATABASE_URL", &url).run());
    db.tenantry(["health-check", "--allow-unchecked"]).env("DATABASE_URL", &url).run().assert_code(0);
    // What can be seen without it is still found.
    db.execute("DROP SCHEMA acme CASCADE");
    db.tenantry(["health-check", "--allow-unchecked"]).env("DATABASE_URL", &url).run().assert_code(1);
}

#[test]
fn a_migration_that_is_gone_before_it_was_finished() {
    let db = fleet(&["acme"]);
    db.execute(
        "UPDATE schema_tracker SET unfinished_version = '20990101000000', unfinished_statements = 1, \
         unfinished_digest = '', unfinished_in_doubt = false",
    );
    let output = check(&db);
    output.assert_code(1);
    assert_snapshot!(output);
}

#[test]
fn ledger_missing() {
    let db = fleet(&["without"]);
    db.execute(
        "DROP TABLE without.__diesel_schema_migrations; CREATE SCHEMA empty; \
         INSERT INTO schema_tracker (name) VALUES ('empty')",
    );
    assert_snapshot!(check(&db));
    // What the findings say mends it.
    db.tenantry(["migrate-one", "empty"]).run().assert_code(0);
    db.tenantry(["adopt", "without", "--baseline", "20260209090000"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn stuck() {
    let db = fleet(&["begun", "ended"]);
    db.execute(
        "UPDATE schema_tracker SET state = 'creating' WHERE name = 'begun'; \
         UPDATE schema_tracker SET state = 'dropping' WHERE name = 'ended'",
    );
    assert_snapshot!(check(&db));
    db.tenantry(["create", "begun"]).run().assert_code(0);
    db.tenantry(["drop", "ended", "--yes"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn a_tenant_that_a_run_is_working_on_is_not_stuck() {
    let db = fleet(&["begun"]);
    db.execute("UPDATE schema_tracker SET state = 'creating'");
    let mut run = db.connect();
    run.batch_execute("SELECT pg_advisory_lock(hashtextextended('tenantry:begun', 0))").expect("the tenant's lock");
    assert_eq!(kinds_of(&db), [""; 0]);
    // But it was not checked.
    assert_snapshot!(check(&db));
    db.tenantry(["health-check", "--allow-unchecked"]).run().assert_code(0);
    std::mem::drop(run);
    // The lock goes with the session, whose process may need a moment longer than this one.
    db.wait_for(
        "SELECT (count(*) = 0)::int FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        1,
    );
    check(&db).assert_code(1);
}

#[test]
fn missing_migrations() {
    let db = fleet(&["whole"]);
    create_older(&db, &["behind"]);
    assert_snapshot!(check(&db));
    db.tenantry(["migrate-one", "behind"]).run().assert_code(0);
    check(&db).assert_code(0);
}

#[test]
fn out_of_order() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant().add("20260110000000_between", "CREATE TABLE between_two(i int);");
    let with_dir = |command: &str| db.tenantry([command, "--tenant-migrations"]).arg(dir.path()).run();
    assert_snapshot!(with_dir("health-check"));
    assert_snapshot!(with_dir("migrate-all"));
    db.tenantry(["repair", "--accept", "20260110000000", "--reason", "merged late", "--tenant-migrations"])
        .arg(dir.path())
        .run()
        .assert_code(0);
    with_dir("migrate-all").assert_code(0);
    with_dir("health-check").assert_code(0);
}

#[test]
fn unknown_migrations() {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "INSERT INTO acme.__diesel_schema_migrations (version) VALUES ('20251231000000'), ('20990101000000'); \
         INSERT INTO globex.__diesel_schema_migrations (version) VALUES ('20990101000000')",
    );
    assert_snapshot!(check(&db));
}

#[test]
fn missing_tables() {
    let db = fleet(&["acme", "globex"]);
    db.execute("DROP TABLE acme.comments CASCADE; DROP TABLE globex.tasks, globex.users CASCADE");
    assert_snapshot!(check(&db));
    // A view in the table's place is not the table.
    db.execute("CREATE VIEW acme.comments AS SELECT 1 AS i");
    let kinds = kinds_of(&db);
    assert!(
        kinds.contains(&"acme table.missing".to_owned()) && kinds.contains(&"acme view.extra".to_owned()),
        "{kinds:?}"
    );
}

#[test]
fn tables_of_migrations_that_are_pending_are_not_missing() {
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

/// Something of every kind that one role can see at once.
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
fn everything_at_once() {
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
            "select bad-name",
            "tables table.missing",
            "tables view.missing",
            "unknown unknown-migrations",
        ]
    );
    assert_snapshot!(run(&["--match", "^(gone|tables)$"]));
    assert_snapshot!(run(&["--match", "^whole$", "--allow-empty", "--quiet"]));
}

#[test]
fn it_changes_nothing() {
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
fn fail_on() {
    let db = fleet(&["acme"]);
    create_older(&db, &["behind"]);
    db.execute("CREATE TABLE public.users(i int)");
    apply_to_public(&db, &["20260105090000"]);
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "missing-migrations"]).run());
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "schema-missing,ledger-missing"]).run());
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "table-in-public", "--format", "json"]).run());
    db.tenantry(["health-check", "--fail-on", "schema-missing", "--fail-on", "missing-migrations"])
        .run()
        .assert_code(1);
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", "bad-luck"]).run());
    assert_snapshot!(db.tenantry(["health-check", "--fail-on", ""]).run());
    // Every kind of the help is one.
    let help = db.tenantry(["health-check", "--help"]).run().stdout;
    let (_, told) = help.split_once("kinds of findings:").expect("the kinds are told");
    let (told, _) = told.split_once(".\n").expect("the end of the sentence");
    let told: Vec<&str> = told.split(',').map(str::trim).map(|word| word.trim_matches('\n')).collect();
    let told: Vec<String> = told.iter().map(|word| word.split_whitespace().collect()).collect();
    let all: Vec<&str> = tenantry::health::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(told, all);
    db.tenantry(["health-check", "--fail-on", &all.join(",")]).run().assert_code(1);
}

#[test]
fn match_that_is_no_expression() {
    assert_snapshot!(fleet(&[]).tenantry(["health-check", "--match", "a["]).run());
}
