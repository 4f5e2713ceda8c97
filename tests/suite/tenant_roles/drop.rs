//! The role of a tenant is dropped with it, and a role with other uses is not.

use super::{Isolated, traces};
use crate::support::Database;

#[test]
#[ignore = "long: make test-long"]
fn a_drop_drops_the_role_and_its_privileges() {
    let isolated = Isolated::new();
    let role = isolated.role("acme");
    let dry = isolated.run(&["drop", "acme", "--dry-run"]);
    assert!(dry.stderr.contains(&format!("with 1 role: {role}")), "{}", dry.stderr);
    let json = isolated.run(&["drop", "acme", "--dry-run", "--format", "json"]).json();
    assert_eq!(json["drops"][0]["role"], role);
    isolated.db.execute(&format!("GRANT SELECT ON public.schema_run TO {role}"));
    isolated.run(&["drop", "acme", "--yes"]);
    assert_eq!(traces(&isolated.db, &role), 0);
    isolated.run(&["health-check"]);
}

#[test]
fn a_cleanup_drops_the_roles_and_the_group() {
    let isolated = Isolated::new();
    let name = isolated.db.name().to_owned();
    let output = isolated.db.tenantry(["cleanup", "--yes"]).run();
    output.assert_code(0);
    assert!(output.stderr.contains(&format!("role {name}_tenants dropped")), "{}", output.stderr);
    assert_eq!(traces(&isolated.db, &format!("{name}_")), 0);
}

#[test]
fn a_role_that_is_used_in_other_databases_is_not_dropped() {
    let isolated = Isolated::new();
    let (role, other) = (isolated.role("acme"), Database::new());
    other.execute(&format!("CREATE TABLE t (); GRANT SELECT ON t TO {role}"));
    for args in [&["drop", "acme", "--yes"][..], &["isolate", "acme", "--undo", "--yes"]] {
        let output = isolated.db.tenantry(args).run();
        output.assert_code(1);
        let expected = format!("role \"{role}\" has privileges or objects in other databases: {}", other.name());
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
    }
    assert_eq!(isolated.db.count("SELECT count(*) FROM acme.users"), 1);
    other.execute(&format!("DROP OWNED BY {role}"));
    isolated.run(&["drop", "acme", "--yes"]);
}

#[test]
fn objects_of_the_role_outside_of_the_schema_are_not_dropped() {
    let isolated = Isolated::new();
    let role = isolated.role("acme");
    isolated.db.execute(&format!("CREATE TABLE public.precious (); ALTER TABLE public.precious OWNER TO {role}"));
    let output = isolated.db.tenantry(["drop", "acme", "--yes"]).run();
    output.assert_code(1);
    assert!(output.stderr.contains("owns objects outside of the schema: table public.precious"), "{}", output.stderr);
    assert_eq!(isolated.db.count("SELECT count(*) FROM acme.users"), 1);
    // Those in the schema are dropped with it.
    isolated.db.execute(&format!(
        "DROP TABLE public.precious; ALTER TABLE acme.users OWNER TO {role}; GRANT CREATE ON SCHEMA acme TO {role}"
    ));
    isolated.run(&["drop", "acme", "--yes"]);
    assert_eq!(traces(&isolated.db, &role), 0);
}

/// The schema, the row and the role are dropped in one transaction.
#[test]
fn a_killed_drop_is_resumed() {
    let isolated = Isolated::new();
    let role = isolated.role("acme");
    let mut other = isolated.db.connect();
    // The drop has dropped the schema when it waits for the row of the role.
    diesel::connection::SimpleConnection::batch_execute(
        &mut other,
        &format!("BEGIN; ALTER ROLE {role} CONNECTION LIMIT 5"),
    )
    .unwrap();
    let running = isolated.db.tenantry(["drop", "acme", "--yes"]).spawn();
    isolated.db.wait_for("SELECT count(*) FROM pg_locks WHERE NOT granted", 1);
    running.kill();
    running.wait();
    diesel::connection::SimpleConnection::batch_execute(&mut other, "ROLLBACK").unwrap();
    isolated.db.tenantry(["drop", "acme", "--yes", "--if-exists"]).run().assert_code(0);
    assert_eq!(traces(&isolated.db, &role), 0);
    assert_eq!(isolated.db.count("SELECT count(*) FROM schema_tracker WHERE name = 'acme'"), 0);
}

#[test]
#[ignore = "long: make test-long"]
fn untracking_keeps_the_role() {
    let isolated = Isolated::new();
    let role = isolated.role("acme");
    let output = isolated.run(&["untrack", "acme", "--yes"]);
    assert!(output.stderr.contains(&format!("1 role kept: {role}")), "{}", output.stderr);
    assert!(isolated.may("acme", "SELECT FROM users"));
    assert_eq!(isolated.codes(), ["tenant-role.orphaned"]);
    // The role is still marked, so that it is the tenant's again.
    isolated.run(&["adopt", "acme"]);
    let output = isolated.run(&["isolate", "acme", "--yes"]);
    assert!(!output.stdout.contains(&role), "{}", output.stdout);
    isolated.run(&["health-check"]);
}
