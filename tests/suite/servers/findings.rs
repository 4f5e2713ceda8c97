//! What `health-check` finds about servers.

use super::Fleet;
use crate::support::{Database, set_up, tls};

#[test]
fn placements_are_compared_with_the_trackers() {
    let fleet = Fleet::of(&["eu"]);
    fleet.run(&["create", "acme", "globex", "--server", "eu"]);
    fleet.run(&["create", "hooli", "--server", "main"]);
    fleet.run(&["health-check"]);
    let eu = fleet.server("eu");
    eu.execute("DROP SCHEMA acme CASCADE; DELETE FROM schema_tracker WHERE name = 'acme'");
    eu.execute(
        "ALTER SCHEMA globex RENAME TO \"Hooli\"; UPDATE schema_tracker SET name = 'Hooli' WHERE name = 'globex'",
    );
    eu.tenantry(["list"]).run().assert_code(0);
    eu.execute("INSERT INTO schema_tracker (name) VALUES ('byhand')");
    eu.execute("CREATE SCHEMA byhand");
    let json = fleet.ends(&["health-check", "--format", "json", "--allow-unchecked"], 1).json();
    let mut findings: Vec<String> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {} {}", it["server"].as_str().unwrap(), it["code"].as_str().unwrap(), it["tenant"]))
        .filter(|it| it.contains("placement-") || it.contains("duplicate-"))
        .collect();
    findings.sort();
    assert_eq!(
        findings,
        [
            "eu duplicate-tenant \"Hooli\"",
            "eu placement-missing \"byhand\"",
            "eu placement-outdated \"acme\"",
            "eu placement-outdated \"globex\"",
        ]
    );
    assert_eq!(json["healthy"], false);
    let ignored =
        ["placement-missing", "placement-outdated", "duplicate-tenant", "ledger-missing", "missing-migrations"];
    let mut args = vec!["health-check", "--allow-unchecked"];
    ignored.iter().for_each(|code| args.extend(["--ignore", code]));
    fleet.run(&args);
    fleet.ends(&["health-check", "--match", "acme"], 1);
    fleet.run(&["health-check", "--match", "hooli"]);
    fleet.run(&["health-check", "hooli", "--fail-on", "placement-missing"]);
    assert_eq!(fleet.ends(&["server", "check"], 1).stdout.matches("problem").count(), 1);
}

#[test]
fn encrypted_connection_is_recognized() {
    let (registry, eu) = (set_up(), Database::on(tls().server()));
    let url = tls().url_with_mode("require", eu.name());
    registry.tenantry(["server", "add", "eu", "--url", &url]).run().assert_code(0);
    let run = |args: &[&str]| registry.tenantry(args).run();
    run(&["create", "acme", "--server", "eu"]).assert_code(0);
    run(&["health-check", "--fail-on", "not-encrypted"]).assert_code(0);
    run(&["health-check", "--ignore", "not-encrypted"]).assert_code(0);
    let check = run(&["server", "check", "--format", "json"]).json();
    assert_eq!(super::texts(&check["servers"], "encryption"), ["local", "tls"]);
}
