//! A registry with users, memberships and rights, and contexts that are signed.

use std::sync::LazyLock;

use diesel::connection::SimpleConnection;

use super::{count, may, shared};
use crate::rows::{ACME, GLOBEX, Shop};
use crate::support::Tenantry;
use crate::support::migrations::Dir;

/// The registry of the template, and a table of documents.
fn isolated() -> Shop {
    let dir = Dir::new();
    Tenantry::new()
        .args(["new-migration", "tenant", "create_registry", "--template", "registry", "--tenant-migrations"])
        .arg(dir.path())
        .run()
        .assert_code(0);
    let dir = dir
        .add("2030-01-01-000000_create_documents", "CREATE TABLE documents (id bigint PRIMARY KEY, title text);")
        .down("DROP TABLE documents;")
        .add("2030-01-02-000000_add_size", "ALTER TABLE documents ADD COLUMN size bigint;")
        .down("ALTER TABLE documents DROP COLUMN size;");
    let shop = Shop::with(dir);
    shop.run(&["isolate", "--yes"]);
    shop.tenantry(&["key", "install"]).env("TENANTRY_CONTEXT_KEY", shop.key.reveal()).run().assert_code(0);
    shop.run(&["create", "acme", "--id", ACME, "--member", "ann@example.org", "--right", "admin"]);
    shop.run(&["create", "globex", "--id", GLOBEX]);
    shop.db.execute(&format!(
        "INSERT INTO app.documents (tenant_id, id, title) VALUES ('{ACME}', 1, 'of acme'), ('{GLOBEX}', 1, 'of globex')"
    ));
    shop
}

static SHOP: LazyLock<Shop> = LazyLock::new(isolated);

#[test]
fn registry_3_tenant_membership_and_right_are_one_transaction() {
    let shop = shared(&SHOP);
    let rights = "SELECT u.email || ' ' || r.name FROM app.rights r JOIN app.users u ON u.id = r.user_id";
    assert_eq!(shop.db.strings(rights), ["ann@example.org admin"]);
    let refused =
        shop.tenantry(&["create", "initech", "--member", "bob@example.org", "--right", "a", "--right", "a"]).run();
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    assert_eq!(shop.db.count("SELECT count(*) FROM app.tenants WHERE name = 'initech'"), 0);
    assert_eq!(shop.db.count("SELECT count(*) FROM app.users WHERE email = 'bob@example.org'"), 0);
}

#[test]
fn registry_4_context_is_signed_and_verified_by_the_policy() {
    let shop = shared(&SHOP);
    for forged in [
        format!(
            "SET LOCAL tenantry.tenant = '{GLOBEX}'; SELECT 1 / count(*) FROM app.documents WHERE title = 'of globex'"
        ),
        format!("SET LOCAL tenantry.context = 'x.{GLOBEX}.00'; SELECT FROM app.documents"),
        "SELECT FROM tenantry.context_key".to_owned(),
        "CREATE TEMPORARY TABLE context_key (id text)".to_owned(),
    ] {
        assert!(!may(shop, ACME, &forged), "{forged}");
    }
    let policies = "SELECT count(*) FROM pg_policy WHERE NOT polpermissive \
                    AND pg_get_expr(polqual, polrelid) LIKE '%current_tenant()%' AND polrelid = 'app.documents'::regclass";
    assert_eq!(shop.db.count(policies), 1);
}

#[test]
fn registry_5_every_data_table_has_policies_and_queries_need_no_condition() {
    let shop = shared(&SHOP);
    assert_eq!(count(shop, ACME, "SELECT count(*) FROM app.documents WHERE title = 'of acme'"), 1);
    assert_eq!(count(shop, ACME, "SELECT count(*) FROM app.documents"), 1);
    let without = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' \
                   AND relname <> '__diesel_schema_migrations' AND NOT (relrowsecurity AND relforcerowsecurity) \
                   AND COALESCE(obj_description(oid, 'pg_class'), '') NOT LIKE 'tenantry: exempt%'";
    assert_eq!(shop.db.count(without), 0);
}

#[test]
fn registry_6_application_has_few_rights_and_migrations_run_as_the_owner() {
    let shop = shared(&SHOP);
    for refused in
        ["TRUNCATE app.documents", "DROP TABLE app.documents", "CREATE TABLE app.mine ()", "SELECT pg_read_file('x')"]
    {
        assert!(!may(shop, ACME, refused), "{refused}");
    }
    let owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'app'::regnamespace \
                  AND relkind = 'r' AND relname <> '__diesel_schema_migrations'";
    assert_eq!(shop.db.strings(owners), [shop.role("owner")]);
}

#[test]
fn registry_7_the_last_or_several_migrations_are_reverted_to_a_name() {
    let shop = isolated();
    let columns = || {
        shop.db.count(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('app.documents') AND attname = 'size'",
        )
    };
    shop.run(&["revert-all", "--steps", "1", "--yes"]);
    assert_eq!(columns(), 0);
    shop.run(&["migrate-all"]);
    assert_eq!(columns(), 1);
    shop.run(&["revert-all", "--to", "create_registry", "--yes"]);
    assert_eq!(shop.db.string("SELECT COALESCE(to_regclass('app.documents')::text, 'none')"), "none");
    shop.run(&["migrate-all"]);
    assert_eq!(shop.run(&["isolate", "--dry-run"]), "");
    assert_eq!(shop.db.count("SELECT count(*) FROM app.tenants"), 2);
}

#[test]
fn registry_9_each_missing_setting_is_named() {
    let shop = shared(&SHOP);
    let missing = Tenantry::new().arg("health-check").env_remove("DATABASE_URL").run();
    assert_ne!(missing.code, Some(0));
    assert!(missing.stderr.contains("DATABASE_URL"), "{}", missing.stderr);
    let missing = shop.tenantry(&["key", "install"]).run();
    assert_ne!(missing.code, Some(0));
    assert!(missing.stderr.contains("TENANTRY_CONTEXT_KEY"), "{}", missing.stderr);
    // Without a context, the application reads no row.
    let without = shop.application().batch_execute("SELECT FROM app.documents").unwrap_err().to_string();
    assert_eq!(without, "this transaction has no tenant context");
}
