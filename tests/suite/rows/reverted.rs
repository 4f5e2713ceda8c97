//! Reverts of migrations of shared tables.

use super::{ACME, Shop, shop};
use crate::support::migrations::Dir;

/// The shop's migrations, and others after the isolation.
fn later() -> Dir {
    shop()
        .add(
            "2026-02-01-000000_create_invoices",
            "CREATE TABLE invoices (id bigint PRIMARY KEY, number text UNIQUE);
             ALTER TABLE orders ADD CONSTRAINT orders_total_number UNIQUE (total, number);",
        )
        .down("ALTER TABLE orders DROP CONSTRAINT orders_total_number; DROP TABLE invoices;")
        .add("2026-02-02-000000_replace_view", "CREATE TABLE notes (id bigint PRIMARY KEY); DROP TABLE invoices;")
        .down("DROP TABLE notes; CREATE TABLE invoices (id bigint PRIMARY KEY, number text UNIQUE);")
}

/// The constraints, policies and owners of the shared tables, and what isolation recorded.
fn structure(shop: &Shop) -> Vec<String> {
    shop.db.strings(
        "SELECT c.relname || ' ' || pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
         WHERE c.relnamespace = 'app'::regnamespace \
         UNION ALL SELECT c.relname || ' ' || polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid \
         UNION ALL SELECT relname || ' ' || relowner::regrole || ' ' || relforcerowsecurity FROM pg_class \
         WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p') \
         UNION ALL SELECT concat_ws(' ', 'replaced', table_name, kind, name, definition) FROM row_isolation ORDER BY 1",
    )
}

#[test]
fn tables_are_isolated_after_a_revert_to_a_named_migration() {
    let shop = Shop::isolated();
    let run = |args: &[&str]| {
        let output = shop.tenantry(args).env("TENANTRY_TENANT_MIGRATIONS", later().path()).run();
        output.assert_code(0);
        output
    };
    let states: Vec<Vec<String>> = ["create_shop", "create_invoices", "replace_view"]
        .iter()
        .map(|to| {
            run(&["migrate-all", "--to", to]);
            structure(&shop)
        })
        .collect();
    shop.db.execute(&format!("INSERT INTO app.customers (tenant_id, email) VALUES ('{ACME}', 'info@acme.example')"));
    assert!(states[1].iter().any(|line| line.starts_with("replaced invoices ")), "{:?}", states[1]);
    let plan = run(&["revert-all", "--to", "create_invoices", "--dry-run"]);
    assert!(plan.stderr.contains("2026-02-02-000000_replace_view: 1 tenant"), "{}", plan.stderr);
    assert_eq!(structure(&shop), states[2]);
    for (args, expected) in [
        (&["revert-all", "--to", "create_invoices", "--yes"][..], &states[1]),
        (&["revert-one", "app", "--to", "create_shop", "--yes"], &states[0]),
        (&["migrate-all"], &states[2]),
        (&["revert-one", "app", "--steps", "2", "--yes"], &states[0]),
    ] {
        run(args);
        assert_eq!(&structure(&shop), expected, "{args:?}");
        assert_eq!(run(&["isolate", "--dry-run"]).stdout, "", "{args:?}");
        run(&["health-check", "--ignore", "server.cve", "--ignore", "missing-migrations"]);
    }
    assert_eq!(shop.db.count("SELECT count(*) FROM app.customers"), 1, "rows of other tables are unchanged");
    // The records do not outlive their tables: nothing of them is restored.
    run(&["isolate", "--undo", "--yes"]);
    assert_eq!(shop.db.count("SELECT count(*) FROM row_isolation"), 0);
}

/// A revert that fails changes nothing, and can be repeated.
#[test]
fn failed_revert_leaves_the_tables_isolated() {
    let shop = Shop::isolated();
    let failing = shop_with_down("SELECT 1 / 0;");
    let with = |dir: &Dir, args: &[&str]| shop.tenantry(args).env("TENANTRY_TENANT_MIGRATIONS", dir.path()).run();
    with(&failing, &["migrate-all"]).assert_code(0);
    let before = structure(&shop);
    let failed = with(&failing, &["revert-all", "--steps", "1", "--yes"]);
    failed.assert_code(1);
    assert!(failed.stderr.contains("division by zero"), "{}", failed.stderr);
    assert_eq!(structure(&shop), before);
    with(&failing, &["health-check", "--ignore", "server.cve"]).assert_code(0);
}

fn shop_with_down(down: &str) -> Dir {
    shop().add("2026-02-01-000000_create_notes", "CREATE TABLE notes (id bigint PRIMARY KEY);").down(down)
}
