//! `benchmark search-path`: what it measures, and that nothing of it remains. How long anything takes is not tested.

use std::collections::BTreeSet;

use crate::support::{Database, Signal, eventually, url_of_a_stranger};

const SMALL: [&str; 6] = ["benchmark", "search-path", "--iterations", "3", "--tenants", "100"];

/// The number of schemas of benchmarks.
const LEFT: &str = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantry\\_benchmark\\_%'";

#[test]
fn each_operation_and_the_visits_are_measured() {
    let db = Database::new();
    let output = db.tenantry(SMALL).args(["--format", "json"]).run();
    output.assert_code(0);
    let document = output.json();
    let operations = document["operations"].as_array().unwrap();
    let names: Vec<&str> = operations.iter().map(|one| one["operation"].as_str().unwrap()).collect();
    assert_eq!(names, ["fixed-path", "qualified-name", "set-local", "switch-only", "two-tenants", "insert"]);
    for one in operations {
        let number = |field: &str| one["latency"][field].as_u64().unwrap();
        assert!(0 < number("p50_ns") && number("p50_ns") <= number("p95_ns") && number("p95_ns") <= number("max_ns"));
        assert!(number("mean_ns") <= number("max_ns") && number("per_second") > 0, "{one}");
    }
    assert_eq!(operations[0]["percent"], 100);
    let visited = document["visited"].as_array().unwrap();
    let bytes: Vec<u64> = visited.iter().map(|one| one["session_bytes"].as_u64().unwrap()).collect();
    assert_eq!([&visited[0]["tenants"], &visited[1]["tenants"]], [1, 100]);
    assert!(
        visited.len() == 2 && bytes[1] > bytes[0] + 100 * 1024,
        "a session keeps what it knows of tables: {bytes:?}"
    );
    assert!(document["verdict"].as_str().unwrap().contains("each tenant that a session visits adds"), "{document}");
    assert_eq!(db.count(LEFT), 0);

    // The times differ each time, so that docs/json.md does not show the document.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let (_, section) = page.split_once("### benchmark search-path\n").unwrap();
    let described: BTreeSet<&str> = section
        .lines()
        .take_while(|line| !line.starts_with("### create of rows"))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key))
        .collect();
    let objects = [&document, &operations[0], &operations[0]["latency"], &visited[0]];
    let keys = objects.into_iter().flat_map(|object| object.as_object().unwrap().keys());
    assert_eq!(keys.map(String::as_str).collect::<BTreeSet<_>>(), described);
}

#[test]
fn table_shows_ratios_and_a_verdict() {
    let db = Database::new();
    let output = db.tenantry(["benchmark", "search-path", "--iterations", "2", "--tenants", "1"]).run();
    output.assert_code(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 9, "{}", output.stdout);
    assert!(lines[0].starts_with("OPERATION       AVG"), "{}", output.stdout);
    assert!(lines[1].starts_with("fixed-path") && lines[1].ends_with("1.00"), "{}", output.stdout);
    assert!(lines[7].starts_with("TENANTS  FIRST P50"), "{}", output.stdout);
    assert!(output.stderr.contains("setting search_path in each transaction adds"), "{}", output.stderr);
}

#[test]
fn schemas_of_a_benchmark_that_ends_early_are_dropped() {
    let db = Database::new();
    // A user's schema with such a name is kept: it has no comment of a benchmark.
    let own = format!("tenantry_benchmark_{}_0", "0".repeat(32));
    db.execute(&format!("CREATE SCHEMA {own}"));
    let long = ["benchmark", "search-path", "--iterations", "100000000", "--tenants", "60", "-v"];
    let interrupted = db.tenantry(long).spawn();
    interrupted.wait_for_stderr_line("measuring the operations");
    assert_eq!(db.count(LEFT), 61);
    interrupted.signal(Signal::INT);
    interrupted.wait().assert_code(130);
    assert_eq!(db.count(LEFT), 1);

    let killed = db.tenantry(long).spawn();
    killed.wait_for_stderr_line("measuring the operations");
    // Another run does not drop the schemas of one that runs.
    db.tenantry(["benchmark", "search-path", "--iterations", "1", "--tenants", "1"]).run().assert_code(0);
    assert_eq!(db.count(LEFT), 61);
    killed.kill();
    eventually("the sessions of the benchmark end", || {
        db.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            == 0
    });
    assert_eq!(db.count(LEFT), 61);
    db.tenantry(["benchmark", "search-path", "--iterations", "1", "--tenants", "1"]).run().assert_code(0);
    assert_eq!(db.strings("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenantry\\_b%'"), [own]);
}

#[test]
fn role_that_cannot_create_schemas_is_refused() {
    let db = crate::support::set_up();
    let output = db.tenantry(SMALL).env("DATABASE_URL", url_of_a_stranger(&db)).run();
    output.assert_code(3);
    assert!(output.stderr.contains("permission denied for database"), "{}", output.stderr);
    for invalid in [["--iterations", "0"], ["--tenants", "0"]] {
        db.tenantry(["benchmark", "search-path"]).args(invalid).run().assert_code(2);
    }
}
