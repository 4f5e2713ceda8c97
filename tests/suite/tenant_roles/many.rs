//! Many roles.

use super::traces;
use crate::support::migrations::Dir;
use crate::support::{set_up, small_fleet, with};

/// What is created for each role does not depend on the number of roles, and dropping leaves nothing.
#[test]
#[ignore = "long: make test-long"]
fn thousands_of_roles_are_created_checked_and_dropped() {
    // TENANTRY_ROLES chooses another number, such as 5000.
    let chosen = std::env::var("TENANTRY_ROLES").ok();
    let tenants: usize = chosen.map_or(1_000, |number| number.parse().expect("a number of roles"));
    let db = set_up();
    small_fleet(&db, tenants, &["20260101000000"]);
    let migrations = Dir::new().add("20260101000000_nothing", "DO 'BEGIN END';");
    let prefix = format!("{}_", db.name());
    let run = |args: &[&str]| {
        let began = std::time::Instant::now();
        let output = with(&db, &migrations, args).run();
        eprintln!("{args:?}: {:?}", began.elapsed());
        output
    };
    let names: Vec<String> = (0..tenants).map(|n| format!("t{n:05}")).collect();
    let dependencies = || {
        db.count("SELECT count(*) FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())")
    };
    let before = dependencies();
    // The first half, and then the second: as many rows of the catalog, and the group's membership is the only thing shared.
    let mut counts = Vec::new();
    for half in names.chunks(tenants / 2) {
        let mut args = vec!["isolate", "--yes", "--quiet"];
        args.extend(half.iter().map(String::as_str));
        let at = dependencies();
        run(&args).assert_code(0);
        counts.push(dependencies() - at);
    }
    assert_eq!(counts[0], counts[1]);
    // The privilege to connect belongs to the group.
    let entries = db.count("SELECT cardinality(datacl) FROM pg_database WHERE datname = current_database()");
    assert!(entries < 5, "{entries} entries in the ACL of the database");
    let check = run(&["health-check", "--format", "json"]);
    let document = check.json();
    let kinds: Vec<&str> =
        document["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert!(
        kinds.iter().all(|kind| !kind.starts_with("tenant-role.") || *kind == "tenant-role.public-create"),
        "{kinds:?}"
    );
    let mut args = vec!["drop", "--yes", "--quiet"];
    args.extend(names.iter().map(String::as_str));
    run(&args).assert_code(0);
    assert_eq!(dependencies(), before);
    assert_eq!(traces(&db, &format!("{prefix}t0")), 0);
}
