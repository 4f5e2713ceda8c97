//! Returning a tenant, and dropping old schemas.

use super::support::{Pair, contents, fill};
use crate::docs::documents::problems;
use crate::support::schemas;

fn moved() -> Pair {
    let pair = Pair::new();
    fill(&pair.main, "acme");
    pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy"]).run().assert_code(0);
    pair
}

#[test]
fn a_tenant_returns_if_nothing_was_written() {
    let pair = moved();
    let before = contents(&pair.eu, "acme");
    let output = pair.main.tenantry(["move", "back", "acme", "--format", "json"]).run();
    let json = output.assert_code(0).json();
    assert_eq!(problems("move", &json), [""; 0]);
    assert_eq!(
        (&json["moved"][0]["from"], &json["moved"][0]["to"], &json["moved"][0]["method"]),
        (&"eu".into(), &"main".into(), &"back".into())
    );
    assert_eq!(pair.placement("acme"), "main active 3");
    assert_eq!(pair.states("acme"), ["active", ""]);
    assert_eq!(contents(&pair.main, "acme"), before);
    assert_eq!(pair.old_schemas(), [""; 0]);
    pair.assert_clean();
    // And forth again.
    pair.main.tenantry(["move", "back", "acme"]).run().assert_code(0);
    assert_eq!(pair.placement("acme"), "eu active 4");
}

#[test]
fn a_tenant_that_was_written_to_does_not_return() {
    let pair = moved();
    pair.eu.execute("UPDATE acme.users SET full_name = 'changed' WHERE id = 1");
    let output = pair.main.tenantry(["move", "back", "acme"]).run();
    output.assert_code(3);
    assert!(output.stderr.contains("tenant acme was changed since its move to server eu: users"), "{}", output.stderr);
    assert!(output.stderr.contains("move acme --to main"), "{}", output.stderr);
    assert_eq!(pair.placement("acme"), "eu active 2");
    assert_eq!(pair.states("acme"), ["", "active"]);
    pair.assert_clean();
    pair.eu.execute("INSERT INTO acme.users (email, full_name) VALUES ('after@x', 'n')");
    // As the hint says, with its changes.
    pair.main.tenantry(["move", "acme", "--to", "main", "--method", "copy"]).run().assert_code(0);
    assert_eq!(pair.main.string("SELECT full_name FROM acme.users WHERE id = 1"), "changed");
}

#[test]
fn old_schemas_are_dropped_when_that_is_confirmed() {
    let pair = moved();
    let status = pair.main.tenantry(["move", "status", "--format", "json"]).run();
    assert_eq!(problems("move-status", &status.assert_code(0).json()), [""; 0]);
    let one = status.json()["moves"][0].clone();
    assert_eq!((&one["state"], &one["open"], &one["verified"]), (&"settled".into(), &false.into(), &true.into()));
    // Its time has not passed.
    let none = pair.main.tenantry(["move", "finish", "--yes"]).run();
    assert!(none.assert_code(0).stderr.contains("0 old schemas dropped"), "{}", none.stderr);
    pair.main.tenantry(["move", "finish", "acme"]).run().assert_code(4);
    let plan = pair.main.tenantry(["move", "finish", "acme", "--dry-run", "--format", "json"]).run();
    assert_eq!(problems("move-finish---dry-run", &plan.assert_code(0).json()), [""; 0]);
    assert_eq!(pair.old_schemas().len(), 1);
    // The old schema is no orphan.
    pair.main.tenantry(["health-check", "--server", "main"]).run();
    pair.main.tenantry(["move", "finish", "acme", "--yes"]).run().assert_code(0);
    assert_eq!(schemas(&pair.main), ["globex"]);
    pair.main.tenantry(["move", "finish", "acme", "--yes"]).run().assert_code(3);
    pair.main.tenantry(["move", "back", "acme"]).run().assert_code(3);
}

#[test]
fn old_schemas_whose_time_has_passed_are_dropped() {
    let pair = Pair::new();
    pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy", "--keep-source", "0s"]).run().assert_code(0);
    pair.main.tenantry(["move", "globex", "--to", "eu", "--method", "copy"]).run().assert_code(0);
    assert_eq!(pair.old_schemas().len(), 2);
    let output = pair.main.tenantry(["move", "finish", "--yes", "--format", "json"]).run();
    assert_eq!(output.assert_code(0).json()["finished"], serde_json::json!(["acme"]));
    assert_eq!(problems("move-finish", &output.json()), [""; 0]);
    assert_eq!(pair.old_schemas().len(), 1);
}
