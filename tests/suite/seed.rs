//! `seed`: files with rows for tenants of development, in both tenancies.

use std::fs;

use tempfile::TempDir;

use crate::rows::{ACME, GLOBEX, Shop};
use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, run_with, set_up};

/// A directory with seeds.
fn seeds(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, sql) in files {
        fs::write(dir.path().join(name), sql).unwrap();
    }
    dir
}

fn seed(tenantry: Tenantry, seeds: &TempDir) -> Output {
    tenantry.arg("--seeds").arg(seeds.path()).run()
}

fn notes() -> Dir {
    Dir::new().add("2026-01-01-000000_create_notes", "CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);")
}

/// A database with tenants that have notes.
fn with(migrations: &Dir, tenants: &[&str]) -> Database {
    let db = set_up();
    run_with(&db, migrations, &[&["create"], tenants].concat()).assert_code(0);
    db
}

#[test]
fn schemas_of_tenants_get_the_rows_of_each_file() {
    let db = with(&notes(), &["acme", "globex"]);
    let dir = seeds(&[
        ("2_more.sql", "INSERT INTO notes VALUES (2, 'of ' || current_schema()) ON CONFLICT DO NOTHING;"),
        ("1_notes.sql", "INSERT INTO notes VALUES (1, 'first') ON CONFLICT DO NOTHING"),
        ("readme.txt", "no seed"),
    ]);
    let plan = seed(db.tenantry(["seed", "--all", "--dry-run", "--format", "json"]), &dir).json();
    assert_eq!(plan, serde_json::json!({"tenants": ["acme", "globex"], "files": ["1_notes.sql", "2_more.sql"]}));
    let unconfirmed = seed(db.tenantry(["seed", "--all"]), &dir);
    unconfirmed.assert_code(4);
    assert_eq!(db.count("SELECT count(*) FROM acme.notes"), 0);
    // They can run again.
    for _ in 0..2 {
        let output = seed(db.tenantry(["seed", "acme", "--yes"]), &dir);
        output.assert_code(0);
        assert!(output.stderr.contains("1 tenant seeded"), "{}", output.stderr);
    }
    assert_eq!(db.strings("SELECT body FROM acme.notes ORDER BY id"), ["first", "of acme"]);
    assert_eq!(db.count("SELECT count(*) FROM globex.notes"), 0);
    seed(db.tenantry(["seed", "--all", "--yes"]), &dir).assert_code(0);
    assert_eq!(db.strings("SELECT body FROM globex.notes ORDER BY id"), ["first", "of globex"]);
}

/// A file is one transaction. The tenants after a failure get their rows.
#[test]
fn failed_file_is_rolled_back_and_reported_with_its_line() {
    let db = with(&notes(), &["acme", "globex"]);
    db.execute("INSERT INTO acme.notes VALUES (3, 'existing')");
    let dir = seeds(&[
        ("1.sql", "INSERT INTO notes VALUES (1, 'first') ON CONFLICT DO NOTHING"),
        ("2.sql", "INSERT INTO notes VALUES (2, 'second');\nINSERT INTO notes VALUES (3, 'third')"),
        ("3.sql", "INSERT INTO notes VALUES (4, 'last')"),
    ]);
    let output = seed(db.tenantry(["seed", "--all", "--yes", "--format", "json"]), &dir);
    output.assert_code(1);
    let document = output.json();
    assert_eq!(document["seeded"], serde_json::json!(["globex"]));
    assert_eq!(document["failed"][0]["tenant"], "acme");
    assert!(document["failed"][0]["location"].as_str().unwrap().starts_with("2.sql"), "{document}");
    assert!(document["failed"][0]["message"].as_str().unwrap().contains("duplicate key"), "{document}");
    assert_eq!(db.strings("SELECT body FROM acme.notes ORDER BY id"), ["first", "existing"]);
    assert_eq!(db.count("SELECT count(*) FROM globex.notes"), 4);
    let dir = seeds(&[("1.sql", "SELECT 1;\nSELECT missing FROM notes;")]);
    let output = seed(db.tenantry(["seed", "acme", "--yes"]), &dir);
    output.assert_code(1);
    assert!(output.stderr.contains("acme: 1.sql:2: column \"missing\" does not exist"), "{}", output.stderr);
}

