//! The example application `shop`: the whole command line under another name, and a sign-up that calls the library.

use std::path::Path;

use crate::assert_snapshot;
use crate::support::{Database, Tenantry, server, socket_of};

/// The example, which `cargo test` builds along with the tests.
fn shop(db: &Database, args: &[&str]) -> Tenantry {
    let folder = Path::new(env!("CARGO_BIN_EXE_tenantry")).parent().expect("the folder of the programs");
    let program = folder.join("examples").join("shop");
    assert!(program.exists(), "{} does not exist: run `cargo build --example shop`", program.display());
    Tenantry::of_program(program)
        .args(args)
        .env("DATABASE_URL", db.url())
        .hide(db.name(), "DATABASE")
        .hide(socket_of(server()).0, "SOCKET")
}

#[test]
fn example_runs_from_setup_to_cleanup() {
    let db = Database::new();
    assert_snapshot!(shop(&db, &["tenants", "migrate-public", "--verbose"]).run());
    assert_snapshot!(shop(&db, &["sign-up", "acme"]).run(), @r"
        acme has 1 order
        --- stderr
        --- exit 0
    ");
    assert_snapshot!(shop(&db, &["tenants", "health-check"]).run(), @r"
        --- stderr
        1 tenant checked, all healthy
        --- exit 0
    ");
    assert_eq!(db.strings("SELECT customer FROM acme.orders"), ["acme"]);
    assert_eq!(db.string("SELECT state FROM public.schema_tracker"), "active");
    assert_snapshot!(shop(&db, &["tenants", "list"]).run(), @r"
        TENANT  STATE   VERSION         PENDING  CREATED
        acme    active  20260301090000  0        DATE
        --- stderr
        1 tenant
        --- exit 0
    ");
    assert_snapshot!(shop(&db, &["tenants", "cleanup", "--yes"]).run(), @"
    --- stderr
    1 dropped
    19 public migrations reverted
    public.schema_ledger dropped
    hint: to start again: shop tenants migrate-public, then shop tenants create NAME
    --- exit 0
    ");
    assert_eq!(db.strings("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"), [""; 0]);
}

#[test]
fn failed_sign_up_is_reported() {
    let db = Database::new();
    assert_snapshot!(shop(&db, &["sign-up", "acme"]).run(), @r#"
        --- stderr
        sign-up failed: database "DATABASE" has no tracker (public.schema_tracker)
        --- exit 1
    "#);
    shop(&db, &["tenants", "migrate-public"]).run().assert_code(0);
    shop(&db, &["sign-up", "acme"]).run().assert_code(0);
    assert_snapshot!(shop(&db, &["sign-up", "acme"]).run(), @r"
        --- stderr
        sign-up failed: tenant acme was not created: tenant already exists (state: active)
        --- exit 1
    ");
    assert_snapshot!(shop(&db, &["sign-up", "ACME"]).run(), @r#"
        --- stderr
        sign-up failed: tenant ACME was not created: name differs only in case from tenant "acme"
        --- exit 1
    "#);
    assert_snapshot!(shop(&db, &["sign-up", "drop table"]).run(), @r#"
    --- stderr
    sign-up failed: tenant drop table was not created: "drop table" contains ' '; only letters A to Z and a to z, digits and underscore are allowed
    --- exit 1
    "#);
    assert_eq!(db.strings("SELECT cents FROM acme.orders"), ["4900"], "the second one placed no order");
    assert_snapshot!(shop(&db, &["sign-up"]).run(), @r"
        --- stderr
        usage: shop sign-up NAME | shop tenants COMMAND …
        --- exit 2
    ");
}

#[test]
fn messages_name_the_program_of_the_example() {
    let db = Database::new();
    assert_snapshot!(shop(&db, &["tenants", "list"]).run(), @r#"
        --- stderr
        error: database "DATABASE" has no tracker (public.schema_tracker)
        hint: run 'shop tenants migrate-public'
        --- exit 3
    "#);
    shop(&db, &["tenants", "migrate-public"]).run().assert_code(0);
    db.execute("INSERT INTO schema_tracker (name) VALUES ('acme')");
    assert_snapshot!(shop(&db, &["tenants", "health-check"]).run(), @r"
        TENANT  CODE            LEVEL       FINDING                    FIX
        acme    schema-missing  structural  the schema does not exist  shop tenants create acme
        --- stderr
        warning: not checked: 1 tenant: acme: the schema does not exist
        0 tenants checked, 1 unchecked, 0 healthy, 1 finding
        --- exit 1
    ");
    assert_snapshot!(shop(&db, &["tenants", "create", "--help"]).run());
    assert_snapshot!(shop(&db, &["tenants", "nonsense"]).run(), @r"
        --- stderr
        error: unrecognized subcommand 'nonsense'

        Usage: shop tenants [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    ");
    let script = shop(&db, &["tenants", "completions", "bash"]).run();
    script.assert_code(0);
    assert!(script.stdout.contains("shop"), "{}", script.stdout);
}

#[test]
fn example_uses_its_own_migrations() {
    let db = Database::new();
    shop(&db, &["tenants", "migrate-public"]).run().assert_code(0);
    shop(&db, &["tenants", "create", "acme", "globex"]).run().assert_code(0);
    let tables =
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'globex'::regnamespace ORDER BY 1";
    assert_eq!(db.strings(tables), ["__diesel_schema_migrations", "orders"]);
    assert_snapshot!(shop(&db, &["tenants", "list", "--format", "json"]).run());
    // The command line of this repository has other migrations, and refuses the database.
    assert_snapshot!(db.tenantry(["health-check"]).run(), @r#"
        --- stderr
        error: the tenant migrations do not belong to database "DATABASE": MIGRATIONS (5 in all, newest 20260209090000) has no version in common with public.schema_migration (1 in all, newest 20260301090000)
        hint: set --tenant-migrations to the migrations of this database
        --- exit 2
    "#);
}

/// The file is what `print-schema` prints now.
#[test]
fn table_definitions_of_the_example_match_its_tenants() {
    let db = Database::new();
    shop(&db, &["tenants", "migrate-public"]).run().assert_code(0);
    shop(&db, &["tenants", "create", "acme"]).run().assert_code(0);
    let printed = shop(&db, &["tenants", "print-schema", "acme"]).run();
    printed.assert_code(0);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/schema.rs");
    assert_eq!(printed.stdout, std::fs::read_to_string(file).unwrap());
}
