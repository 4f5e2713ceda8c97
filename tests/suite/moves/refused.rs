//! What is refused, and leaves everything as it was.

use diesel::connection::SimpleConnection;

use super::support::{Held, Pair, contents, fill};
use crate::docs::documents::problems;
use crate::support::{Database, create_older, set_up};

#[test]
fn a_dry_run_changes_nothing() {
    let pair = Pair::new();
    let output = pair.main.tenantry(["move", "acme", "globex", "--to", "eu", "--dry-run", "--format", "json"]).run();
    let json = output.assert_code(0).json();
    assert_eq!(json["plans"].as_array().map(Vec::len), Some(2));
    assert_eq!(problems("move---dry-run", &json), [""; 0]);
    assert_eq!((&json["plans"][0]["method"], &json["plans"][0]["problems"]), (&"copy".into(), &serde_json::json!([])));
    // Why not by replication.
    let missing = json["plans"][0]["missing"].to_string();
    assert!(missing.contains("wal_level is replica, not logical"), "{missing}");
    assert_eq!(pair.placement("acme"), "main active 1");
    assert_eq!(pair.main.count("SELECT count(*) FROM schema_move"), 0);
    assert_eq!(pair.states("acme"), ["active", ""]);
    let replicate = pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "replicate"]).run();
    assert!(replicate.assert_code(3).stderr.contains("wal_level is replica"), "{}", replicate.stderr);
    pair.assert_clean();
}

#[test]
fn servers_without_room_and_wrong_names_are_refused() {
    let pair = Pair::new();
    let refused = |args: &[&str], text: &str| {
        let output = pair.main.tenantry(args).run();
        assert!(output.assert_code(3).stderr.contains(text), "{}", output.stderr);
        assert_eq!(pair.main.count("SELECT count(*) FROM schema_move"), 0);
    };
    refused(&["move", "acme", "--to", "main"], "is on server main already");
    refused(&["move", "nobody", "--to", "eu"], "is on no server");
    refused(&["move", "acme", "--to", "us"], "no server has the name");
    refused(&["move", "resume", "acme"], "has no move that can be resumed");
    refused(&["move", "abort", "acme"], "has no move that can be aborted");
    pair.main.tenantry(["server", "set", "eu", "--capacity", "0"]).run().assert_code(0);
    refused(&["move", "acme", "--to", "eu"], "which is its capacity");
    pair.main.tenantry(["server", "set", "eu", "--capacity", "none"]).run().assert_code(0);
    pair.main.tenantry(["server", "drain", "eu"]).run().assert_code(0);
    refused(&["move", "acme", "--to", "eu"], "takes no more tenants");
    pair.main.tenantry(["server", "open", "eu"]).run().assert_code(0);
    pair.eu.execute("CREATE SCHEMA acme");
    refused(&["move", "acme", "--to", "eu"], "schema acme exists on server eu");
    pair.eu.execute("DROP SCHEMA acme");
    let elsewhere = pair.eu.tenantry(["move", "acme", "--to", "main"]).run();
    assert!(elsewhere.assert_code(3).stderr.contains("is not the registry"), "{}", elsewhere.stderr);
    // A name that is a subcommand comes after --to.
    refused(&["move", "--to", "eu", "status"], "tenant status is on no server");
    assert_eq!(pair.placement("acme"), "main active 1");
}

#[test]
fn an_unreachable_target_changes_nothing() {
    let pair = Pair::new();
    pair.main.execute("UPDATE schema_server SET connection = 'host=/nowhere dbname=x' WHERE name = 'eu'");
    pair.main.tenantry(["move", "acme", "--to", "eu"]).run().assert_code(5);
    assert_eq!(pair.main.count("SELECT count(*) FROM schema_move"), 0);
    assert_eq!(pair.states("acme"), ["active", ""]);
}

#[test]
fn other_commands_leave_a_moving_tenant_alone() {
    let (main, eu) = (set_up(), set_up());
    create_older(&main, &["acme", "globex"]);
    let pair = Pair::of(main, eu);
    let before = contents(&pair.main, "acme");
    let mut held = Held::new(&pair, "copying", &["move", "acme", "--to", "eu", "--method", "copy"]);
    assert_eq!(pair.states("acme"), ["moving", "arriving"]);
    let commands: [&[&str]; 7] = [
        &["migrate-one", "acme"],
        &["drop", "acme", "--yes"],
        &["rename", "acme", "initech"],
        &["archive", "acme"],
        &["label", "acme", "a=b"],
        &["untrack", "acme", "--yes"],
        &["create", "acme"],
    ];
    for db in [&pair.main, &pair.eu] {
        for command in commands {
            let output = db.tenantry(command).arg("--format").arg("json").run();
            assert_ne!(output.code, Some(0), "{command:?}: {}", output.stderr);
            assert!(output.stderr.contains("a move between servers is in progress"), "{command:?}: {}", output.stderr);
        }
    }
    let second = pair.main.tenantry(["move", "acme", "--to", "eu"]).run();
    assert!(second.assert_code(3).stderr.contains("tenant acme is being moved to server eu"), "{}", second.stderr);
    let resume = pair.main.tenantry(["move", "resume", "acme"]).run();
    assert!(resume.assert_code(5).stderr.contains("another command works on the move"), "{}", resume.stderr);
    // It can be used until it has moved, and only there.
    pair.main.execute("SELECT * FROM acme.users");
    let early = pair.eu.connect().batch_execute("DELETE FROM acme.users").expect_err("a refusal").to_string();
    assert!(early.contains("the tenant has not arrived on this server yet"), "{early}");
    held.release();
    held.running.wait().assert_code(0);
    assert_eq!(contents(&pair.eu, "acme"), before);
    pair.main.tenantry(["migrate-all"]).run();
}

