//! `place`: moves that even a fleet out.

use super::support::Pair;
use crate::support::{fleet, set_up};

#[test]
fn tenants_are_evened_out_by_the_printed_commands() {
    let pair = Pair::of(fleet(&["acme", "globex", "hooli", "initech"]), set_up());
    let plan = pair.main.tenantry(["place"]).run();
    assert_eq!(plan.assert_code(0).stdout, "tenantry move --to eu acme globex\n");
    assert!(plan.stderr.contains("2 moves"), "{}", plan.stderr);
    assert_eq!(pair.main.count("SELECT count(*) FROM schema_move"), 0);
    let words: Vec<&str> = plan.stdout.split_whitespace().skip(1).collect();
    pair.main.tenantry(words).run().assert_code(0);
    assert_eq!(pair.placement("globex"), "eu active 2");
    let again = pair.main.tenantry(["place", "--format", "json"]).run();
    assert_eq!(again.assert_code(0).json(), serde_json::json!({"moves": [], "commands": []}));
    // A server that is drained is emptied.
    pair.main.tenantry(["server", "drain", "eu"]).run().assert_code(0);
    let drained = pair.main.tenantry(["place", "--by", "bytes", "--format", "json"]).run().json();
    assert_eq!(crate::docs::documents::problems("place", &drained), [""; 0]);
    assert_eq!(drained["moves"].as_array().map(Vec::len), Some(2));
    assert_eq!(drained["moves"][0]["to"], "main");
}
