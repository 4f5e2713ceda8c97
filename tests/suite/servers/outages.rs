//! Servers that cannot be reached, or are not the ones that they were.

use serde_json::json;

use super::{Fleet, Line, texts, tracked};
use crate::support::{Database, Tenantry, older, set_up, with};

#[test]
fn one_server_that_is_down_does_not_stop_the_others() {
    let fleet = Fleet::with_lines(&["eu", "us"]);
    with(&fleet.registry, &older(), &["create", "a", "b", "c", "d", "e", "f"]).run().assert_code(0);
    fleet.line("us").cut();
    let texts_ = ["us: server us cannot be reached", "main: 2 migrated", "eu: 2 migrated"];
    fleet.says(&["migrate-all"], 1, &texts_);
    let again = fleet.says(&["migrate-all"], 1, &["1 not reached (us): 2 tenants not reached"]);
    assert!(again.stderr.contains("run the command again when they can be reached"), "{}", again.stderr);
    let json = fleet.ends(&["list", "--format", "json"], 1).json();
    assert_eq!(json["servers"][2]["error"]["code"], "server-unreachable");
    assert_eq!(
        (&json["servers"][2]["exit_code"], &json["servers"][2]["not_reached"]),
        (&json!(null), &json!(["c", "f"]))
    );
    assert_eq!(texts(&json["tenants"], "name"), ["a", "d", "b", "e"]);
    let health = fleet.ends(&["health-check", "--format", "json"], 1).json();
    assert_eq!(
        (&health["healthy"], &health["checked"]),
        (&json!(false), &json!(4)),
        "what was not checked is not healthy"
    );
    fleet.says(&["exec", "a", "c", "-c", "SELECT 1"], 1, &["1 not reached (us): 1 tenant not reached"]);
    fleet.says(&["drop", "c", "--yes"], 5, &["server us cannot be reached"]);
    assert_eq!(fleet.placed(&fleet.registry).len(), 6);
    fleet.run(&["list", "--server", "eu"]);
    fleet.line("us").restore();
    let rest = fleet.json(&["migrate-all"]);
    assert_eq!(texts(&rest["done"], "tenant"), ["c", "f"]);
    // All servers but the registry.
    fleet.line("us").cut();
    fleet.line("eu").cut();
    fleet.ends(&["list", "--server", "eu,us"], 5);
    // A change of the directory reaches them later.
    fleet.run(&["create", "late", "--server", "main"]);
    assert_eq!(fleet.placed(fleet.server("us")).len(), 6);
    fleet.line("us").restore();
    fleet.run(&["create", "later", "--server", "main"]);
    assert_eq!(fleet.placed(fleet.server("us")).len(), 8);
}

/// A fleet whose registry is reached by a line.
fn with_registry_line() -> (Line, Fleet, String) {
    let line = Line::new();
    let fleet = Fleet { registry: set_up(), others: vec![("eu", set_up(), None), ("us", set_up(), None)] };
    let url = line.url(fleet.registry.name());
    for (name, db, _) in &fleet.others {
        at(&url, &["server", "add", name, "--url", &db.url()]).run().assert_code(0);
    }
    (line, fleet, url)
}

fn at(url: &str, args: &[&str]) -> Tenantry {
    Tenantry::new().args(args).env("DATABASE_URL", url)
}

