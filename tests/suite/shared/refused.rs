//! What prevents tables from being shared is named before anything is changed.

use super::fleet::{Fleet, slots};
use super::{PLANS, fleet};
use crate::support::Database;

#[track_caller]
fn assert_refused(fleet: &Fleet, line: &str, reasons: &[&str]) {
    let output = fleet.run(line, 3);
    for reason in reasons {
        assert!(output.stderr.contains(reason), "no {reason:?} in:\n{}", output.stderr);
    }
    assert_eq!(fleet.main.count("SELECT count(*) FROM public.schema_shared"), 0);
    assert_eq!(fleet.main.count("SELECT count(*) FROM pg_publication"), 0);
}

#[test]
fn a_server_without_logical_wal_is_refused() {
    let fleet = Fleet::of(Database::new(), vec![Database::new()]);
    fleet.execute(PLANS);
    assert_refused(&fleet, "shared add plans", &["wal_level of main is replica, and must be logical"]);
    assert_refused(&fleet, "shared add plans --from-regions", &["wal_level of eu is replica"]);
}

#[test]
fn tables_that_do_not_fit_are_refused_with_the_difference() {
    let fleet = Fleet::new(1);
    fleet.execute(PLANS);
    fleet.execute("CREATE TABLE keyless (id int); CREATE VIEW seen AS SELECT 1 AS id");
    fleet
        .main
        .execute("CREATE TABLE only_here (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY, a int, b text)");
    fleet.regions[0].execute("CREATE TABLE two (id int PRIMARY KEY, b varchar(5), c int)");
    assert_refused(&fleet, "shared add keyless", &["public.keyless has no primary key on main"]);
    assert_refused(&fleet, "shared add seen", &["public.seen is not a plain table on main"]);
    assert_refused(&fleet, "shared add only_here", &["public.only_here does not exist on eu"]);
    assert_refused(&fleet, "shared add absent", &["public.absent does not exist on main"]);
    assert_refused(
        &fleet,
        "shared add two",
        &[
            "public.two has other columns: a integer, b text only on main",
            "b character varying(5), c integer only on eu",
        ],
    );
    assert_refused(&fleet, "shared add schema_tracker", &["it belongs to tenantry, and is each server's own"]);
    fleet.run("shared add plans", 0);
    let circle = fleet.run("shared add plans --from-regions", 3);
    assert!(circle.stderr.contains("it is shared in the other direction"), "{}", circle.stderr);
    let unknown = fleet.run("shared remove two", 3);
    assert!(unknown.stderr.contains("table public.two is not shared"), "{}", unknown.stderr);
    assert_eq!(slots(&fleet.main), 1);
}

/// PostgreSQL 15 and earlier let only superusers subscribe; later versions want a password, which would be stored.
#[test]
fn a_role_without_the_rights_is_refused_by_name() {
    let fleet = Fleet::new(1);
    fleet.execute(PLANS);
    let (main, eu) = (&fleet.main, &fleet.regions[0]);
    let role = format!("keeper_{}", main.name());
    eu.execute(&format!("CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}"));
    let url = eu.url().replacen("postgres@", &format!("{role}@"), 1);
    assert_ne!(url, eu.url());
    main.tenantry(["server", "set", "eu", "--url", &url]).run().assert_code(0);
    let reasons = [format!("role {role} of eu is n"), "public.plans belongs to another role on eu".to_owned()];
    assert_refused(&fleet, "shared add plans", &[&reasons[0]]);
    assert_refused(
        &fleet,
        "shared add plans --from-regions",
        &[&format!("role {role} of eu has no REPLICATION attribute"), "may not create publications", &reasons[1]],
    );
    // Code of its owner would run as the superuser that writes rows.
    eu.execute(&format!("ALTER TABLE plans OWNER TO {role}"));
    let url = eu.url();
    main.tenantry(["server", "set", "eu", "--url", &url]).run().assert_code(0);
    assert_refused(&fleet, "shared add plans", &[&reasons[1]]);
    eu.execute("ALTER TABLE plans OWNER TO postgres");
    eu.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// The server of the subscriber connects to the publisher: its address is checked with the subscription.
#[test]
fn an_address_that_the_other_server_cannot_use_is_refused() {
    let fleet = Fleet::new(1);
    fleet.execute(PLANS);
    let peer = format!("postgresql://127.0.0.1:1/{}", fleet.main.name());
    fleet.main.tenantry(["server", "set", "main", "--peer-url", &peer]).run().assert_code(0);
    let refused = fleet.run("shared add plans", 1);
    assert!(refused.stderr.contains("cannot create subscription tenantry_out_"), "{}", refused.stderr);
    assert_eq!((slots(&fleet.main), fleet::subscriptions(&fleet.regions[0])), (0, 0));
    let peer = fleet.main.url();
    fleet.main.tenantry(["server", "set", "main", "--peer-url", &peer]).run().assert_code(0);
    fleet.run("shared sync", 0);
    assert_eq!(fleet::subscriptions(&fleet.regions[0]), 1);
}
