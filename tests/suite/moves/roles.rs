//! The login role of a tenant moves along.

use super::support::{Pair, logical};
use crate::support::{Database, set_up};

/// A role of a tenant, in one word for each property.
fn role(db: &Database) -> String {
    db.string(
        "SELECT concat_ws(' ', r.rolname, r.rolcanlogin, has_schema_privilege(r.oid, 'acme', 'USAGE'), \
         has_table_privilege(r.oid, 'acme.users', 'SELECT'), a.rolpassword IS NOT NULL) \
         FROM schema_tracker t JOIN pg_roles r ON r.rolname = t.role_name JOIN pg_authid a ON a.oid = r.oid WHERE t.name = 'acme'",
    )
}

fn isolated(main: Database, eu: Database) -> Pair {
    main.tenantry(["create", "acme"]).run().assert_code(0);
    main.tenantry(["isolate", "acme", "--yes"]).run().assert_code(0);
    Pair::of(main, eu)
}

#[test]
fn a_role_moves_to_another_database_of_the_server() {
    let pair = isolated(set_up(), set_up());
    let before = role(&pair.main);
    let output = pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy"]).run();
    output.assert_code(0);
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    assert_eq!(role(&pair.eu), before);
    pair.eu.tenantry(["isolate", "acme", "--dry-run"]).run().assert_code(0);
    pair.main.tenantry(["move", "finish", "acme", "--yes"]).run().assert_code(0);
    assert_eq!(role(&pair.eu), before);
    pair.eu.tenantry(["drop", "acme", "--yes"]).run();
}

#[test]
fn a_role_is_made_on_another_server_with_its_password() {
    let eu = Database::on(logical());
    let pair = isolated(set_up(), eu);
    let before = role(&pair.main);
    let name = pair.main.string("SELECT role_name FROM schema_tracker WHERE name = 'acme'");
    let verifier = |db: &Database| db.string(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{name}'"));
    let password = verifier(&pair.main);
    pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy"]).run().assert_code(0);
    assert_eq!(role(&pair.eu), before);
    assert_eq!(verifier(&pair.eu), password);
    // It cannot log in on the earlier server, and is dropped there with the old schema.
    assert_eq!(pair.main.string(&format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{name}'")), "false");
    pair.main.tenantry(["move", "finish", "acme", "--yes"]).run().assert_code(0);
    assert_eq!(pair.main.count(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'")), 0);
    // A role of another kind with its name is refused.
    pair.main.execute(&format!("CREATE ROLE {name}"));
    let refused = pair.main.tenantry(["move", "acme", "--to", "main", "--method", "copy"]).run();
    assert!(refused.assert_code(3).stderr.contains("exists on server main for another purpose"), "{}", refused.stderr);
    pair.main.execute(&format!("DROP ROLE {name}"));
    pair.eu.tenantry(["drop", "acme", "--yes"]).run();
}