/// What is not to run in a transaction of the tool, or changes something outside, is refused.
#[test]
fn seeds_are_confined_to_their_tenant() {
    let db = with(&notes(), &["acme", "globex"]);
    for (sql, reason) in [
        ("COMMIT;", "COMMIT"),
        ("SET search_path = globex; INSERT INTO notes VALUES (1, 'x')", "search_path"),
        ("", "the file contains no statement"),
        ("SELECT 'unterminated", "unterminated"),
    ] {
        let output = seed(db.tenantry(["seed", "acme", "--yes"]), &seeds(&[("1.sql", sql)]));
        output.assert_code(2);
        assert!(output.stderr.contains(reason), "{sql}: {}", output.stderr);
    }
    let outside = seed(
        db.tenantry(["seed", "acme", "--yes"]),
        &seeds(&[("1.sql", "DO $$ BEGIN INSERT INTO globex.notes VALUES (1, 'x'); END $$")]),
    );
    outside.assert_code(1);
    assert!(outside.stderr.contains("outside"), "{}", outside.stderr);
    assert_eq!(db.count("SELECT count(*) FROM globex.notes"), 0);
    seed(db.tenantry(["seed", "acme", "--yes"]), &seeds(&[])).assert_code(2);
    let unknown = seed(db.tenantry(["seed", "acmee", "--yes"]), &seeds(&[("1.sql", "SELECT 1")]));
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("a tenant with a similar name is acme"), "{}", unknown.stderr);
    db.tenantry(["seed", "acme", "--yes", "--seeds", "/nonexistent"]).run().assert_code(2);
}

/// Code that a tenant's role attached to its table does not run as the connected superuser.
#[test]
fn triggers_run_as_the_owner_of_the_schema() {
    let db = with(&notes(), &["acme"]);
    let role = format!("{}_acme", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; ALTER SCHEMA acme OWNER TO {role}; ALTER TABLE acme.notes OWNER TO {role};
         CREATE FUNCTION acme.spy() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN NEW.body := current_user; RETURN NEW; END $$;
         CREATE TRIGGER spy BEFORE INSERT ON acme.notes FOR EACH ROW EXECUTE FUNCTION acme.spy()"
    ));
    let dir = seeds(&[("1.sql", "INSERT INTO notes VALUES (1, 'x')")]);
    seed(db.tenantry(["seed", "acme", "--yes"]), &dir).assert_code(0);
    assert_eq!(db.string("SELECT body FROM acme.notes"), role);
    db.execute(&format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn rows_of_tenants_belong_to_the_tenant_that_is_seeded() {
    let shop = Shop::isolated();
    let dir = seeds(&[(
        "1.sql",
        "INSERT INTO customers (id, email) VALUES (1, 'info@example.org') ON CONFLICT DO NOTHING;
         INSERT INTO orders (customer_id, number) SELECT id, 'n' FROM customers ON CONFLICT DO NOTHING;",
    )]);
    seed(shop.tenantry(&["seed", "acme", "--yes"]), &dir).assert_code(0);
    assert_eq!(shop.db.strings("SELECT DISTINCT tenant_id FROM app.customers"), [ACME]);
    seed(shop.tenantry(&["seed", "--all", "--yes"]), &dir).assert_code(0);
    // Each tenant's orders are of its own customer.
    assert_eq!(
        shop.db.strings("SELECT tenant_id || ' ' || count(*) FROM app.orders GROUP BY tenant_id ORDER BY 1"),
        [format!("{ACME} 1"), format!("{GLOBEX} 1")]
    );
    // It has the privileges of the application.
    for sql in [
        format!("INSERT INTO customers (tenant_id, email) VALUES ('{GLOBEX}', 'x')"),
        "DELETE FROM tenants".to_owned(),
        "TRUNCATE orders".to_owned(),
    ] {
        let refused = seed(shop.tenantry(&["seed", "acme", "--yes"]), &seeds(&[("1.sql", &sql)]));
        refused.assert_code(1);
    }
    seed(shop.tenantry(&["seed", "acme", "--yes"]), &seeds(&[("1.sql", "DELETE FROM orders")])).assert_code(0);
    assert_eq!(shop.db.strings("SELECT DISTINCT tenant_id FROM app.orders"), [GLOBEX]);
}

/// At the commit they would run as the connected role, and without the tenant.
#[test]
fn deferred_triggers_of_shared_tables_run_as_the_application_of_the_tenant() {
    let shop = Shop::isolated();
    shop.db.execute(
        "CREATE FUNCTION app.first_order() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO orders (customer_id, number) VALUES (NEW.id, current_user); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER first_order AFTER INSERT ON app.customers DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION app.first_order()",
    );
    let dir = seeds(&[("1.sql", "INSERT INTO customers (id, email) VALUES (1, 'info@example.org')")]);
    seed(shop.tenantry(&["seed", "acme", "--yes"]), &dir).assert_code(0);
    let order = shop.db.strings("SELECT tenant_id || ' ' || number FROM app.orders");
    assert_eq!(order, [format!("{ACME} {}", shop.role("user"))]);
}
