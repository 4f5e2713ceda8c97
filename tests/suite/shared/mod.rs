//! `shared`: tables that the servers of a fleet share by logical replication.

mod faults;
mod fleet;
mod outages;
mod refused;

use serde_json::json;

use crate::support::eventually;

use fleet::{Fleet, slots, subscriptions};

/// A table that every server has.
const PLANS: &str = "CREATE TABLE public.plans (id int PRIMARY KEY, name text NOT NULL, price numeric(10, 2), \
                     tags text[], made timestamptz DEFAULT '2026-01-01 00:00+00')";

/// The rows of the table, as one text.
const ROWS: &str = "SELECT COALESCE(string_agg(p::text, ' ' ORDER BY id), '') FROM public.plans AS p";

#[test]
fn rows_of_the_registry_follow_on_all_servers() {
    let fleet = Fleet::new(2);
    fleet.execute(PLANS);
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small', 9.5, '{a,\"b c\"}'), (2, 'it''s \\ \"x\"', NULL, NULL)");
    fleet.run("shared add plans", 0);
    // The rows are there when the command ends.
    for region in &fleet.regions {
        assert_eq!(region.string(ROWS), fleet.main.string(ROWS));
    }
    fleet.main.execute("INSERT INTO plans VALUES (3, 'large'); UPDATE plans SET price = 12 WHERE id = 1; DELETE FROM plans WHERE id = 2");
    for region in &fleet.regions {
        eventually("the changes follow", || region.string(ROWS) == fleet.main.string(ROWS));
        assert_eq!((slots(region), subscriptions(region)), (0, 1));
        let connection = region.string(
            "SELECT subconninfo FROM pg_subscription WHERE subdbid = \
             (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        assert!(!connection.contains("password"), "{connection}");
    }
    assert_eq!(slots(&fleet.main), 2);
    let list = fleet.run("shared list --format json", 0).json();
    assert_eq!(list, json!({ "tables": [{ "table": "plans", "direction": "out" }] }));
    let status = fleet.run("shared status --verify --format json", 0).json();
    assert_eq!((&status["findings"], &status["tables"], &status["verified"]), (&json!([]), &json!(1), &json!(true)));
    assert_eq!(status["links"][0]["state"], "following");
    let again = fleet.run("shared add public.plans --format json", 0).json();
    assert_eq!(again["servers"][0], json!({ "server": "eu", "result": "unchanged", "code": null, "error": null }));
}

#[test]
fn rows_of_all_servers_follow_on_the_registry() {
    let fleet = Fleet::new(2);
    fleet.execute(
        "CREATE TABLE orders (region text, id int GENERATED ALWAYS AS IDENTITY, total int, PRIMARY KEY (region, id))",
    );
    fleet.regions[0].execute("INSERT INTO orders (region, total) VALUES ('eu', 1), ('eu', 2)");
    fleet.regions[1].execute("INSERT INTO orders (region, total) VALUES ('us', 3)");
    fleet.run("shared add orders --from-regions", 0);
    let sum = "SELECT string_agg(region || total, ' ' ORDER BY region, id) FROM orders";
    assert_eq!(fleet.main.string(sum), "eu1 eu2 us3");
    fleet.regions[1].execute("INSERT INTO orders (region, total) VALUES ('us', 4)");
    eventually("the new row follows", || fleet.main.string(sum) == "eu1 eu2 us3 us4");
    assert_eq!(fleet.regions[0].string(sum), "eu1 eu2");
    fleet.run("shared status --verify", 0);
    // The two directions have a slot each.
    fleet.execute(PLANS);
    fleet.run("shared add plans", 0);
    assert_eq!((slots(&fleet.main), slots(&fleet.regions[0])), (2, 1));
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small')");
    eventually("the row follows", || fleet.regions[1].count("SELECT count(*) FROM plans") == 1);
}

#[test]
fn tables_are_added_and_removed_while_others_follow() {
    let fleet = Fleet::new(1);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.execute("CREATE TABLE countries (code text PRIMARY KEY, name text)");
    fleet.run("shared add plans", 0);
    fleet.main.execute("INSERT INTO countries SELECT 'c' || n, 'Country ' || n FROM generate_series(1, 2500) AS n");
    fleet.run("shared add countries", 0);
    assert_eq!(eu.count("SELECT count(*) FROM countries"), 2_500);
    assert_eq!((slots(&fleet.main), subscriptions(eu)), (1, 1));
    let removed = fleet.run("shared remove plans --format json", 0).json();
    assert_eq!((&removed["tables"], &removed["servers"][0]["result"]), (&json!(1), &json!("changed")));
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small'); INSERT INTO countries VALUES ('xx', 'X')");
    eventually("the shared table follows", || eu.count("SELECT count(*) FROM countries") == 2_501);
    assert_eq!(eu.count("SELECT count(*) FROM plans"), 0);
    fleet.run("shared remove countries", 0);
    assert_eq!((slots(&fleet.main), subscriptions(eu)), (0, 0));
    assert_eq!(fleet.main.count("SELECT count(*) FROM pg_publication"), 0);
    assert_eq!(eu.count("SELECT count(*) FROM countries"), 2_501);
    assert_eq!(eu.count("SELECT count(*) FROM public.schema_shared"), 0);
}

#[test]
fn a_new_server_follows_the_shared_tables() {
    let fleet = Fleet::new(0);
    fleet.main.execute(PLANS);
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small')");
    fleet.run("shared list", 3);
    let mut fleet = fleet;
    for name in ["eu", "us"] {
        let region = crate::support::Database::on(fleet::logical());
        region.execute(PLANS);
        let url = region.url();
        fleet.main.tenantry(["server", "add", name, "--url", &url]).run().assert_code(0);
        fleet.regions.push(region);
        if name == "eu" {
            fleet.run("shared add plans", 0);
        }
    }
    assert_eq!(fleet.regions[1].count("SELECT count(*) FROM plans"), 1);
    let refused = fleet.run("server remove us --yes", 3);
    assert!(refused.stderr.contains("has shared tables: replication slot tenantry_out_"), "{}", refused.stderr);
    let detached = fleet.run("shared detach us --yes --format json", 0).json();
    assert_eq!((&detached["is_reached"], &detached["slots"].as_array().unwrap().len()), (&json!(true), &1));
    fleet.run("server remove us --yes", 0);
    assert_eq!((slots(&fleet.main), subscriptions(&fleet.regions[1])), (1, 0));
}

/// Rows that are not known to be copies are never replaced unless that is asked for.
#[test]
fn rows_of_a_server_are_replaced_only_on_request() {
    let fleet = Fleet::new(1);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small'), (2, 'large')");
    eu.execute("INSERT INTO plans VALUES (1, 'small'), (3, 'own')");
    let refused = fleet.run("shared add plans", 1);
    assert!(
        refused.stderr.contains("server eu has 1 rows in public.plans that would be replaced"),
        "{}",
        refused.stderr
    );
    assert_eq!(eu.count("SELECT count(*) FROM plans"), 2);
    assert_eq!((slots(&fleet.main), subscriptions(eu)), (0, 0));
    fleet.run("shared status", 1);
    // A row of a tenant that refers to a row is not deleted with it, whatever the foreign key says.
    eu.execute(
        "CREATE TABLE public.uses (plan int REFERENCES plans ON DELETE CASCADE); INSERT INTO uses VALUES (1), (3)",
    );
    fleet.run("shared sync --replace", 0);
    assert_eq!(eu.string(ROWS), fleet.main.string(ROWS));
    assert_eq!(eu.count("SELECT count(*) FROM uses"), 2);
}
