//! Servers that are down, and what is left of them.

use super::fleet::{Fleet, logical, slots, start, subscriptions};
use super::{PLANS, ROWS};
use crate::support::{Database, eventually};

/// The proof of issue D 3: a region that is removed while it is down leaves no slot behind, and has equal rows when it is
/// back.
#[test]
fn a_server_removed_while_down_leaves_no_slot_and_returns_with_equal_rows() {
    // Removed with the test run.
    let far: &'static tenantry::local::Ephemeral = Box::leak(Box::new(start()));
    let fleet = Fleet::of(Database::on(logical()), vec![Database::on(far)]);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.execute("CREATE TABLE orders (id int PRIMARY KEY)");
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small'), (2, 'large')");
    eu.execute("INSERT INTO orders VALUES (1)");
    fleet.run("shared add plans", 0);
    fleet.run("shared add orders --from-regions", 0);
    assert_eq!((slots(&fleet.main), subscriptions(&fleet.main)), (1, 1));

    far.stop_immediate().unwrap();
    let unreachable = fleet.run("shared add plans", 5);
    assert!(unreachable.stderr.contains("server eu cannot be reached"), "{}", unreachable.stderr);
    let status = fleet.run("shared status --format json", 1).json();
    assert_eq!(status["findings"][0]["kind"], "shared.not-checked", "{status}");
    let sync = fleet.run("shared sync --format json", 1).json();
    assert_eq!(sync["servers"][0]["result"], "not-reached");
    fleet.run("server remove eu --yes", 3);
    fleet.run("shared detach eu --yes", 0);
    assert_eq!((slots(&fleet.main), subscriptions(&fleet.main)), (0, 0));
    fleet.run("server remove eu --yes", 0);
    fleet
        .main
        .execute("DELETE FROM plans WHERE id = 2; UPDATE plans SET name = 'tiny'; INSERT INTO plans VALUES (5, 'new')");

    far.restart().unwrap();
    assert_eq!((slots(eu), subscriptions(eu)), (1, 1));
    let url = eu.url();
    fleet.main.tenantry(["server", "add", "eu", "--url", &url]).run().assert_code(0);
    assert_eq!(eu.string(ROWS), fleet.main.string(ROWS));
    fleet.run("shared status --verify", 0);
    eu.execute("INSERT INTO orders VALUES (2)");
    eventually("the new order follows", || fleet.main.count("SELECT count(*) FROM orders") == 2);
    assert_eq!((slots(&fleet.main), subscriptions(eu), slots(eu), subscriptions(&fleet.main)), (1, 1, 1, 1));
    drop(fleet);
    far.stop_immediate().unwrap();
}

#[test]
fn a_returned_server_can_be_detached_without_the_registry() {
    let fleet = Fleet::new(1);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.execute("CREATE TABLE orders (id int PRIMARY KEY)");
    fleet.run("shared add plans", 0);
    fleet.run("shared add orders --from-regions", 0);
    fleet.run("shared detach --yes", 2);
    let detached = eu.tenantry(["shared", "detach", "--yes", "--format", "json"]).run();
    let detached = detached.assert_code(0).json();
    assert_eq!(detached["subscriptions"].as_array().map(Vec::len), Some(1), "{detached}");
    assert_eq!(detached["slots"].as_array().map(Vec::len), Some(1), "{detached}");
    assert_eq!((slots(eu), subscriptions(eu)), (0, 0));
    let status = fleet.run("shared status --format json", 1).json();
    let kinds: Vec<&str> =
        status["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["shared.not-following", "slot.lost"]);
    fleet.run("shared sync", 0);
    fleet.run("shared status --verify", 0);
}
