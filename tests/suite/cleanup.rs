//! `cleanup`

use diesel::connection::SimpleConnection;

use crate::assert_snapshot;
use crate::drop::schemas;
use crate::support::migrations::Dir;
use crate::support::{Database, Screen, Terminal, fleet};

/// The tables in `public`.
fn public_tables(db: &Database) -> String {
    db.strings("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1")
        .join(" ")
}

const UNTOUCHED: &str = "row_isolation row_tenancy schema_acceptance schema_fleet_run schema_fleet_run_server \
                         schema_identity schema_ledger schema_migration schema_move schema_placement schema_run \
                         schema_run_tenant schema_server schema_shared schema_snapshot schema_spare schema_stamp schema_tracker";

#[test]
fn dry_run_shows_the_plan() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA stranger; CREATE TABLE stranger.t(i int)");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run"]).run(), @"
    TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
    acme    yes      4       0 SIZE
    globex  yes      4       0 SIZE
    --- stderr
    tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
    in the database DATABASE: 2 tenants would be dropped, 18 public migrations reverted, and public.schema_ledger would be dropped
    --- exit 0
    ");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run", "--format", "json"]).run());
    assert_eq!((schemas(&db), public_tables(&db)), ("acme globex public stranger".to_owned(), UNTOUCHED.to_owned()));
}

#[test]
fn confirmation_is_required_without_a_terminal() {
    let db = fleet(&["acme"]);
    assert_snapshot!(db.tenantry(["cleanup"]).run(), @"
    --- stderr
    tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
    TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
    acme    yes      4       0 SIZE
    in the database DATABASE: 1 tenant would be dropped, 18 public migrations reverted, and public.schema_ledger would be dropped
    error: confirmation required, but there is no terminal
    hint: check with --dry-run, then add --yes
    --- exit 4
    ");
    db.tenantry(["cleanup"]).stdin(format!("{}\n", db.name())).run().assert_code(4);
    assert_eq!((schemas(&db), public_tables(&db)), ("acme public".to_owned(), UNTOUCHED.to_owned()));
}

#[test]
fn wrong_database_name_cancels_the_cleanup() {
    let db = fleet(&["acme"]);
    for answer in ["y", "", "postgres", "yes"] {
        let mut terminal = Terminal::spawn(db.tenantry(["cleanup"]));
        terminal.expect("database to confirm:").type_line(answer);
        let screen = Screen::of(&mut terminal);
        screen.assert_code(4);
        if answer == "y" {
            assert_snapshot!(screen);
        }
    }
    assert_eq!((schemas(&db), public_tables(&db)), ("acme public".to_owned(), UNTOUCHED.to_owned()));
}

#[test]
fn database_name_confirms_the_cleanup() {
    let db = fleet(&["acme"]);
    let mut terminal = Terminal::spawn(db.tenantry(["cleanup"]));
    terminal.expect("database to confirm:").type_line(db.name());
    assert_snapshot!(Screen::of(&mut terminal));
    assert_eq!((schemas(&db), public_tables(&db)), ("public".to_owned(), String::new()));
}

#[test]
fn yes_removes_everything_and_can_be_repeated() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA stranger; CREATE TABLE stranger.t(i int); CREATE TABLE public.of_others(i int)");
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @"
    --- stderr
    2 dropped
    18 public migrations reverted
    public.schema_ledger dropped
    hint: to start again: tenantry migrate-public, then tenantry create NAME
    --- exit 0
    ");
    assert_eq!((schemas(&db), public_tables(&db)), ("public stranger".to_owned(), "of_others".to_owned()));
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @r"
        --- stderr
        nothing to clean up in the database DATABASE
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run"]).run(), @r"
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        in the database DATABASE: 0 tenants would be dropped, 0 public migrations reverted, and there is no public ledger
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["cleanup"]).run(), @r"
        --- stderr
        nothing to clean up in the database DATABASE
        --- exit 0
    ");
    // The database can be set up again.
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db.tenantry(["create", "acme"]).run().assert_code(0);
}