#[test]
#[ignore = "long: make test-long"]
fn fleet_is_read_and_migrated_while_the_registry_is_down() {
    let (line, fleet, url) = with_registry_line();
    let dir = older();
    let path = dir.path().to_str().unwrap().to_owned();
    at(&url, &["create", "a", "b", "c", "d", "e", "f", "--tenant-migrations", &path]).run().assert_code(0);
    line.cut();
    let eu = fleet.server("eu").url();
    for args in [&["list"][..], &["where", "a"], &["server", "list"], &["migrate-all"], &["create", "x"]] {
        let output = at(&url, args).run();
        assert!(output.assert_code(5).stderr.contains("cannot connect to PostgreSQL"), "{}", output.stderr);
    }
    let fallback =
        |args: &[&str]| at(&url, args).env("TENANTRY_FALLBACK_URL", format!("{eu} {}", fleet.server("us").url())).run();
    let migrated = fallback(&["migrate-all", "--format", "json"]);
    let json = migrated.assert_code(1).json();
    assert_eq!(texts(&json["done"], "tenant"), ["b", "e", "c", "f"]);
    assert_eq!(json["servers"][0]["not_reached"], json!(["a", "d"]));
    assert!(migrated.stderr.contains("using the copy of the directory of eu"), "{}", migrated.stderr);
    let list = fallback(&["list", "--names"]);
    assert_eq!(list.assert_code(1).stdout, "b\ne\nc\nf\n");
    assert_eq!(fallback(&["list", "--names", "--server", "us"]).assert_code(0).stdout, "c\nf\n");
    fallback(&["health-check"]).assert_code(1);
    fallback(&["health-check", "--server", "us"]).assert_code(0);
    fallback(&["server", "list"]).assert_code(0);
    fallback(&["server", "check"]).assert_code(1);
    // The same with the URL of another server.
    assert_eq!(at(&eu, &["list", "--names"]).run().assert_code(1).stdout, "b\ne\nc\nf\n");
    for args in [
        &["create", "x"][..],
        &["drop", "b", "--yes"],
        &["rename", "b", "x"],
        &["clone", "b", "x"],
        &["untrack", "b", "--yes"],
        &["adopt", "x", "--server", "eu"],
    ] {
        for output in [fallback(args), at(&eu, args).run()] {
            assert!(output.assert_code(5).stderr.contains("the registry cannot be reached"), "{}", output.stderr);
        }
    }
    let drain = fallback(&["server", "drain", "eu"]);
    assert!(drain.assert_code(5).stderr.contains("cannot connect"), "{}", drain.stderr);
    line.restore();
    let rest = at(&url, &["migrate-all", "--format", "json"]).run();
    assert_eq!(texts(&rest.assert_code(0).json()["done"], "tenant"), ["a", "d"]);
    at(&eu, &["create", "x"]).run().assert_code(0);
    assert_eq!(fleet.placed(fleet.server("us")).len(), 7, "a command at a copy goes to the registry");
}

#[test]
#[ignore = "long: make test-long"]
fn exchanged_servers_are_noticed() {
    let fleet = Fleet::of(&["eu", "us"]);
    with(&fleet.registry, &older(), &["create", "a", "b", "c"]).run().assert_code(0);
    let swap = "UPDATE schema_server SET connection = (SELECT connection FROM schema_server AS o WHERE o.name <> s.name \
                AND o.name IN ('eu', 'us') LIMIT 1) FROM schema_server AS s WHERE schema_server.id = s.id AND s.name IN ('eu', 'us')";
    fleet.registry.execute(swap);
    let before = [tracked(fleet.server("eu")), tracked(fleet.server("us"))];
    let output = fleet.says(
        &["migrate-all"],
        1,
        &[
            "is not server eu: it has another identity",
            "is not server us: it has another identity",
            "2 not reached (eu, us)",
        ],
    );
    assert!(output.stderr.contains("nothing was done there"), "{}", output.stderr);
    fleet.says(&["create", "x", "--server", "eu"], 3, &["is not server eu"]);
    fleet.says(&["drop", "b", "--yes"], 3, &["is not server eu"]);
    fleet.says(&["server", "check"], 1, &["server eu: database", "server us: database"]);
    let json = fleet.ends(&["server", "check", "--format", "json"], 1).json();
    assert_eq!(texts(&json["servers"], "code"), ["null", "wrong-database", "wrong-database"]);
    assert_eq!([tracked(fleet.server("eu")), tracked(fleet.server("us"))], before);
    assert_eq!(fleet.server("eu").count("SELECT count(*) FROM schema_run WHERE command = 'migrate-all'"), 0);
    assert_eq!(fleet.placed(&fleet.registry).len(), 3);
    fleet.registry.execute(swap);
    fleet.run(&["migrate-all"]);
    // A database without a directory is no server either.
    let empty = Database::new();
    let url = empty.url();
    fleet.registry.execute(&format!("UPDATE schema_server SET connection = '{url}' WHERE name = 'eu'"));
    fleet.says(&["list"], 1, &["is not server eu: it belongs to no fleet on several servers"]);
}
