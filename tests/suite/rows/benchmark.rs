//! `benchmark isolation`: what it measures, and that nothing of it remains. How long anything takes is not tested.

use std::collections::BTreeSet;

use crate::support::{Database, Signal, eventually, url_of_a_stranger};

const SMALL: [&str; 8] = ["benchmark", "isolation", "--rows", "300", "--tenants", "3", "--iterations", "5"];

/// The names of all roles, schemas and tables.
fn objects(db: &Database) -> BTreeSet<String> {
    // Other tests create and drop roles meanwhile.
    let sql = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'tenantry_benchmark%' \
               UNION ALL SELECT nspname::text FROM pg_namespace UNION ALL SELECT relname::text FROM pg_class";
    db.strings(sql).into_iter().collect()
}

#[test]
fn each_operation_is_measured_with_each_isolation() {
    let db = Database::new();
    let before = objects(&db);
    let output = db.tenantry(SMALL).args(["--format", "json"]).run();
    output.assert_code(0);
    let document = output.json();
    let measurements = document["measurements"].as_array().unwrap();
    let measured: Vec<(&str, &str)> = measurements
        .iter()
        .map(|one| (one["operation"].as_str().unwrap(), one["isolation"].as_str().unwrap()))
        .collect();
    let expected: Vec<(&str, &str)> = ["point", "join", "insert", "scan"]
        .into_iter()
        .flat_map(|operation| ["none", "where", "setting", "signed"].map(|isolation| (operation, isolation)))
        .collect();
    assert_eq!(measured, expected);
    for one in measurements {
        let number = |field: &str| one[field].as_u64().unwrap();
        assert!(number("p50_ns") > 0 && number("p95_ns") >= number("p50_ns"), "{one}");
        assert!(one["isolation"] != "none" || number("percent") == 100, "{one}");
    }
    assert_eq!((&document["rows"], &document["tenants"]), (&300.into(), &3.into()));
    assert!(document["scan_percent"].is_u64() && document["within_limit"].is_boolean(), "{document}");
    assert!(document["verdict"].as_str().unwrap().contains("a scan of 300 rows"), "{document}");
    assert_eq!(objects(&db), before);
    // The times differ each time, so that docs/json.md does not show the document.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let (_, section) = page.split_once("### benchmark isolation\n").unwrap();
    let described: BTreeSet<&str> = section
        .lines()
        .take_while(|line| !line.starts_with("### ") || line.contains("Measurement"))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key))
        .collect();
    let keys = document.as_object().unwrap().keys().chain(measurements[0].as_object().unwrap().keys());
    assert_eq!(keys.map(String::as_str).collect::<BTreeSet<_>>(), described);
}

#[test]
fn table_shows_ratios_and_a_verdict() {
    let db = Database::new();
    let output = db.tenantry(SMALL).run();
    output.assert_code(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 17, "{}", output.stdout);
    assert!(lines[0].starts_with("OPERATION  ISOLATION  P50"), "{}", output.stdout);
    assert!(lines[1].starts_with("point      none") && lines[1].ends_with("1.00"), "{}", output.stdout);
    assert!(output.stderr.contains("as long as an explicit condition"), "{}", output.stderr);
}

/// An interrupt, or the death of the process, leaves nothing: the transaction is rolled back.
#[test]
fn nothing_remains_of_a_benchmark_that_ends_early() {
    for kills in [false, true] {
        let db = Database::new();
        let before = objects(&db);
        let running =
            db.tenantry(["benchmark", "isolation", "--iterations", "100000000", "--rows", "100", "-v"]).spawn();
        running.wait_for_stderr_line("point");
        if kills {
            running.kill();
        } else {
            running.signal(Signal::INT);
            running.wait().assert_code(130);
        }
        eventually("the session of the benchmark ends", || {
            db.count(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            ) == 0
        });
        assert_eq!(objects(&db), before, "kills: {kills}");
    }
}

#[test]
fn benchmark_requires_a_superuser() {
    let db = crate::support::set_up();
    let output = db.tenantry(SMALL).env("DATABASE_URL", url_of_a_stranger(&db)).run();
    output.assert_code(3);
    assert!(output.stderr.contains("the connected role is not a superuser"), "{}", output.stderr);
    for invalid in [["--rows", "0"], ["--iterations", "0"], ["--tenants", "x"]] {
        db.tenantry(["benchmark", "isolation"]).args(invalid).run().assert_code(2);
    }
}