#[test]
fn report_is_printed_as_json() {
    let db = fleet(&["acme", "globex"]);
    assert_snapshot!(db.tenantry(["cleanup", "--yes", "--format", "json"]).run());
    let again = db.tenantry(["cleanup", "--yes", "--format", "json"]).run();
    again.assert_code(0);
    // The JSON document is printed even if there was nothing to do.
    assert_eq!(again.json()["reverted"].as_array().map(Vec::len), Some(0));
}

#[test]
fn uninitialized_database_has_nothing_to_clean_up() {
    let db = Database::new();
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @r"
        --- stderr
        nothing to clean up in the database DATABASE
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run"]).run(), @r"
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        in the database DATABASE: 0 tenants would be dropped, 0 public migrations reverted, and there is no public ledger
        --- exit 0
    ");
    let plan = db.tenantry(["cleanup", "--dry-run", "--format", "json"]).run().json();
    assert_eq!(plan["drop_ledger"], false, "there is none");
}

#[test]
#[ignore = "long: make test-long"]
fn orphans_are_kept_unless_included() {
    let orphaned = || {
        let db = fleet(&["acme", "orphan"]);
        db.execute(
            "DELETE FROM schema_tracker WHERE name = 'orphan'; CREATE SCHEMA stranger; \
             CREATE SCHEMA \"we-ird\"; \
             CREATE TABLE \"we-ird\".__diesel_schema_migrations AS TABLE acme.__diesel_schema_migrations",
        );
        db
    };
    let db = orphaned();
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
    assert_eq!(schemas(&db), "orphan public stranger we-ird");

    let db = orphaned();
    assert_snapshot!(db.tenantry(["cleanup", "--include-orphans", "--dry-run"]).run(), @"
    TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
    acme    yes      4       0 SIZE
    orphan  no       4       0 SIZE
    we-ird  no       0       0 SIZE
    --- stderr
    tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
    in the database DATABASE: 3 tenants would be dropped, 18 public migrations reverted, and public.schema_ledger would be dropped
    --- exit 0
    ");
    assert_snapshot!(db.tenantry(["cleanup", "--include-orphans", "--yes"]).run(), @"
    --- stderr
    3 dropped
    18 public migrations reverted
    public.schema_ledger dropped
    hint: to start again: tenantry migrate-public, then tenantry create NAME
    --- exit 0
    ");
    assert_eq!(schemas(&db), "public stranger");
}

#[test]
fn public_ledger_with_foreign_versions_is_kept() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO public.schema_ledger (version) VALUES ('19990101000000'), ('19990102000000')");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run"]).run(), @"
    TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
    acme    yes      4       0 SIZE
    --- stderr
    tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
    in the database DATABASE: 1 tenant would be dropped, 18 public migrations reverted, and public.schema_ledger would be kept, as it records 2 other migrations
    --- exit 0
    ");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run", "--format", "json"]).run());
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @"
    --- stderr
    1 dropped
    18 public migrations reverted
    public.schema_ledger kept: it records 2 other migrations
    hint: to start again: tenantry migrate-public, then tenantry create NAME
    --- exit 0
    ");
    assert_eq!(db.strings("SELECT version FROM public.schema_ledger ORDER BY 1"), ["19990101000000", "19990102000000"]);
    assert_eq!(public_tables(&db), "schema_ledger");
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @r"
        --- stderr
        nothing to clean up in the database DATABASE
        --- exit 0
    ");
}

