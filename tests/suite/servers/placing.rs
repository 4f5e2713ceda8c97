//! On which server a tenant is made, and who has its name.

use super::{Fleet, tracked};
use crate::support::migrations::Dir;
use crate::support::{Signal, with};

#[test]
fn tenants_are_spread_over_the_servers_that_take_them() {
    let fleet = Fleet::of(&["eu", "us"]);
    fleet.run(&["create", "a", "b", "c", "d", "e", "f"]);
    for db in [&fleet.registry, fleet.server("eu"), fleet.server("us")] {
        assert_eq!(tracked(db).len(), 2);
    }
    fleet.run(&["create", "g", "h", "--server", "us"]);
    fleet.run(&["create", "i", "--region", "eu"]);
    assert_eq!(tracked(fleet.server("us")).len(), 4);
    // The registry has the fewest now.
    fleet.run(&["create", "j"]);
    assert!(tracked(&fleet.registry).contains(&"j".to_owned()));
    // By size, a server with a large table gets none.
    fleet.registry.execute("CREATE TABLE big AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 20000)");
    fleet.server("eu").execute("CREATE TABLE big AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 20000)");
    fleet.run(&["create", "k", "--place", "least-bytes"]);
    assert!(tracked(fleet.server("us")).contains(&"k".to_owned()));
    fleet.says(&["create", "l", "--place", "best"], 2, &["least-tenants", "least-bytes"]);
    let placed = fleet.placed(&fleet.registry);
    assert_eq!(placed.len(), 11);
    assert!(placed.iter().all(|it| it.ends_with("active")), "{placed:?}");
    assert_eq!(fleet.placed(fleet.server("eu")), placed);
}

#[test]
fn servers_without_room_get_no_tenants() {
    let fleet = Fleet::of(&["eu", "us"]);
    fleet.run(&["server", "drain", "main"]);
    fleet.run(&["server", "set", "eu", "--capacity", "1"]);
    fleet.says(&["create", "a", "--server", "main"], 3, &["server main takes no more tenants: it is draining"]);
    fleet.run(&["create", "a", "--server", "eu"]);
    fleet.says(&["create", "b", "--server", "eu"], 3, &["no server can take 1 tenant more: eu is full"]);
    fleet.says(&["create", "b", "--region", "eu"], 3, &["eu is full"]);
    fleet.run(&["create", "b", "c"]);
    assert_eq!(tracked(fleet.server("us")), ["b", "c"]);
    fleet.run(&["server", "set", "us", "--capacity", "3"]);
    fleet.says(
        &["create", "d", "e"],
        3,
        &["no server can take 1 tenant more: main is draining; eu is full; us is full"],
    );
    assert_eq!(tracked(fleet.server("us")), ["b", "c"], "all or none");
    assert_eq!(fleet.placed(&fleet.registry), ["a eu active", "b us active", "c us active"]);
}

#[test]
fn name_is_unique_over_all_servers_in_any_case() {
    let fleet = Fleet::of(&["eu"]);
    fleet.run(&["create", "acme", "--server", "eu"]);
    fleet.says(&["create", "acme", "--server", "main"], 3, &["tenant acme is on server eu"]);
    fleet.says(&["create", "ACME", "--server", "main"], 3, &["tenant acme is on server eu"]);
    fleet.says(&["create", "Acme"], 1, &["differs only in case"]);
    fleet.says(&["create", "acme"], 1, &["tenant acme"]);
    fleet.run(&["create", "hooli", "--server", "main"]);
    for new in ["acme", "ACME"] {
        fleet.says(&["rename", "hooli", new], 3, &["tenant acme is on server eu"]);
        fleet.says(&["clone", "hooli", new], 3, &["tenant acme is on server eu"]);
        fleet.registry.execute(&format!("CREATE SCHEMA \"{new}\""));
        fleet.says(&["adopt", new, "--server", "main"], 3, &["tenant acme is on server eu"]);
    }
    fleet.says(&["adopt", "acme"], 3, &["the fleet is on several servers, and adopt works on one", "--server NAME"]);
    assert_eq!(tracked(&fleet.registry), ["hooli"]);
    // A dropped name is free, on another server and in another case.
    fleet.run(&["drop", "acme", "--yes"]);
    assert_eq!(fleet.placed(fleet.server("eu")), ["hooli main active"]);
    fleet.registry.execute("DROP SCHEMA \"ACME\"");
    fleet.run(&["create", "ACME", "--server", "main"]);
    assert_eq!(fleet.placed(fleet.server("eu")), ["ACME main active", "hooli main active"]);
}

#[test]
#[ignore = "long: make test-long"]
fn changes_of_names_reach_the_directory_and_its_copies() {
    let fleet = Fleet::of(&["eu"]);
    let eu = fleet.server("eu");
    fleet.run(&["create", "acme", "globex", "--server", "eu"]);
    fleet.run(&["rename", "acme", "apex"]);
    fleet.run(&["clone", "apex", "summit"]);
    assert_eq!(fleet.placed(eu), ["apex eu active", "globex eu active", "summit eu active"]);
    fleet.run(&["untrack", "globex", "--yes"]);
    assert_eq!(fleet.placed(eu), ["apex eu active", "summit eu active"]);
    fleet.run(&["adopt", "globex", "--server", "eu"]);
    fleet.run(&["archive", "summit"]);
    fleet.run(&["unarchive", "summit"]);
    fleet.run(&["drop", "summit", "--grace", "30days", "--yes"]);
    eu.execute("UPDATE schema_tracker SET purge_after = now() - interval '1 day' WHERE name = 'summit'");
    fleet.run(&["purge", "--yes"]);
    assert_eq!(fleet.placed(eu), ["apex eu active", "globex eu active"]);
    // A name that only a server's own command has changed.
    eu.tenantry(["drop", "apex", "--yes"]).run().assert_code(0);
    assert_eq!(fleet.placed(&fleet.registry), ["globex eu active"], "it goes to the registry by itself");
    // The epoch grows when the name comes to another server.
    let epoch = |name: &str| fleet.json(&["where", name])["tenants"][0]["epoch"].as_i64().unwrap();
    let before = epoch("globex");
    fleet.run(&["drop", "globex", "--yes"]);
    fleet.run(&["create", "globex", "--server", "main"]);
    assert!(epoch("globex") >= before);
}