#[test]
fn a_change_of_the_structure_stops_the_move_by_name() {
    let pair = Pair::new();
    fill(&pair.main, "acme");
    let mut held = Held::new(&pair, "copying", &["move", "acme", "--to", "eu", "--method", "copy"]);
    pair.main.execute("ALTER TABLE acme.users ADD COLUMN surprise int");
    held.release();
    let output = held.running.wait();
    output.assert_code(3);
    assert!(
        output
            .stderr
            .contains("the structure of tenant acme was changed during the move: column users.surprise is unexpected"),
        "{}",
        output.stderr
    );
    assert_eq!(pair.states("acme")[0], "moving");
    pair.main.execute("UPDATE acme.users SET surprise = 1");
    // The next attempt takes it along.
    pair.main.tenantry(["move", "resume", "acme"]).run().assert_code(0);
    assert_eq!(pair.eu.count("SELECT count(surprise) FROM acme.users"), 50);
}

#[test]
fn a_row_that_differs_on_the_target_is_found() {
    // Before the switch: a trigger of the test changes a row while writes are blocked.
    let pair = Pair::new();
    fill(&pair.main, "acme");
    let tamper = "CREATE FUNCTION public.tamper() RETURNS event_trigger LANGUAGE plpgsql AS \
                  'BEGIN IF to_regclass(''acme.users'') IS NOT NULL THEN PERFORM set_config(''session_replication_role'', ''replica'', true); UPDATE acme.users SET full_name = ''tampered'' WHERE id = 7; \
                  PERFORM set_config(''session_replication_role'', ''origin'', true); END IF; END'; \
                  CREATE EVENT TRIGGER tamper ON ddl_command_end WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE') EXECUTE FUNCTION public.tamper()";
    pair.eu.execute(tamper);
    let output = pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy", "--verify", "before"]).run();
    assert!(
        output.assert_code(3).stderr.contains("rows of tenant acme differ on server eu: users (50 rows)"),
        "{}",
        output.stderr
    );
    assert_eq!(pair.placement("acme"), "main moving 1");
    pair.main.tenantry(["move", "abort", "acme"]).run().assert_code(0);
    assert_eq!(pair.states("acme"), ["active", ""]);
    pair.assert_clean();
    // After the switch: the old schema is kept, and is not dropped.
    let output = pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy"]).run();
    assert!(
        output.assert_code(3).stderr.contains("rows of tenant acme differ on server eu: users (50 rows)"),
        "{}",
        output.stderr
    );
    assert_eq!(pair.placement("acme"), "eu active 2");
    pair.main.tenantry(["move", "finish", "acme", "--yes"]).run().assert_code(3);
    assert_eq!(pair.old_schemas().len(), 1);
}

#[test]
fn an_archived_tenant_stays_archived() {
    let pair = Pair::new();
    pair.main.tenantry(["archive", "acme"]).run().assert_code(0);
    pair.main.tenantry(["move", "acme", "--to", "eu", "--method", "copy"]).run().assert_code(0);
    assert_eq!(pair.states("acme"), ["", "archived"]);
    pair.eu.tenantry(["unarchive", "acme"]).run().assert_code(0);
}

#[test]
fn a_name_that_needs_quotes_moves() {
    let pair = Pair::new();
    pair.main.tenantry(["create", "--any-name", "Big-Co", "--server", "main"]).run().assert_code(0);
    pair.main.execute("INSERT INTO \"Big-Co\".users (email, full_name) VALUES ('a@x', 'A')");
    pair.main.tenantry(["health-check", "--server", "main"]).run();
    pair.main.execute(
        "INSERT INTO schema_placement (tenant, server, state, version) SELECT 'Big-Co', id, 'active', 99 FROM schema_server \
         WHERE is_registry ON CONFLICT (tenant) DO UPDATE SET state = 'active'",
    );
    pair.main.tenantry(["move", "Big-Co", "--to", "eu", "--method", "copy"]).run().assert_code(0);
    assert_eq!(pair.eu.count("SELECT count(*) FROM \"Big-Co\".users"), 1);
    let other: &Database = &pair.eu;
    other.execute("INSERT INTO \"Big-Co\".users (email, full_name) VALUES ('b@x', 'B')");
}
