//! Fleets for tests, and assertions about them.

use std::sync::OnceLock;

use super::migrations::Dir;
use super::{Database, Output, Tenantry};

/// A database with a tracker and no tenants.
pub fn set_up() -> Database {
    static TEMPLATE: OnceLock<Database> = OnceLock::new();
    let make = || {
        let db = Database::new();
        db.tenantry(["migrate-public"]).run().assert_code(0);
        db
    };
    TEMPLATE.get_or_init(make).copy()
}

/// The number of public migrations of this repository.
pub fn public_migrations() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/public");
    std::fs::read_dir(folder).expect("the public migrations").count() as i64
}

/// A database with a tracker and these tenants, all up to date with the migrations of this repository.
///
/// The fleets that most tests use are created once and copied.
pub fn fleet(tenants: &[&str]) -> Database {
    static ACME: OnceLock<Database> = OnceLock::new();
    static ACME_AND_GLOBEX: OnceLock<Database> = OnceLock::new();

    let make = || {
        let db = set_up();
        db.tenantry(["create"]).args(tenants).run().assert_code(0);
        db
    };
    match tenants {
        [] => set_up(),
        ["acme"] => ACME.get_or_init(make).copy(),
        ["acme", "globex"] => ACME_AND_GLOBEX.get_or_init(make).copy(),
        _ => make(),
    }
}

/// Adds tenants `t00000`, `t00001` and so on in SQL: a schema and a ledger with these versions.
pub fn small_fleet(db: &Database, tenants: usize, versions: &[&str]) {
    let ledger = versions.iter().map(|version| format!("(''{version}'')")).collect::<Vec<_>>().join(", ");
    for chunk in (0..tenants).collect::<Vec<_>>().chunks(200) {
        let (first, last) = (chunk[0], chunk[chunk.len() - 1]);
        db.execute(&format!(
            "DO $$ BEGIN FOR n IN {first}..{last} LOOP \
             EXECUTE format('CREATE SCHEMA t%1$s; CREATE TABLE t%1$s.__diesel_schema_migrations (version varchar(50) \
             PRIMARY KEY NOT NULL, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP); \
             INSERT INTO t%1$s.__diesel_schema_migrations (version) VALUES {ledger}', lpad(n::text, 5, '0')); \
             INSERT INTO public.schema_tracker (name, state) VALUES ('t' || lpad(n::text, 5, '0'), 'active'); \
             END LOOP; END $$"
        ));
    }
}

/// The tenant migrations of an older release, without the last two.
pub fn older() -> Dir {
    let dir = Dir::copy_of_tenant();
    for name in dir.names().iter().rev().take(2) {
        dir.remove(name);
    }
    dir
}

/// Adds tenants as an older release creates them.
pub fn create_older(db: &Database, tenants: &[&str]) {
    with(db, &older(), &["create"]).args(tenants).run().assert_code(0);
}

/// A command with a directory of tenant migrations, whose path snapshots show as `MIGRATIONS`.
pub fn with(db: &Database, migrations: &Dir, args: &[&str]) -> Tenantry {
    let path = migrations.path().to_string_lossy();
    db.tenantry(args).args(["--tenant-migrations", &path]).hide(path, "MIGRATIONS")
}

/// Runs a command with a directory of tenant migrations.
#[track_caller]
pub fn run_with(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    with(db, migrations, args).run()
}

/// The schemas that are neither PostgreSQL's own nor `public`, sorted.
pub fn schemas(db: &Database) -> Vec<String> {
    db.strings("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public$)' ORDER BY 1")
}

/// Asserts that each tenant has all of these tables and the ledger row, or none of them.
pub fn assert_whole(db: &Database, tables: &[&str], version: &str) {
    for tenant in db.strings("SELECT name FROM schema_tracker WHERE to_regnamespace(quote_ident(name)) IS NOT NULL") {
        // In one statement, because the session of a killed process may commit at any moment; and from catalog rows,
        // which have the same snapshot as the ledger: `to_regclass` uses a newer one.
        let found = db.strings(&format!(
            "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = '{tenant}'::regnamespace AND relname = wanted) \
             FROM unnest('{{{}}}'::text[]) AS wanted \
             UNION ALL SELECT EXISTS (SELECT FROM {tenant}.__diesel_schema_migrations WHERE version = '{version}')",
            tables.join(","),
        ));
        assert_eq!(found.len(), tables.len() + 1);
        assert!(found.iter().all(|there| *there == found[0]), "{tenant} is in between: {found:?}");
    }
}

/// The URL of a database for a new role that may use the tracker, but not the tenants.
pub fn url_of_a_stranger(db: &Database) -> String {
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    db.url().replace("postgresql://postgres@", &format!("postgresql://{role}@"))
}