#[test]
#[ignore = "long: make test-long"]
fn failed_create_gives_up_the_name() {
    let fleet = Fleet::with_lines(&["eu", "us"]);
    let broken = Dir::new().add("2026-01-01-000000_a", "CREATE TABLE a (id int); SELECT 1 / 0;");
    with(&fleet.registry, &broken, &["create", "acme", "--server", "eu"]).run().assert_code(1);
    assert!(fleet.placed(&fleet.registry).is_empty());
    fleet.line("us").cut();
    fleet.says(&["create", "acme", "--server", "us"], 5, &["server us cannot be reached"]);
    assert!(fleet.placed(&fleet.registry).is_empty());
    let output = fleet.says(&["create", "a", "b", "c"], 1, &["1 not reached (us): 1 tenant not reached"]);
    assert_eq!(output.stderr.matches("cannot be reached:").count(), 1, "{}", output.stderr);
    assert_eq!(fleet.placed(&fleet.registry).len(), 2);
    fleet.says(&["rename", "a", "b"], 3, &["tenant b is on server eu"]);
    assert_eq!(fleet.placed(&fleet.registry).len(), 2);
}

#[test]
#[ignore = "long: make test-long"]
fn one_of_two_commands_gets_the_name() {
    let fleet = Fleet::of(&["eu", "us"]);
    for round in 0..3 {
        let name = format!("t{round}");
        let one = fleet.tenantry(&["create", &name, "--server", "eu"]).spawn();
        let other = fleet.tenantry(&["create", &name, "--server", "us"]).spawn();
        let codes = [one.wait().code, other.wait().code];
        assert!(codes.contains(&Some(0)) && codes.contains(&Some(3)), "{codes:?}");
    }
    assert_eq!(tracked(fleet.server("eu")).len() + tracked(fleet.server("us")).len(), 3);
    assert_eq!(fleet.placed(&fleet.registry).len(), 3);
}

#[test]
#[ignore = "long: make test-long"]
fn tenants_by_hand_are_found_and_ambiguous_names_chosen_with_the_server() {
    let fleet = Fleet::of(&["eu"]);
    let eu = fleet.server("eu");
    eu.execute("INSERT INTO schema_tracker (name) VALUES ('byhand')");
    fleet.run(&["create", "byhand", "--server", "eu"]);
    fleet.run(&["label", "byhand", "ring=1"]);
    assert_eq!(fleet.placed(&fleet.registry), ["byhand eu active"]);
    let unknown = fleet.tenantry(&["label", "nobody", "ring=1"]).run();
    assert!(unknown.code != Some(0) && unknown.stderr.contains("tenant nobody"), "{}", unknown.stderr);
    // The same name on two servers, which only hands can make.
    fleet.registry.tenantry(["create", "acme", "--server", "main"]).run().assert_code(0);
    eu.execute("CREATE SCHEMA acme; INSERT INTO schema_tracker (name) VALUES ('acme')");
    fleet.says(&["health-check", "--match", "acme"], 1, &[]);
    fleet.says(&["label", "byhand", "ring=2", "--server", "main"], 2, &["tenant byhand is on server eu"]);
    fleet.run(&["drop", "acme", "--server", "eu", "--yes"]);
    assert_eq!(tracked(&fleet.registry), ["acme"]);
    assert_eq!(tracked(eu), ["byhand"]);
    assert_eq!(fleet.placed(&fleet.registry), ["acme main active", "byhand eu active"]);
}

#[test]
fn commands_on_two_tenants_need_one_server() {
    let fleet = Fleet::of(&["eu"]);
    fleet.run(&["create", "acme", "--server", "eu"]);
    fleet.run(&["create", "hooli", "--server", "main"]);
    fleet.says(&["diff", "acme", "hooli"], 2, &["the tenants are on different servers", "where"]);
    fleet.run(&["diff", "acme", "acme"]);
    fleet.says(&["cleanup", "--yes"], 3, &["cleanup works on one"]);
}

#[test]
#[ignore = "long: make test-long"]
fn killed_create_is_completed_by_the_next() {
    let fleet = Fleet::of(&["eu", "us"]);
    let dir = Dir::copy_of_tenant().add("2027-01-01-000000_slow", "SELECT pg_sleep(30);");
    let running = with(&fleet.registry, &dir, &["create", "acme", "--server", "eu"]).spawn();
    fleet.server("eu").wait_for(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
        1,
    );
    running.signal(Signal::KILL);
    running.wait();
    assert_eq!(fleet.placed(&fleet.registry), ["acme eu placing"]);
    fleet.server("eu").execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    fleet.says(&["create", "acme", "--server", "us"], 3, &["tenant acme is on server eu"]);
    fleet.run(&["create", "acme"]);
    assert_eq!(fleet.placed(&fleet.registry), ["acme eu active"]);
    assert_eq!(tracked(fleet.server("eu")), ["acme"]);
}
