//! Interrupted commands and damaged replications.

use diesel::connection::SimpleConnection;

use super::fleet::{Fleet, logical, slots, subscriptions};
use super::{PLANS, ROWS};
use crate::support::{Database, binaries, eventually};

#[track_caller]
fn assert_findings(fleet: &Fleet, line: &str, kinds: &[&str]) {
    let status = fleet.run(&format!("{line} --format json"), i32::from(!kinds.is_empty())).json();
    let found: Vec<&str> =
        status["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(found, kinds, "{status}");
}

/// The name of the only slot on the registry.
fn slot(fleet: &Fleet) -> String {
    fleet.main.string("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
}

/// Killed at each step, `shared sync` continues from what the servers have.
#[test]
fn a_killed_command_is_resumed_by_the_next() {
    let fleet = Fleet::new(1);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small')");
    // Before the publication, before the slot, and after the slot: each waits for a lock.
    let waits =
        [(&fleet.main, "SHARE UPDATE EXCLUSIVE", 0), (eu, "EXCLUSIVE", 1), (&fleet.main, "ACCESS EXCLUSIVE", 1)];
    for (number, (database, mode, expected)) in waits.into_iter().enumerate() {
        let mut blocker = database.connect();
        blocker.batch_execute(&format!("BEGIN; LOCK TABLE public.plans IN {mode} MODE")).unwrap();
        let line = if number == 0 { "shared add plans" } else { "shared sync" };
        let running = fleet.tenantry(line).spawn();
        database.wait_for_waiters(1);
        assert_eq!(slots(&fleet.main), expected, "{mode}");
        running.kill();
        running.wait();
        // The server notices at the next message to the client.
        blocker.batch_execute("ROLLBACK").unwrap();
        database.wait_for_quiet();
        eu.wait_for_quiet();
        fleet.main.wait_for_quiet();
        assert_eq!(subscriptions(eu), 0, "{mode}");
        assert_eq!(fleet.main.count("SELECT count(*) FROM public.schema_shared"), 1);
    }
    fleet.run("shared sync", 0);
    assert_eq!((slots(&fleet.main), subscriptions(eu)), (1, 1));
    assert_eq!(eu.string(ROWS), fleet.main.string(ROWS));
    assert_findings(&fleet, "shared status --verify", &[]);
}

#[test]
fn lost_slots_and_disabled_subscriptions_are_found_and_repaired() {
    let fleet = Fleet::new(1);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small')");
    assert_findings(&fleet, "shared status", &[]);
    fleet.run("shared add plans", 0);
    let name = slot(&fleet);
    eu.execute(&format!("ALTER SUBSCRIPTION {name} DISABLE"));
    assert_findings(&fleet, "shared status", &["subscription.disabled"]);
    fleet.run("shared sync", 0);
    assert_findings(&fleet, "shared status", &[]);

    eu.execute(&format!("ALTER SUBSCRIPTION {name} DISABLE"));
    eventually("the slot is free", || {
        fleet.main.connect().batch_execute(&format!("SELECT pg_drop_replication_slot('{name}')")).is_ok()
    });
    fleet.main.execute("INSERT INTO plans VALUES (2, 'missed'); DELETE FROM plans WHERE id = 1");
    assert_findings(&fleet, "shared status", &["slot.lost", "subscription.disabled"]);
    fleet.run("shared sync", 0);
    assert_eq!(eu.string(ROWS), fleet.main.string(ROWS));
    assert_findings(&fleet, "shared status --verify", &[]);

    fleet.main.execute(
        "SELECT pg_create_logical_replication_slot('tenantry_out_0123456789abcdef0123456789abcdef', 'pgoutput')",
    );
    assert_findings(&fleet, "shared status", &["slot.orphan"]);
}

#[test]
fn rows_that_differ_and_changes_that_fail_are_found() {
    let fleet = Fleet::new(1);
    let eu = &fleet.regions[0];
    fleet.execute(PLANS);
    fleet.execute("CREATE TABLE orders (id int PRIMARY KEY, total int)");
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small')");
    eu.execute("INSERT INTO orders VALUES (1, 1)");
    fleet.run("shared add plans", 0);
    fleet.run("shared add orders --from-regions", 0);
    assert_findings(&fleet, "shared status --verify", &[]);
    eu.execute("UPDATE plans SET name = 'tampered'");
    fleet.main.execute("DELETE FROM orders");
    assert_findings(&fleet, "shared status", &[]);
    assert_findings(&fleet, "shared status --verify", &["shared.stale", "shared.stale"]);
    // A row of its own stops the subscription at the registry's.
    eu.execute("INSERT INTO plans VALUES (7, 'own')");
    fleet.main.execute("INSERT INTO plans VALUES (7, 'seven')");
    if binaries().major() >= 15 {
        let errors = "SELECT COALESCE(max(apply_error_count), 0) FROM pg_stat_subscription_stats AS s JOIN pg_subscription AS u \
                      ON u.oid = s.subid WHERE u.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eu.wait_for(errors, 1);
    }
    eu.execute("DELETE FROM plans WHERE id = 7; UPDATE plans SET name = 'small'");
    eventually("the subscription continues", || eu.string(ROWS) == fleet.main.string(ROWS));
}

/// A dump of all databases has no password: neither the directory nor a subscription stores one.
#[test]
fn no_database_has_a_password() {
    const PASSWORD: &str = "open-sesame-7";
    let server = tenantry::local::Ephemeral::options()
        .tcp()
        .access("host all keeper 127.0.0.1/32 scram-sha-256")
        .setting("wal_level", "logical")
        .setting("password_encryption", "scram-sha-256")
        .start(binaries())
        .unwrap();
    let port = server.tcp_port().unwrap();
    let server: &'static _ = Box::leak(Box::new(server));
    let fleet = Fleet::of(Database::on(server), vec![Database::on(logical())]);
    fleet.execute(PLANS);
    fleet.main.execute(&format!("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{PASSWORD}'"));
    let peer = |passfile: &str| {
        format!("host=127.0.0.1 port={port} user=keeper dbname={} passfile={passfile}", fleet.main.name())
    };
    let set = |passfile: &str| {
        fleet.main.tenantry(["server", "set", "main", "--peer-url", &peer(passfile)]).run().assert_code(0);
    };
    set("/nonexistent");
    let refused = fleet.run("shared add plans", 1);
    assert!(refused.stderr.contains("password"), "{}", refused.stderr);
    // The password file is read by the server of the subscriber.
    let file = logical().data_folder().join(format!("passfile_{}", fleet.main.name()));
    let path = file.to_string_lossy();
    fleet.regions[0].execute(&format!(
        "COPY (SELECT '127.0.0.1:{port}:*:keeper:{PASSWORD}') TO '{path}'; \
         COPY (SELECT 1) TO PROGRAM 'chmod 600 {path}'"
    ));
    set(&path);
    fleet.run("shared sync", 0);
    fleet.main.execute("INSERT INTO plans VALUES (1, 'small')");
    eventually("the row follows", || fleet.regions[0].count("SELECT count(*) FROM plans") == 1);
    for database in [&fleet.main, &fleet.regions[0]] {
        let tables = database.string("SELECT database_to_xml(true, false, '')");
        let connections = database.strings("SELECT subconninfo FROM pg_subscription").join("\n");
        for text in [tables, connections] {
            assert!(!text.contains(PASSWORD));
        }
    }
    drop(fleet);
    server.stop_immediate().unwrap();
}
