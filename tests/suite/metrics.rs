//! `metrics`

use std::collections::BTreeMap;

use crate::support::migrations::Dir;
use crate::support::{Database, create_older, fleet, with};

/// The values by name and labels.
fn metrics(text: &str) -> BTreeMap<String, i64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

fn printed(db: &Database) -> BTreeMap<String, i64> {
    let output = db.tenantry(["metrics"]).run();
    output.assert_code(0);
    metrics(&output.stdout)
}

#[test]
fn tenants_are_counted_by_state_and_problem() {
    let db = fleet(&["acme", "globex"]);
    let healthy = printed(&db);
    assert_eq!(healthy["tenantry_tenants{state=\"active\"}"], 2);
    assert_eq!(healthy["tenantry_tenants{state=\"dropping\"}"], 0);
    assert_eq!(healthy["tenantry_findings{kind=\"schema-missing\"}"], 0);
    for name in ["behind", "drifted", "unchecked", "failed"] {
        assert_eq!(healthy[&format!("tenantry_tenants_{name}")], 0, "{name}");
    }
    assert_eq!(healthy["tenantry_tenants_checked"], 2);
    assert_eq!(healthy["tenantry_last_run_tenants{outcome=\"done\"}"], 2);

    create_older(&db, &["initech", "umbrella"]);
    db.execute("ALTER TABLE acme.users ADD COLUMN more int; DROP SCHEMA globex CASCADE");
    let found = printed(&db);
    assert_eq!(found["tenantry_tenants{state=\"active\"}"], 4);
    assert_eq!(found["tenantry_tenants_behind"], 3, "also the one without a schema");
    assert_eq!(found["tenantry_tenants_drifted"], 1);
    assert_eq!(found["tenantry_findings{kind=\"schema-missing\"}"], 1);
}

#[test]
fn failed_tenants_are_counted_until_a_run_completes_them() {
    let db = fleet(&["acme", "globex"]);
    let migrations = |sql: &str| Dir::copy_of_tenant().add("99990101000000_next", sql);
    let migrate = |sql| with(&db, &migrations(sql), &["migrate-all"]).run();
    migrate("SELECT 1 / 0").assert_code(1);
    let failed = printed(&db);
    assert_eq!(failed["tenantry_tenants_failed"], 2);
    assert!(failed.keys().any(|name| name.contains("last_run_started_seconds{command=\"migrate-all\",outcome=\"")));
}

#[test]
fn file_is_replaced_and_readable() {
    use std::os::unix::fs::PermissionsExt as _;
    let db = fleet(&["acme"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tenantry.prom");
    std::fs::write(&file, "old").unwrap();
    let output = db.tenantry(["metrics", "--output"]).arg(&file).run();
    output.assert_code(0);
    assert_eq!(output.stdout, "");
    assert_eq!(metrics(&std::fs::read_to_string(&file).unwrap())["tenantry_tenants{state=\"active\"}"], 1);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");

    // A check that fails leaves the old metrics.
    let broken = db.tenantry(["metrics", "--output"]).arg(&file).env("DATABASE_URL", "host=/nowhere").run();
    broken.assert_code(5);
    assert!(metrics(&std::fs::read_to_string(&file).unwrap()).len() > 10, "the old metrics are kept");
    let output = db.tenantry(["metrics", "--output", "/nowhere/at/all"]).run();
    output.assert_code(2);
    assert!(output.stderr.contains("cannot write /nowhere/at/all"), "{}", output.stderr);
}
