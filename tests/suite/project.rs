//! Which tenant migrations a command uses: the given ones, else those of the project; never the sample.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, schemas, set_up};

/// A folder with some files.
fn project(files: &[(&str, &str)]) -> TempDir {
    let project = tempfile::tempdir().expect("a temporary folder");
    for (file, text) in files {
        let file = project.path().join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("the file can be written");
    }
    project
}

/// A command in a folder, with no tenant migrations other than those of the folder.
fn at(db: &Database, folder: &Path, args: &[&str]) -> Tenantry {
    db.tenantry(args).without_migrations().current_dir(folder)
}

fn with(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    db.tenantry(args)
        .env("TENANTRY_TENANT_MIGRATIONS", migrations.path())
        .hide(migrations.path().to_string_lossy(), "OTHERS")
        .run()
}

fn tables(db: &Database, tenant: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT relname FROM pg_class WHERE relnamespace = '{tenant}'::regnamespace AND relkind = 'r' \
         AND relname <> '__diesel_schema_migrations' ORDER BY 1"
    ))
}

#[test]
fn missing_migrations_are_an_error() {
    let db = set_up();
    let anywhere = |args: &[&str]| db.tenantry(args).without_migrations().run();
    assert_snapshot!(anywhere(&["create", "acme"]), @r"
        --- stderr
        error: no tenant migrations specified
        hint: set --tenant-migrations or TENANTRY_TENANT_MIGRATIONS, or run the command in a directory with migrations/tenant or with [migrations_directory] in diesel.toml
        --- exit 2
    ");
    db.execute("CREATE SCHEMA stray");
    let before = schemas(&db);
    for args in [
        &["create", "acme"][..],
        &["adopt", "stray"],
        &["migrate-one", "acme"],
        &["migrate-all"],
        &["migrate-all", "--dry-run"],
        &["revert-one", "acme", "--steps", "1", "--yes"],
        &["revert-all", "--steps", "1", "--yes"],
        &["repair", "--accept", "1", "--reason", "a test"],
        &["health-check"],
        &["diff", "acme"],
        &["repair-plan", "acme"],
        &["reference"],
        &["lint"],
        &["cleanup", "--include-orphans", "--yes"],
    ] {
        let output = anywhere(args);
        output.assert_code(2);
        assert!(output.stderr.starts_with("error: no tenant migrations specified"), "{args:?}: {}", output.stderr);
    }
    assert_eq!(schemas(&db), before);
    assert_eq!(db.count("SELECT count(*) FROM schema_migration WHERE kind = 'tenant'"), 0);
}

#[test]
fn commands_that_need_no_migrations_work_without_them() {
    let db = set_up();
    db.tenantry(["create", "acme", "globex"]).run().assert_code(0);
    let anywhere = |args: &[&str]| db.tenantry(args).without_migrations().run();
    assert_snapshot!(anywhere(&["list"]), @r"
        TENANT  STATE   VERSION         PENDING  CREATED
        acme    active  20260209090000  -        DATE
        globex  active  20260209090000  -        DATE
        --- stderr
        warning: pending migrations are unknown: no tenant migrations specified
        2 tenants
        --- exit 0
    ");
    assert!(anywhere(&["list", "--format", "json"]).json()["tenants"][0]["pending"].is_null());
    for args in [
        &["migrate-public"][..],
        &["list", "--names"],
        &["runs"],
        &["runs", "show", "1"],
        &["drop", "acme", "--dry-run"],
        &["drop", "acme", "--yes"],
        &["cleanup", "--dry-run"],
        &["cleanup", "--yes"],
    ] {
        anywhere(args).assert_code(0);
    }
    assert_eq!(schemas(&db), [""; 0]);
}

#[test]
fn directory_comes_from_diesel_toml_or_the_default() {
    let db = set_up();
    let both = project(&[
        ("diesel.toml", "[print_schema]\nfile = \"src/schema.rs\"\n\n[migrations_directory]\ndir = \"db/tenant\"\n"),
        ("db/tenant/1_a/up.sql", "CREATE TABLE of_diesel (i int);"),
        ("migrations/tenant/1_a/up.sql", "CREATE TABLE usual (i int);"),
        ("src/deep/nothing", ""),
    ]);
    let usual = project(&[("migrations/tenant/1_a/up.sql", "CREATE TABLE usual (i int);")]);
    let silent = project(&[("diesel.toml", ""), ("migrations/tenant/1_a/up.sql", "CREATE TABLE usual (i int);")]);
    let dry_run = |folder: &Path| {
        let output = at(&db, folder, &["migrate-all", "--dry-run", "--verbose"]).run();
        output.assert_code(0);
        let line = output.stderr.lines().find(|line| line.starts_with("tenant migrations: ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{}", output.stderr))
    };
    let named = |dir: String| format!("tenant migrations: {dir} (1 in all, newest 1)");
    assert_eq!(dry_run(both.path()), named("db/tenant".to_owned()));
    let resolved = fs::canonicalize(both.path()).expect("a path").join("db/tenant");
    assert_eq!(dry_run(&both.path().join("src/deep")), named(resolved.display().to_string()));
    assert_eq!(dry_run(usual.path()), named("migrations/tenant".to_owned()));
    assert_eq!(dry_run(silent.path()), named("migrations/tenant".to_owned()));
    // Migrations of a parent folder are used only if diesel.toml names them.
    at(&db, &usual.path().join("migrations"), &["migrate-all", "--dry-run"]).run().assert_code(2);
    at(&db, &both.path().join("src"), &["create", "acme"]).run().assert_code(0);
    assert_eq!(tables(&db, "acme"), ["of_diesel"]);
    // An explicit setting takes precedence.
    let given = Dir::new().add("1_a", "CREATE TABLE given (i int);");
    let other = set_up();
    let create = at(&other, both.path(), &["create", "acme", "--tenant-migrations"]).arg(given.path());
    create.run().assert_code(0);
    assert_eq!(tables(&other, "acme"), ["given"]);
}

#[test]
fn unusable_project_is_refused_without_a_fallback() {
    let db = set_up();
    for (files, expected) in [
        (&[("diesel.toml", "[migrations_directory]\ndir = \"nowhere\"\n")][..], "cannot read nowhere: No such file"),
        (&[("diesel.toml", "[migrations_directory]\ndir = \"file\"\n"), ("file", "")], "cannot read file: Not a dir"),
        (&[("diesel.toml", "[migrations_directory]\ndir = 1\n")], "diesel.toml: invalid type: integer"),
        (&[("diesel.toml", "[migrations_directory\n")], "diesel.toml: "),
        (&[("diesel.toml/x", "")], "diesel.toml: Is a directory"),
        (&[("migrations/tenant/.keep", "")], "no migrations in migrations/tenant"),
        (&[("migrations/tenant", "")], "cannot read migrations/tenant: Not a directory"),
    ] {
        let project = project(files);
        let output = at(&db, project.path(), &["create", "acme"]).run();
        output.assert_code(2);
        assert!(output.stderr.contains(expected), "{files:?}: {}", output.stderr);
    }
    let linked = project(&[("migrations/README", "")]);
    symlink("nowhere", linked.path().join("migrations/tenant")).expect("a link");
    let output = at(&db, linked.path(), &["create", "acme"]).run();
    assert!(output.assert_code(2).stderr.contains("cannot read migrations/tenant: No such file"), "{}", output.stderr);
    // Commands that need no migrations still work.
    at(&db, linked.path(), &["migrate-public"]).run().assert_code(0);
    at(&db, linked.path(), &["runs"]).run().assert_code(0);
    assert_eq!(schemas(&db), [""; 0]);
}

#[test]
fn directory_without_migrations_is_refused() {
    let db = set_up();
    let empty = Dir::new();
    assert_snapshot!(with(&db, &empty, &["migrate-all"]), @r"
        --- stderr
        error: no migrations in OTHERS
        hint: nothing was run
        --- exit 2
    ");
    let public = db.tenantry(["migrate-public", "--public-migrations"]).arg(empty.path()).run();
    assert!(public.assert_code(2).stderr.contains("no migrations in "), "{}", public.stderr);
    fs::write(empty.path().join("README.md"), "").expect("a file");
    fs::create_dir(empty.path().join(".hidden")).expect("a folder");
    with(&db, &empty, &["create", "acme"]).assert_code(2);
    // A dangling link may be a migration.
    symlink("nowhere", empty.path().join("1_a")).expect("a link");
    assert_snapshot!(with(&db, &empty, &["create", "acme"]), @r"
        --- stderr
        error: cannot read OTHERS/1_a: broken symbolic link
        hint: nothing was run
        --- exit 2
    ");
    assert_eq!(schemas(&db), [""; 0]);
}

#[test]
fn embedded_migrations_take_precedence_over_the_directory() {
    let db = Database::new();
    let folder = project(&[("migrations/tenant/1_a/up.sql", "CREATE TABLE usual (i int);")]);
    let program = Path::new(env!("CARGO_BIN_EXE_tenantry")).with_file_name("examples").join("shop");
    let shop = |args: &[&str]| {
        let shop = Tenantry::of_program(&program).arg("tenants").args(args).env("DATABASE_URL", db.url());
        shop.current_dir(folder.path()).run()
    };
    shop(&["migrate-public"]).assert_code(0);
    shop(&["create", "acme"]).assert_code(0);
    assert_eq!(tables(&db, "acme"), ["orders"]);
    let made = shop(&["new-migration", "tenant", "add_invoices"]);
    assert!(made.assert_code(0).stdout.starts_with("migrations/tenant/"), "{}", made.stdout);
    assert!(made.stderr.contains("rebuild shop tenants to include the migration"), "{}", made.stderr);
}

#[test]
fn new_migration_is_applied_by_the_next_run() {
    let db = set_up();
    let project = project(&[
        ("diesel.toml", "[migrations_directory]\ndir = \"db/tenant\"\n"),
        ("db/tenant/1_a/up.sql", "CREATE TABLE a (i int);"),
        ("app/nothing", ""),
    ]);
    let app = project.path().join("app");
    at(&db, &app, &["create", "acme"]).run().assert_code(0);
    let made = at(&db, &app, &["new-migration", "tenant", "add_b"]).run();
    let made = Path::new(made.assert_code(0).stdout.trim_end()).join("up.sql");
    fs::write(made, "CREATE TABLE b (i int);").expect("the file can be written");
    at(&db, &app, &["migrate-all"]).run().assert_code(0);
    assert_eq!(tables(&db, "acme"), ["a", "b"]);
}

/// A database with a tenant of this repository's migrations, and unrelated migrations.
fn of_others() -> (Database, Dir) {
    let db = set_up();
    db.tenantry(["create", "acme"]).run().assert_code(0);
    (db, Dir::new().add("1_other", "CREATE TABLE other (i int);").down("DROP TABLE other;"))
}

#[test]
#[ignore = "long: make test-long"]
fn migrations_of_another_database_are_refused() {
    let (db, others) = of_others();
    assert_snapshot!(with(&db, &others, &["migrate-all"]), @r#"
        --- stderr
        error: the tenant migrations do not belong to database "DATABASE": OTHERS (1 in all, newest 1) has no version in common with public.schema_migration (5 in all, newest 20260209090000)
        hint: set --tenant-migrations to the migrations of this database
        --- exit 2
    "#);
    db.execute("CREATE SCHEMA stray");
    for args in [
        &["create", "globex"][..],
        &["adopt", "stray"],
        &["migrate-one", "acme"],
        &["migrate-all", "--dry-run"],
        &["revert-one", "acme", "--steps", "1", "--yes"],
        &["revert-all", "--steps", "1", "--yes"],
        &["repair", "--accept", "1..2", "--reason", "a test"],
        &["health-check"],
        &["diff", "acme"],
        &["repair-plan", "acme"],
        &["drop", "acme", "--yes"],
        &["cleanup", "--yes"],
    ] {
        let output = with(&db, &others, args);
        output.assert_code(2);
        assert!(output.stderr.contains("has no version in common with"), "{args:?}: {}", output.stderr);
    }
    assert_snapshot!(with(&db, &others, &["list"]), @r#"
        TENANT  STATE   VERSION         PENDING  CREATED
        acme    active  20260209090000  -        DATE
        --- stderr
        warning: pending migrations are unknown: the tenant migrations do not belong to database "DATABASE": OTHERS (1 in all, newest 1) has no version in common with public.schema_migration (5 in all, newest 20260209090000)
        1 tenant
        --- exit 0
    "#);
    assert_eq!(schemas(&db), ["acme", "stray"]);
    assert_eq!(db.count("SELECT count(*) FROM schema_migration WHERE version = '1'"), 0);
    // Also if the migrations are recorded only in the ledgers.
    db.execute("DELETE FROM schema_migration WHERE kind = 'tenant'");
    for args in [&["migrate-all"][..], &["health-check"]] {
        let output = with(&db, &others, args);
        output.assert_code(2);
        assert!(output.stderr.contains("the tenants' ledgers (5 in all"), "{args:?}: {}", output.stderr);
    }
    db.tenantry(["migrate-all"]).run().assert_code(0);
}

#[test]
fn failed_first_run_does_not_bind_the_database_to_its_migrations() {
    let db = set_up();
    let wrong = Dir::new().add("1_wrong", "CREATE TABLE wrong (i nonsense);");
    with(&db, &wrong, &["create", "acme"]).assert_code(1);
    assert_eq!(db.count("SELECT count(*) FROM schema_migration WHERE version = '1'"), 1);
    db.tenantry(["create", "acme"]).run().assert_code(0);
    with(&db, &wrong, &["create", "globex"]).assert_code(2);
}

#[test]
#[ignore = "long: make test-long"]
fn the_migrations_in_use_are_shown_and_recorded() {
    let (db, _) = of_others();
    let shown = "tenant migrations: MIGRATIONS (5 in all, newest 20260209090000)\n";
    for args in [
        &["migrate-all", "--dry-run"][..],
        &["migrate-one", "acme", "--dry-run"],
        &["migrate-all", "--dry-run", "--verbose"],
        &["migrate-all", "--verbose"],
        &["health-check", "--verbose"],
        &["lint", "--verbose"],
        &["revert-all", "--steps", "1", "--dry-run"],
        // There is no terminal for a confirmation.
        &["revert-all", "--steps", "1"],
        &["revert-one", "acme", "--steps", "1"],
        &["drop", "acme", "--dry-run"],
        &["drop", "acme"],
        &["cleanup", "--dry-run"],
        &["cleanup"],
    ] {
        let output = db.tenantry(args).run().snapshot();
        assert_eq!(output.matches(shown).count(), 1, "{args:?}: {output}");
    }
    assert!(!db.tenantry(["migrate-all"]).run().snapshot().contains("tenant migrations"));
    let run = db.tenantry(["runs", "show", "1"]).run().snapshot();
    assert!(run.contains(shown), "{run}");
    let run = db.tenantry(["runs", "show", "1", "--format", "json"]).run().json();
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/tenant (5 in all, newest 20260209090000)");
    assert_eq!(run["migrations"], recorded);
}
