//! `new-migration`

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Tenantry, fleet};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A project with empty folders of migrations, in which the command runs.
fn project() -> TempDir {
    let project = folder();
    for set in ["tenant", "public"] {
        fs::create_dir_all(project.path().join("migrations").join(set)).expect("a folder");
    }
    project
}

fn new(project: &Path, args: &[&str]) -> Tenantry {
    Tenantry::new()
        .without_migrations()
        .arg("new-migration")
        .args(args)
        .current_dir(project)
        .hide(project.to_string_lossy(), "PROJECT")
}

/// A version made from the current time differs between runs.
macro_rules! assert_dated {
    ($output:expr) => {
        insta::with_settings!({ filters => vec![(r"\b20\d{12}_", "VERSION_")] }, { assert_snapshot!($output) })
    };
}

#[test]
fn tenant_and_public_migrations_are_created() {
    let project = project();
    for set in ["tenant", "public"] {
        let output = new(project.path(), &[set, "add_invoices"]).run();
        assert_dated!(output);
        let made = project.path().join(output.stdout.trim_end());
        let read = |file: &str| fs::read_to_string(made.join(file)).expect("the file was made");
        let up = "-- Statements that apply this migration. They run in one transaction in each schema.\n";
        let down = "-- Statements that revert this migration.\n";
        assert_eq!((read("up.sql").as_str(), read("down.sql").as_str()), (up, down));
        assert_eq!(fs::read_dir(&made).expect("a folder").count(), 2);
    }
}

#[test]
fn custom_directory_is_used() {
    let (project, other) = (folder(), folder());
    for (set, variable) in [("tenant", "TENANTRY_TENANT_MIGRATIONS"), ("public", "TENANTRY_PUBLIC_MIGRATIONS")] {
        let output = new(project.path(), &[set, "a", &format!("--{set}-migrations")]).arg(other.path()).run();
        output.assert_code(0);
        assert!(Path::new(output.stdout.trim_end()).starts_with(other.path()), "{}", output.stdout);
        new(project.path(), &[set, "b"]).env(variable, other.path()).run().assert_code(0);
    }
    assert_eq!(fs::read_dir(other.path()).expect("a folder").count(), 4);
    assert_eq!(fs::read_dir(project.path()).expect("a folder").count(), 0);
}

#[test]
fn path_is_printed_as_json() {
    assert_dated!(new(project().path(), &["tenant", "add_invoices", "--format", "json"]).run());
}

#[test]
fn version_follows_the_newest_migration() {
    let dir = Dir::new()
        .add("29981231235959_before", "SELECT 1;")
        .add("29990101000009_newest", "SELECT 1;")
        .add("00007_of_another_kind", "SELECT 1;");
    for name in ["first", "second"] {
        Tenantry::new()
            .args(["new-migration", "tenant", name, "--tenant-migrations"])
            .arg(dir.path())
            .run()
            .assert_code(0);
    }
    assert!(dir.names().contains(&"29990101000010_first".to_owned()), "{:?}", dir.names());
    assert!(dir.names().contains(&"29990101000011_second".to_owned()), "{:?}", dir.names());
}

#[test]
fn migrations_created_in_the_same_second_have_distinct_versions() {
    let dir = Dir::new();
    for name in ["a", "b", "a"] {
        Tenantry::new()
            .args(["new-migration", "tenant", name, "--tenant-migrations"])
            .arg(dir.path())
            .run()
            .assert_code(0);
    }
    let mut versions: Vec<String> = dir.names().iter().map(|name| name[..14].to_owned()).collect();
    versions.dedup();
    assert_eq!(versions.len(), 3, "{:?}", dir.names());
}

#[test]
fn new_migration_is_refused_until_it_has_statements() {
    let db = fleet(&["acme"]);
    let dir = Dir::copy_of_tenant();
    let with_dir = |args: &[&str]| db.tenantry(args).env("TENANTRY_TENANT_MIGRATIONS", dir.path());
    with_dir(&["new-migration", "tenant", "add_invoices"]).run().assert_code(0);
    let made = dir.names().pop().expect("the newest");
    assert!(made.ends_with("_add_invoices"), "{made}");
    let refused = with_dir(&["migrate-all"]).hide(dir.path().to_string_lossy(), "DIR").run();
    assert_dated!(refused);

    dir.write(&format!("{made}/up.sql"), "CREATE TABLE invoices (id bigint);\n");
    dir.write(&format!("{made}/down.sql"), "DROP TABLE invoices;\n");
    with_dir(&["migrate-all"]).run().assert_code(0);
    assert_eq!(db.string("SELECT to_regclass('acme.invoices')"), "acme.invoices");
}

#[test]
fn invalid_migration_names_are_refused() {
    let project = project();
    for name in ["", "Add", "a-b", "a b", "../x", "a/b", "a.sql", "é", "a\n"] {
        let output = new(project.path(), &["tenant", name]).run();
        output.assert_code(2);
        assert!(output.stderr.contains("invalid migration name"), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    assert_snapshot!(new(project.path(), &["tenant", "AddInvoices"]).run(), @r#"
        --- stderr
        error: invalid migration name: "AddInvoices"
        hint: use lower-case letters, digits and underscores
        --- exit 2
    "#);
    assert_eq!(fs::read_dir(project.path().join("migrations/tenant")).expect("a folder").count(), 0);
}

#[test]
fn invalid_usage_is_refused() {
    let project = project();
    assert_snapshot!(new(project.path(), &["both", "x"]).run(), @r"
        --- stderr
        error: invalid value 'both' for '<SET>'
          [possible values: tenant, public]

        For more information, try '--help'.
        --- exit 2
    ");
    assert_snapshot!(new(project.path(), &["tenant"]).run(), @r"
        --- stderr
        error: the following required arguments were not provided:
          <NAME>

        Usage: tenantry new-migration <SET> <NAME>

        For more information, try '--help'.
        --- exit 2
    ");
}

#[test]
fn default_directory_is_created() {
    let project = folder();
    for set in ["tenant", "public"] {
        let output = new(project.path(), &[set, "add_invoices"]).run();
        output.assert_code(0);
        assert!(output.stdout.starts_with(&format!("migrations/{set}/")), "{}", output.stdout);
        assert!(project.path().join(output.stdout.trim_end()).join("up.sql").exists());
    }
}

#[test]
fn missing_given_directory_is_an_error() {
    let project = folder();
    assert_snapshot!(new(project.path(), &["public", "x", "--public-migrations", "nowhere"]).run(), @r"
        --- stderr
        error: nowhere is not a directory
        hint: create it, or specify another with --public-migrations
        --- exit 2
    ");
    fs::write(project.path().join("file"), "").expect("a file");
    new(project.path(), &["public", "x", "--public-migrations", "file"]).run().assert_code(2);
}