#[test]
fn interrupted_cleanup_is_completed_by_the_next() {
    let db = fleet(&["acme", "globex", "initech"]);
    // One tenant has a row without a schema, another was being dropped, and a third is dropped completely.
    db.execute(
        "DROP SCHEMA acme CASCADE; UPDATE schema_tracker SET state = 'dropping' WHERE name = 'globex'; \
         DROP SCHEMA initech CASCADE; DELETE FROM schema_tracker WHERE name = 'initech'",
    );
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @"
    --- stderr
    2 dropped
    18 public migrations reverted
    public.schema_ledger dropped
    hint: to start again: tenantry migrate-public, then tenantry create NAME
    --- exit 0
    ");
    assert_eq!((schemas(&db), public_tables(&db)), ("public".to_owned(), String::new()));

    // The tracker was reverted, and the public ledger still exists.
    let db = fleet(&[]);
    db.execute(
        "DROP TABLE row_isolation, row_tenancy, schema_acceptance, schema_fleet_run, schema_fleet_run_server, \
         schema_identity, schema_migration, schema_move, schema_placement, schema_run, schema_run_tenant, \
         schema_server, schema_shared, \
         schema_snapshot, schema_spare, schema_stamp, schema_tracker; \
         DELETE FROM public.schema_ledger",
    );
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
    assert_eq!(public_tables(&db), "");
}

