//! `stats`

use diesel::connection::SimpleConnection;

use crate::support::{Database, fleet};

fn names(db: &Database, args: &[&str]) -> Vec<String> {
    let document = db.tenantry(["stats", "--format", "json"]).args(args).run().json();
    document["tenants"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

/// Tenants with 0, 1,000 and 10 rows in their largest tables.
fn sized() -> Database {
    let db = fleet(&["acme", "globex", "initech"]);
    db.execute(
        "CREATE TABLE globex.big AS SELECT i, repeat('x', 500) AS text FROM generate_series(1, 1000) AS i; \
         CREATE TABLE initech.one AS SELECT i FROM generate_series(1, 10) AS i; CREATE TABLE initech.two (); ANALYZE",
    );
    db
}

#[test]
fn tenants_are_sorted_by_the_chosen_column() {
    let db = sized();
    assert_eq!(names(&db, &[])[0], "globex");
    assert_eq!(names(&db, &["--sort", "rows", "--top", "2"]), ["globex", "initech"]);
    assert_eq!(names(&db, &["--sort", "tables", "--top", "1"]), ["initech"]);
    assert_eq!(names(&db, &["--sort", "name"]), ["acme", "globex", "initech"]);
    // The last one was created last.
    assert_eq!(names(&db, &["--sort", "changed"]).len(), 3);
    assert_eq!(names(&db, &["--match", "^i"]), ["initech"]);
    let output = db.tenantry(["stats", "--sort", "weight"]).run();
    output.assert_code(2);
    assert!(output.stderr.contains("dead-rows"), "{}", output.stderr);
}

#[test]
fn sizes_are_those_of_the_server() {
    let db = sized();
    let document = db.tenantry(["stats", "--format", "json"]).run().json();
    let globex = &document["tenants"][0];
    let bytes = db.count(
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
         WHERE relnamespace = 'globex'::regnamespace AND relkind = 'r'",
    );
    assert_eq!(globex["bytes"], bytes);
    let tables = db.count(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'globex'::regnamespace AND relkind = 'r' \
         AND relname <> '__diesel_schema_migrations'",
    );
    assert_eq!(globex["tables"], tables);
    assert_eq!(globex["state"], "active");
    assert!(globex["estimated_rows"].as_i64().unwrap() >= 1_000, "{globex}");
    assert!(globex["changed_at"].is_string(), "{globex}");
    assert_eq!((document["total_tenants"].as_i64(), document["estimated"].as_bool()), (Some(3), Some(false)));
    let total: i64 = document["tenants"].as_array().unwrap().iter().map(|it| it["bytes"].as_i64().unwrap()).sum();
    assert_eq!(document["total_bytes"], total);
}

#[test]
fn dead_rows_are_counted() {
    let db = sized();
    db.execute("ALTER TABLE globex.big SET (autovacuum_enabled = off)");
    db.execute("DELETE FROM globex.big WHERE i <= 400");
    let dead = || {
        // The session that deleted sends its statistics when it ends.
        let document = db.tenantry(["stats", "--sort", "dead-rows", "--format", "json"]).run().json();
        (document["tenants"][0]["name"] == "globex").then(|| document["tenants"][0]["dead_rows"].as_i64())
    };
    crate::support::eventually("the dead rows are counted", || dead() == Some(Some(400)));
}

#[test]
fn tenant_without_a_schema_has_no_size() {
    let db = sized();
    db.execute("DROP SCHEMA acme CASCADE");
    let output = db.tenantry(["stats", "--sort", "name"]).run();
    output.assert_code(0);
    let acme = output.stdout.lines().find(|line| line.starts_with("acme")).unwrap();
    assert_eq!(acme.split_whitespace().filter(|cell| *cell == "-").count(), 5, "{acme}");
}

#[test]
fn locked_table_does_not_block() {
    let db = sized();
    let mut other = db.connect();
    other.batch_execute("BEGIN; LOCK TABLE globex.big").unwrap();
    let document = db.tenantry(["stats", "--format", "json"]).run().json();
    assert_eq!(
        (document["estimated"].as_bool(), document["tenants"][0]["name"].as_str()),
        (Some(true), Some("globex"))
    );
}
