//! `psql`

use crate::support::{Database, Output, binaries, fleet};

fn psql(db: &Database, args: &[&str]) -> Output {
    let path = std::env::join_paths([binaries().folder()]).unwrap();
    db.tenantry(["psql"]).args(args).env("PATH", path).env("PSQLRC", "/dev/null").run()
}

#[test]
fn psql_opens_in_the_schema_of_the_tenant() {
    let db = fleet(&["acme", "globex"]);
    let output = psql(&db, &["globex", "--extension-schema", "public", "--", "-XAtc", "SELECT current_schemas(false)"]);
    assert_eq!((output.stdout.trim(), output.code), ("{globex,public}", Some(0)), "{}", output.stderr);
    // The exit code is that of psql.
    assert_eq!(psql(&db, &["acme", "--", "-Xc", "SELECT nonsense"]).code, Some(1));
}

#[test]
fn unusual_names_are_the_schema() {
    let db = fleet(&[]);
    let name = r#"a "b\c', d"#;
    db.tenantry(["create", "--any-name", name]).run().assert_code(0);
    let output = psql(&db, &[name, "--", "-XAtc", "SELECT current_schema()"]);
    assert_eq!(output.stdout.trim(), name, "{}", output.stderr);
}

#[test]
fn read_only_transactions_cannot_write() {
    let db = fleet(&["acme"]);
    let create = ["acme", "--read-only", "--", "-Xc", "CREATE TABLE t ()"];
    let output = psql(&db, &create);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("read-only transaction"), "{}", output.stderr);
    assert_eq!(psql(&db, &["acme", "--", "-Xc", "CREATE TABLE t ()"]).code, Some(0));
    assert_eq!(db.count("SELECT count(*) FROM pg_tables WHERE schemaname = 'acme' AND tablename = 't'"), 1);
}

#[test]
fn unknown_tenant_is_refused_with_the_closest_name() {
    let db = fleet(&["acme"]);
    let output = psql(&db, &["acm", "--", "-Xc", "SELECT 1"]);
    output.assert_code(3);
    assert!(output.stderr.contains("a tenant with a similar name is acme"), "{}", output.stderr);
}

#[test]
fn pooler_that_ignores_the_path_is_refused() {
    let db = fleet(&["acme"]);
    let pooler = crate::support::pgbouncer::PgBouncer::with_settings(
        crate::support::server(),
        &[("ignore_startup_parameters", "options,extra_float_digits")],
    );
    let path = std::env::join_paths([binaries().folder()]).unwrap();
    let output = db
        .tenantry(["psql", "acme", "--", "-Xc", "CREATE TABLE t ()"])
        .env("PATH", path)
        .env("DATABASE_URL", pooler.url(db.name()))
        .run();
    output.assert_code(3);
    assert!(output.stderr.contains("does not get the search_path of schema acme"), "{}", output.stderr);
    assert!(output.stderr.contains("not through a pooler"), "{}", output.stderr);
    assert_eq!(db.count("SELECT count(*) FROM pg_tables WHERE tablename = 't'"), 0);
}

#[test]
fn missing_program_is_an_error() {
    let db = fleet(&["acme"]);
    let output = db.tenantry(["psql", "acme"]).env("PATH", "/nowhere").run();
    output.assert_code(3);
    assert!(output.stderr.contains("cannot run psql"), "{}", output.stderr);
}