#[test]
fn public_migrations_of_the_project_are_reverted() {
    let db = fleet(&["acme"]);
    let dir = Dir::new()
        .add("20990101000000_plans", "CREATE TABLE plans(i int);")
        .down("DROP TABLE plans;")
        .add("20990102000000_prices", "CREATE TABLE prices(i int);")
        .down("DROP TABLE prices;");
    db.tenantry(["migrate-public", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
    // A pending migration is not reverted.
    let dir = dir.add("20990103000000_later", "CREATE TABLE later(i int);");
    assert_snapshot!(
        db.tenantry(["cleanup", "--yes", "--format", "json", "--public-migrations"]).arg(dir.path()).run()
    );
    assert_eq!(public_tables(&db), "");
}

#[test]
fn public_migration_without_down_sql_is_refused_before_any_change() {
    let db = fleet(&["acme"]);
    let dir = Dir::new().add("20990101000000_plans", "CREATE TABLE plans(i int);");
    db.tenantry(["migrate-public", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
    assert_snapshot!(db.tenantry(["cleanup", "--yes", "--public-migrations"]).arg(dir.path()).run(), @r"
        --- stderr
        error: public migration 20990101000000_plans cannot be reverted: it has no down.sql
        hint: add a down.sql to the migration
        --- exit 3
    ");
    assert_eq!((schemas(&db), public_tables(&db)), ("acme public".to_owned(), format!("plans {UNTOUCHED}")));
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "acme\n");
}

#[test]
fn failed_down_sql_is_rolled_back_and_reported() {
    let db = fleet(&["acme"]);
    let dir = Dir::new()
        .add("20990101000000_plans", "CREATE TABLE plans(i int);")
        .down("DROP TABLE plans;\nDROP TABLE no_such_table;");
    db.tenantry(["migrate-public", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
    assert_snapshot!(db.tenantry(["cleanup", "--yes", "--public-migrations"]).arg(dir.path()).run(), @r#"
        --- stderr
        1 dropped
        0 public migrations reverted
        error: public migration 20990101000000_plans/down.sql failed: table "no_such_table" does not exist
          effect: rolled back, nothing was changed
        hint: to resume: tenantry cleanup --public-migrations TEMPORARY
        --- exit 3
    "#);
    assert_eq!(public_tables(&db), format!("plans {UNTOUCHED}"), "it was rolled back");
    dir.write("20990101000000_plans/down.sql", "DROP TABLE plans;");
    db.tenantry(["cleanup", "--yes", "--public-migrations"]).arg(dir.path()).run().assert_code(0);
    assert_eq!(public_tables(&db), "");
}

#[test]
fn tracker_is_kept_if_a_tenant_cannot_be_dropped() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA reports; CREATE VIEW reports.of_acme AS SELECT id FROM acme.users");
    assert_snapshot!(db.tenantry(["cleanup", "--dry-run"]).run(), @r"
        TENANT  TRACKED  TABLES  ROWS (ESTIMATED)  SIZE
        globex  yes      4       0 SIZE
        --- stderr
        tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)
        error: tenant acme: objects outside the schema depend on it: view reports.of_acme
        hint: drop those objects first, or move them into the schema
        in the database DATABASE: 1 tenant would be dropped, 1 cannot be dropped; the public migrations and public.schema_ledger would be kept
        --- exit 1
    ");
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @r"
        --- stderr
        error: tenant acme: objects outside the schema depend on it: view reports.of_acme
        hint: drop those objects first, or move them into the schema
        1 dropped, 1 failed (run 2)
        hint: to resume: tenantry cleanup
        --- exit 1
    ");
    assert_eq!((schemas(&db), public_tables(&db)), ("acme public reports".to_owned(), UNTOUCHED.to_owned()));
    assert_eq!(db.tenantry(["list", "--names"]).run().stdout, "acme\n");
    db.execute("DROP SCHEMA reports CASCADE");
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
}

#[test]
fn tenants_with_invalid_names_are_dropped() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('select'); CREATE SCHEMA \"select\"");
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
    assert_eq!((schemas(&db), public_tables(&db)), ("public".to_owned(), String::new()));
}

#[test]
fn system_schema_in_the_tracker_is_not_dropped() {
    let db = fleet(&["acme"]);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('public')");
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @r"
        --- stderr
        error: tenant public: a system schema cannot be a tenant
        hint: if the tracker has such a row: DELETE FROM public.schema_tracker WHERE name = 'public'
        1 dropped, 1 failed (run 2)
        hint: to resume: tenantry cleanup
        --- exit 1
    ");
    assert_eq!((schemas(&db), public_tables(&db)), ("public".to_owned(), UNTOUCHED.to_owned()));
}

/// Each prevents the drop of the other if it is checked alone.
#[test]
fn interdependent_tenants_are_dropped_by_repeated_cleanup() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE VIEW globex.of_acme AS SELECT id FROM acme.users");
    let first = db.tenantry(["cleanup", "--yes"]).run();
    assert!(matches!(first.code, Some(0 | 1)), "{}", first.stderr);
    // A second run completes the cleanup.
    db.tenantry(["cleanup", "--yes"]).run().assert_code(0);
    assert_eq!((schemas(&db), public_tables(&db)), ("public".to_owned(), String::new()));
}

#[test]
#[ignore = "long: make test-long"]
fn database_of_an_older_release_is_cleaned_up_without_recording_a_run() {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "DROP TABLE row_isolation, row_tenancy, schema_acceptance, schema_fleet_run, schema_fleet_run_server, \
         schema_identity, schema_migration, schema_move, schema_placement, schema_run, schema_run_tenant, \
         schema_server, schema_shared, \
         schema_snapshot, schema_spare, schema_stamp; \
         ALTER TABLE public.schema_ledger RENAME TO __diesel_schema_migrations; \
         DELETE FROM public.__diesel_schema_migrations WHERE version > '20260105080000'; \
         CREATE VIEW public.of_globex AS SELECT id FROM globex.users",
    );
    // Neither a tenant that cannot be dropped nor one that was dropped is recorded.
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; LOCK TABLE acme.users").unwrap();
    let args = ["cleanup", "--yes", "--lock-timeout", "100ms", "--retries", "0", "--format", "json"];
    let refused = db.tenantry(args).run();
    refused.assert_code(1);
    assert_eq!(refused.json()["tenants"]["run"], serde_json::Value::Null);
    assert_eq!(refused.json()["tenants"]["failed"].as_array().map(Vec::len), Some(2), "{}", refused.stdout);
    holder.batch_execute("COMMIT").unwrap();
    db.execute("DROP VIEW public.of_globex");
    assert_snapshot!(db.tenantry(["cleanup", "--yes"]).run(), @r"
        --- stderr
        2 dropped
        1 public migration reverted
        public.schema_ledger dropped
        hint: to start again: tenantry migrate-public, then tenantry create NAME
        --- exit 0
    ");
    assert_eq!(
        (schemas(&db), public_tables(&db)),
        ("public".to_owned(), "__diesel_schema_migrations".to_owned()),
        "Diesel's ledger is left alone"
    );
}
