//! Items of tenants, as a web application has them.

use std::sync::LazyLock;

use super::{count, fill, may, shared};
use crate::rows::Shop;
use crate::support::migrations::Dir;

/// The ids of three tenants.
const TENANTS: [(&str, &str); 3] = [
    ("acme", "a0000000-0000-4000-8000-000000000001"),
    ("globex", "b0000000-0000-4000-8000-000000000002"),
    ("hooli", "c0000000-0000-4000-8000-000000000003"),
];

fn items() -> Shop {
    let shop = Shop::with(Dir::new().add(
        "2026-01-01-000000_create_items",
        "CREATE TABLE tenants (id uuid PRIMARY KEY, name text NOT NULL UNIQUE);
         CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL UNIQUE);",
    ));
    shop.run(&["isolate", "--yes"]);
    shop.tenantry(&["key", "install"]).env("TENANTRY_CONTEXT_KEY", shop.key.reveal()).run().assert_code(0);
    for (name, id) in TENANTS {
        shop.run(&["create", name, "--id", id]);
    }
    let seeds = tempfile::tempdir().unwrap();
    std::fs::write(
        seeds.path().join("items.sql"),
        "INSERT INTO items (title) SELECT 'item ' || i FROM generate_series(1, 5) i;",
    )
    .unwrap();
    shop.run(&["seed", "--all", "--yes", "--seeds", seeds.path().to_str().unwrap()]);
    shop
}

static SHOP: LazyLock<Shop> = LazyLock::new(items);

#[test]
fn items_1_application_has_a_role_and_public_has_no_rights() {
    let shop = shared(&SHOP);
    let public = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE relnamespace = 'app'::regnamespace AND a.grantee = 0";
    assert_eq!(shop.db.count(public), 0);
    let privileges = fill(
        shop,
        "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM pg_class c, aclexplode(c.relacl) a \
         WHERE c.oid = 'app.items'::regclass AND a.grantee = '{user}'::regrole",
    );
    assert_eq!(shop.db.string(&privileges), "DELETE INSERT SELECT UPDATE");
}

#[test]
fn items_2_tenants_and_items_are_under_row_security() {
    let shop = shared(&SHOP);
    let tables = "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity ORDER BY 1";
    assert_eq!(shop.db.strings(tables), ["items", "tenants"]);
    assert_eq!(count(shop, TENANTS[0].1, "SELECT count(*) FROM app.tenants"), 1);
}

#[test]
fn items_3_title_is_unique_within_its_tenant() {
    let shop = shared(&SHOP);
    assert!(!may(shop, TENANTS[0].1, "INSERT INTO app.items (title) VALUES ('item 1')"));
    assert!(may(shop, TENANTS[0].1, "INSERT INTO app.items (title) VALUES ('item 6')"));
    assert_eq!(shop.db.count("SELECT count(*) FROM app.items WHERE title = 'item 1'"), 3);
}

#[test]
fn items_4_seeds_give_each_of_three_tenants_five_items() {
    let shop = shared(&SHOP);
    for (name, id) in TENANTS {
        assert_eq!(count(shop, id, "SELECT count(*) FROM app.items"), 5, "{name}");
    }
    assert_eq!(shop.db.count("SELECT count(*) FROM app.items"), 15);
}

#[test]
fn items_5_tenant_of_a_request_is_a_valid_id_and_ends_with_its_transaction() {
    let shop = shared(&SHOP);
    for invalid in ["", "acme", "' OR true --", "a0000000-0000-4000-8000-00000000000g"] {
        assert!(invalid.parse::<tenantry::TenantId>().is_err(), "{invalid:?}");
    }
    let unknown = "d0000000-0000-4000-8000-000000000004";
    assert_eq!(count(shop, unknown, "SELECT count(*) FROM app.items"), 0);
    assert!(!may(shop, unknown, "INSERT INTO app.items (title) VALUES ('x')"));
}

#[test]
fn items_6_set_up_start_stop_and_clean_are_commands() {
    let makefile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
    assert!(makefile.contains("test-web"), "the application is tested");
    let help = crate::support::Tenantry::new().args(["local", "--help"]).run();
    help.assert_code(0);
    for command in ["start", "stop", "psql"] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
    }
    let shop = items();
    shop.run(&["cleanup", "--yes"]);
    assert_eq!(shop.db.count("SELECT count(*) FROM app.items"), 0);
}
