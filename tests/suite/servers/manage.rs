//! `server list`, `check`, `set`, `drain`, `open`, `retire`, `remove` and `sync`

use super::{Fleet, texts, tracked};
use crate::support::{Database, Terminal, set_up};

#[test]
fn unknown_names_list_the_valid_ones() {
    let single = set_up();
    for args in [&["server", "list"][..], &["server", "check"], &["server", "remove", "x"], &["list", "--server", "x"]]
    {
        let output = single.tenantry(args).run();
        assert!(output.assert_code(3).stderr.contains("has no directory of servers"), "{}", output.stderr);
        assert!(output.stderr.contains("server add NAME --url URL"), "{}", output.stderr);
    }
    let fleet = Fleet::of(&["eu", "us"]);
    for args in [
        &["server", "check", "e"][..],
        &["server", "set", "e", "--region", "x"],
        &["server", "drain", "e"],
        &["server", "open", "e"],
        &["server", "retire", "e"],
        &["server", "remove", "e"],
        &["list", "--server", "e"],
        &["create", "acme", "--server", "e"],
        &["migrate-all", "--server", "eu,e"],
    ] {
        fleet.says(args, 3, &["no server has the name \"e\"", "the servers are main, eu, us"]);
    }
    fleet.says(&["list", "--region", "e"], 3, &["no server is in region \"e\"", "the regions are eu, us"]);
    fleet.says(&["server", "set", "eu"], 2, &["required"]);
    fleet.says(&["list", "--region", "eu", "--server", "eu"], 2, &["cannot be used with"]);
    for command in ["add", "set", "drain", "remove", "sync"] {
        let args: &[&str] = match command {
            "add" => &["server", "add", "x", "--url", "postgresql://h/d"],
            "set" => &["server", "set", "eu", "--region", "x"],
            "sync" => &["server", "sync"],
            other => &["server", other, "eu"],
        };
        let output = fleet.server("eu").tenantry(args).run();
        assert!(output.assert_code(3).stderr.contains("is not the registry"), "{}", output.stderr);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn states_and_limits_are_changed_and_copied() {
    let fleet = Fleet::of(&["eu", "us"]);
    fleet.run(&["create", "acme", "--server", "eu"]);
    fleet.says(&["server", "retire", "eu"], 3, &["server eu is in use: 1 tenant", "list --server eu"]);
    fleet.run(&["server", "drain", "eu"]);
    fleet.run(&["server", "retire", "us"]);
    fleet.run(&[
        "server",
        "set",
        "us",
        "--rename",
        "asia",
        "--region",
        "",
        "--capacity",
        "5",
        "--peer-url",
        "service=x",
    ]);
    let list = fleet.json(&["server", "list"]);
    assert_eq!(texts(&list["servers"], "name"), ["main", "asia", "eu"]);
    assert_eq!(texts(&list["servers"], "state"), ["open", "retired", "draining"]);
    assert_eq!(texts(&list["servers"], "region"), ["null", "null", "eu"]);
    assert_eq!(list["servers"][1]["capacity"], 5);
    let columns =
        "SELECT concat_ws(' ', name, region, state, capacity, peer_connection) FROM schema_server ORDER BY name";
    assert_eq!(fleet.registry.strings(columns), fleet.server("eu").strings(columns));
    assert_eq!(fleet.registry.strings(columns), fleet.server("us").strings(columns));
    fleet.run(&["server", "set", "asia", "--capacity", "none"]);
    fleet.run(&["server", "open", "asia"]);
    assert_eq!(fleet.registry.string("SELECT concat(state, capacity) FROM schema_server WHERE name = 'asia'"), "open");
    fleet.says(&["server", "set", "asia", "--rename", "EU"], 3, &["a server with the name eu exists"]);
    // A name may pass from one server to another.
    fleet.run(&["server", "set", "eu", "--rename", "europe"]);
    fleet.run(&["server", "set", "asia", "--rename", "eu"]);
    assert_eq!(fleet.registry.strings(columns), fleet.server("eu").strings(columns));
    // The registry has a name, too.
    fleet.run(&["server", "set", "main", "--rename", "hub", "--region", "eu"]);
    assert_eq!(texts(&fleet.json(&["server", "list"])["servers"], "name"), ["hub", "eu", "europe"]);
}

#[test]
fn connection_leads_to_the_same_database() {
    let fleet = Fleet::of(&["eu", "us"]);
    let (eu, other) = (fleet.server("eu"), set_up());
    let url = fleet.server("us").url();
    fleet.says(&["server", "set", "eu", "--url", &url], 3, &["is not server eu: it has another identity"]);
    fleet.says(&["server", "set", "eu", "--url", &other.url()], 3, &["is not server eu: it belongs to no fleet"]);
    let empty = Database::new();
    fleet.says(&["server", "set", "eu", "--url", &empty.url()], 3, &["is not server eu: it belongs to no fleet"]);
    fleet.says(&["server", "set", "eu", "--url", "postgresql://u:geheim@h/d"], 3, &["it has a password"]);
    fleet.says(&["server", "set", "eu", "--peer-url", "dbname=x password=geheim"], 3, &["it has a password"]);
    assert!(fleet.registry.string("SELECT connection FROM schema_server WHERE name = 'eu'").contains(eu.name()));
    fleet.run(&["server", "set", "eu", "--url", &(eu.url() + "&application_name=x")]);
    assert!(
        fleet.registry.string("SELECT connection FROM schema_server WHERE name = 'eu'").contains("application_name")
    );
}

#[test]
#[ignore = "long: make test-long"]
fn server_is_removed_without_tenants_only() {
    let fleet = Fleet::of(&["eu", "us"]);
    fleet.run(&["create", "acme", "--server", "eu"]);
    fleet.says(&["server", "remove", "eu", "--yes"], 3, &["server eu is in use: 1 tenant"]);
    fleet.says(
        &["server", "remove", "main", "--yes"],
        3,
        &["server main is the registry", "remove the other servers first"],
    );
    let refused = fleet.says(&["server", "remove", "us"], 4, &["confirmation required"]);
    assert!(!refused.stderr.contains("--dry-run"), "{}", refused.stderr);
    let mut terminal = Terminal::spawn(fleet.tenantry(&["server", "remove", "us"]));
    terminal.expect("Remove server us from the fleet of").type_line("n");
    assert_eq!(terminal.wait().1, Some(4));
    assert_eq!(fleet.registry.count("SELECT count(*) FROM schema_server"), 3);
    let mut terminal = Terminal::spawn(fleet.tenantry(&["server", "remove", "us"]));
    terminal.expect("[y/N]").type_line("y");
    assert_eq!(terminal.wait().1, Some(0));
    // It is a database of its own again.
    let us = fleet.server("us");
    for table in ["schema_server", "schema_identity", "schema_placement"] {
        assert_eq!(us.count(&format!("SELECT count(*) FROM {table}")), 0);
    }
    us.tenantry(["create", "hooli"]).run().assert_code(0);
    assert_eq!(fleet.server("eu").count("SELECT count(*) FROM schema_server"), 2);
    fleet.run(&["drop", "acme", "--yes"]);
    fleet.run(&["server", "remove", "eu", "--yes"]);
    fleet.run(&["create", "acme"]);
    fleet.run(&["server", "remove", "main", "--yes"]);
    assert_eq!(fleet.registry.count("SELECT count(*) FROM schema_server"), 0);
    assert_eq!(fleet.run(&["list", "--names"]).stdout, "acme\n");
}

#[test]
fn server_that_is_down_is_removed_and_can_return() {
    let fleet = Fleet::with_lines(&["eu", "us"]);
    fleet.line("us").cut();
    fleet.says(&["server", "check", "us"], 1, &["server us: cannot connect to PostgreSQL"]);
    let json = fleet.ends(&["server", "check", "--format", "json"], 1).json();
    assert_eq!(texts(&json["servers"], "code"), ["null", "null", "server-unreachable"]);
    fleet.says(&["server", "remove", "us", "--yes"], 0, &["the database of us still has a copy of the directory"]);
    fleet.line("us").restore();
    let url = fleet.line("us").url(fleet.server("us").name());
    // It cannot be used by itself as if it were still a server: the registry does not know it.
    fleet.run(&["server", "add", "asia", "--url", &url]);
    fleet.run(&["create", "acme", "--server", "asia"]);
    assert_eq!(tracked(fleet.server("us")), ["acme"]);
}

#[test]
fn sync_follows_the_trackers() {
    let fleet = Fleet::of(&["eu"]);
    fleet.run(&["create", "acme", "globex", "--server", "eu"]);
    fleet.run(&["create", "hooli", "--server", "main"]);
    let eu = fleet.server("eu");
    eu.execute("DROP SCHEMA acme CASCADE; DELETE FROM schema_tracker WHERE name = 'acme'");
    eu.execute("INSERT INTO schema_tracker (name) VALUES ('byhand'), ('Hooli')");
    let json = fleet.ends(&["server", "sync", "--format", "json"], 1).json();
    assert_eq!(json["added"], serde_json::json!(["byhand"]));
    assert_eq!(json["removed"], serde_json::json!(["acme"]));
    assert_eq!(json["duplicates"], serde_json::json!(["Hooli"]));
    let placed = ["byhand eu active", "globex eu active", "hooli main active"];
    assert_eq!(fleet.placed(&fleet.registry), placed);
    assert_eq!(fleet.placed(eu), placed);
    eu.execute("DELETE FROM schema_tracker WHERE name = 'Hooli'");
    fleet.run(&["server", "sync"]);
}
