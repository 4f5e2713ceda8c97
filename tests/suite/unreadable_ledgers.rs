//! Tenants whose ledgers cannot be read: without privileges, locked, or damaged.

use diesel::connection::SimpleConnection;

use crate::support::{Database, Output, fleet, url_of_a_stranger};

/// Checks the finding and its fix, and the error of `migrate-one` and its hint.
#[track_caller]
fn check(db: &Database, url: &str, problem: &str, fix: &str) {
    let run = |args: &[&str]| -> Output { db.tenantry(args).env("DATABASE_URL", url).run() };
    let found = run(&["health-check", "--match", "acme", "--format", "json"]).json();
    let finding = &found["findings"][0];
    assert_eq!(finding["code"], "unreadable", "{found}");
    let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    assert!(text("message").starts_with(&format!("cannot read the migration ledger: {problem}")), "{finding}");
    assert!(text("fix").contains(fix), "{finding}");
    let migrated = run(&["migrate-one", "acme"]);
    migrated.assert_code(1);
    let error = format!("error: tenant acme: cannot read the migration ledger: {problem}");
    assert!(migrated.stderr.contains(&error), "{}", migrated.stderr);
    assert!(migrated.stderr.contains(fix), "{}", migrated.stderr);
}

#[test]
fn the_missing_privileges_are_named() {
    let db = fleet(&["acme"]);
    let url = url_of_a_stranger(&db);
    let role = format!("stranger_{}", db.name());
    let problem = format!("permission denied for role \"{role}\"");
    let usage = format!("GRANT USAGE ON SCHEMA \"acme\" TO \"{role}\"");
    let select = format!("GRANT SELECT ON \"acme\".__diesel_schema_migrations TO \"{role}\"");
    check(&db, &url, &problem, &format!("run as the owner: {usage}; {select}"));
    db.execute(&usage);
    check(&db, &url, &problem, &format!("run as the owner: {select}"));
    db.execute(&format!("REVOKE USAGE ON SCHEMA acme FROM {role}; {select}"));
    check(&db, &url, &problem, &format!("run as the owner: {usage}"));
    db.execute(&usage);
    let list = db.tenantry(["list"]).env("DATABASE_URL", &url).run();
    assert!(!list.assert_code(0).stdout.contains("unreadable"), "{}", list.stdout);
}

#[test]
#[ignore = "long: make test-long"]
fn the_holder_of_a_lock_is_named() {
    let db = fleet(&["acme"]);
    let mut holder = db.connect();
    holder
        .batch_execute("SET application_name TO 'nightly report'; BEGIN; LOCK acme.__diesel_schema_migrations")
        .unwrap();
    let pid = db.string("SELECT pid::text FROM pg_stat_activity WHERE application_name = 'nightly report'");
    check(&db, &db.url(), "locked, held by ", &format!("SELECT pg_terminate_backend({pid})"));
    drop(holder);
}

#[test]
fn a_damaged_ledger_is_reported_with_the_servers_message() {
    let db = fleet(&["acme", "globex"]);
    db.execute(
        "UPDATE pg_catalog.pg_class SET relfilenode = 4294967200 \
         WHERE oid = 'acme.__diesel_schema_migrations'::regclass",
    );
    check(&db, &db.url(), "could not open file", "check the server log");
    let list = db.tenantry(["list"]).run();
    assert!(list.stdout.contains("unreadable"), "{}", list.stdout);
    db.tenantry(["migrate-one", "globex"]).run().assert_code(0);
}
