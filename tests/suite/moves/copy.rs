//! The method `copy`.

use super::support::{Pair, contents, fill};

#[test]
fn a_copied_tenant_is_the_same_on_the_target() {
    let pair = Pair::new();
    fill(&pair.main, "acme");
    pair.main.execute("UPDATE schema_tracker SET labels = '{\"plan\": \"gold\"}' WHERE name = 'acme'");
    let row = "SELECT (to_jsonb(t) - 'state')::text FROM schema_tracker t WHERE name = 'acme'";
    let (before, tracked) = (contents(&pair.main, "acme"), pair.main.string(row));
    let moved = pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy", "--verify", "before"]).run();
    moved.assert_code(0);
    assert!(moved.stderr.contains("acme moved to server eu (copy, writes blocked for "), "{}", moved.stderr);
    assert!(moved.stderr.contains("rows compared"), "{}", moved.stderr);
    assert_eq!(contents(&pair.eu, "acme"), before);
    assert_eq!(pair.eu.string(row), tracked);
    assert_eq!(pair.states("acme"), ["", "active"]);
    assert_eq!(pair.placement("acme"), "eu active 2");
    pair.assert_clean();
    assert_eq!(pair.eu.count("SELECT count(*) FROM pg_proc WHERE proname ~ 'tenantry'"), 0);
    // The copy of the directory is current.
    assert_eq!(pair.eu.string("SELECT epoch FROM schema_placement WHERE tenant = 'acme'"), "2");
    // New ids follow the old ones.
    pair.eu.execute(
        "INSERT INTO acme.extra (note) VALUES ('new'); INSERT INTO acme.users (email, full_name) VALUES ('new@x', 'n')",
    );
    let old = pair.old_schemas();
    assert_eq!(old.len(), 1);
    assert_eq!(contents(&pair.main, &old[0]), before);
}
