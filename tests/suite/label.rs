//! `label`, and `--label` of the commands that select tenants.

use diesel::connection::SimpleConnection;
use serde_json::json;

use crate::assert_snapshot;
use crate::support::{Database, create_older, fleet, older, run_with, set_up};

/// Four tenants: two of the ring `canary`, one of them with a plan, and one without labels.
fn labeled() -> Database {
    let db = fleet(&["acme", "globex", "initech", "umbrella"]);
    db.tenantry(["label", "acme", "globex", "ring=canary"]).run().assert_code(0);
    db.tenantry(["label", "acme", "initech", "example.com/plan=pro"]).run().assert_code(0);
    db
}

fn names(db: &Database, args: &[&str]) -> Vec<String> {
    let output = db.tenantry(["list", "--names"]).args(args).run();
    output.assert_code(0).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn labels_are_set_replaced_removed_and_listed() {
    let db = fleet(&["acme", "globex"]);
    assert!(!db.tenantry(["list"]).run().stdout.contains("LABELS"));
    assert_snapshot!(db.tenantry(["label", "globex", "acme", "ring=canary", "example.com/plan=pro"]).run(), @r"
        TENANT  LABELS
        globex  example.com/plan=pro,ring=canary
        acme    example.com/plan=pro,ring=canary
        --- stderr
        2 tenants labeled
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["label", "acme", "ring=stable", "example.com/plan-", "none-", "empty="]).run(), @r"
        TENANT  LABELS
        acme    empty=,ring=stable
        --- stderr
        1 tenant labeled
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["label", "acme", "ring=stable"]).run(), @r"
        TENANT  LABELS
        acme    empty=,ring=stable
        --- stderr
        0 tenants labeled, 1 unchanged
        --- exit 0
    ");
    assert_snapshot!(db.tenantry(["list"]).run(), @r"
        TENANT  STATE   VERSION         PENDING  CREATED           LABELS
        acme    active  20260209090000  0        DATE  empty=,ring=stable
        globex  active  20260209090000  0        DATE  example.com/plan=pro,ring=canary
        --- stderr
        2 tenants
        --- exit 0
    ");
    let document = db.tenantry(["list", "--format", "json"]).run().json();
    assert_eq!(document["tenants"][0]["labels"], json!({"empty": "", "ring": "stable"}));
    let document = db.tenantry(["label", "acme", "globex", "ring=stable", "--format", "json"]).run().json();
    assert_eq!(
        document["tenants"],
        json!([
            {"name": "acme", "labels": {"empty": "", "ring": "stable"}, "changed": false},
            {"name": "globex", "labels": {"example.com/plan": "pro", "ring": "stable"}, "changed": true},
        ])
    );
    // For SQL of the operator.
    assert_eq!(
        db.strings("SELECT name FROM schema_tracker WHERE labels @> '{\"example.com/plan\": \"pro\"}'"),
        ["globex"]
    );
    db.tenantry(["label", "--all", "--except", "acme", "ring-", "example.com/plan-"]).run().assert_code(0);
    assert_eq!(db.string("SELECT labels FROM schema_tracker WHERE name = 'globex'"), "{}");
    db.tenantry(["health-check"]).run().assert_code(0);
}

#[test]
fn an_invalid_label_or_an_unknown_tenant_changes_nothing() {
    let db = fleet(&["acme", "globex"]);
    for (words, code, message) in [
        (&["acme", "ring=a b"][..], "invalid-label", "invalid label value \"a b\""),
        (&["acme", "-ring=a"], "unknown-argument", "unexpected argument"),
        (&["acme", "ring:a=b"], "invalid-label", "invalid label key \"ring:a\""),
        (&["acme", "ring=a", "b"], "invalid-label", "expected KEY=VALUE or KEY-, got \"b\""),
        (&["acme", "ring=a", "ring-"], "invalid-label", "label ring is given twice"),
        (&["acme"], "missing-argument", "no label specified"),
        (&["ring=a"], "missing-argument", "no tenant specified"),
        (&["--all", "acme", "ring=a"], "invalid-label", "expected KEY=VALUE or KEY-, got \"acme\""),
    ] {
        let output = db.tenantry(["label", "--format", "json"]).args(words).run();
        let error = &output.assert_code(2).json()["error"];
        assert_eq!(error["code"], code, "{words:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(message)), "{words:?}: {error}");
    }
    assert_snapshot!(db.tenantry(["label", "globex", "acem", "ring=a"]).run(), @r"
        --- stderr
        error: tenant acem: not tracked in public.schema_tracker
        hint: a tenant with a similar name is acme
        --- exit 3
    ");
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE labels <> '{}'"), 0);
    // Another session holds the row: the command does not wait for longer than the lock timeout.
    let mut other = db.connect();
    other.batch_execute("BEGIN; SELECT FROM schema_tracker WHERE name = 'acme' FOR UPDATE").expect("a lock");
    let output = db.tenantry(["label", "--all", "ring=a", "--lock-timeout", "100ms", "--format", "json"]).run();
    assert_eq!(output.json()["error"]["sqlstate"], "55P03");
    other.batch_execute("ROLLBACK").expect("the end");
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE labels <> '{}'"), 0);
}

#[test]
fn all_labels_must_be_present_and_patterns_restrict_further() {
    let db = labeled();
    assert_eq!(names(&db, &["--label", "ring=canary"]), ["acme", "globex"]);
    assert_eq!(names(&db, &["--label", "example.com/plan"]), ["acme", "initech"]);
    assert_eq!(names(&db, &["--label", "ring=canary", "--label", "example.com/plan=pro"]), ["acme"]);
    assert_eq!(names(&db, &["--label", "ring", "--match", "^g"]), ["globex"]);
    for args in [
        &["--label", "ring=stable"][..],
        &["--label", "ring=canary", "--label", "ring=stable"],
        &["--label", "ring=canary", "--match", "umbrella"],
    ] {
        let refused = db.tenantry(["list"]).args(args).run();
        assert!(refused.assert_code(1).stderr.contains("none of 4 tenants"), "{args:?}: {}", refused.stderr);
        assert_eq!(names(&db, &[args, &["--allow-empty"]].concat()), [""; 0]);
    }
    assert_snapshot!(db.tenantry(["stats", "--label", "ring=stable"]).run(), @r"
        --- stderr
        error: --label ring=stable selects none of 4 tenants
        hint: 'tenantry list' lists the tenants; to accept this, add --allow-empty
        --- exit 1
    ");
    db.tenantry(["list", "--label", "a b"]).run().assert_code(2);
    db.tenantry(["health-check", "acme", "--label", "ring"]).run().assert_code(2);
}

#[test]
fn every_command_of_the_fleet_selects_by_labels() {
    let db = set_up();
    create_older(&db, &["acme", "globex", "initech"]);
    db.tenantry(["label", "acme", "globex", "ring=canary"]).run().assert_code(0);
    let behind =
        || db.strings("SELECT tenant FROM schema_run_tenant WHERE run = (SELECT max(id) FROM schema_run) ORDER BY 1");
    db.execute("ALTER TABLE globex.tasks ADD priority int");
    let migrated = db.tenantry(["migrate-all", "--label", "ring=canary"]).run();
    assert!(migrated.assert_code(1).stderr.contains("1 migrated, 1 failed"), "{}", migrated.stderr);
    assert_eq!(behind(), ["acme", "globex"]);
    assert_eq!(
        db.string("SELECT request -> 'selection' FROM schema_run ORDER BY id DESC LIMIT 1"),
        r#"{"match": [], "except": [], "labels": ["ring=canary"]}"#
    );
    let shown = db.tenantry(["runs", "show"]).arg(db.string("SELECT max(id) FROM schema_run")).run();
    assert!(shown.stderr.contains("migrate-all --label ring=canary --retry-failed"), "{}", shown.stderr);
    db.execute("ALTER TABLE globex.tasks DROP priority");
    db.tenantry(["migrate-all", "--label", "ring=canary"]).run().assert_code(0);
    assert_eq!(behind(), ["globex"]);

    let json = |args: &[&str]| db.tenantry(args).args(["--label", "ring", "--format", "json"]).run().json();
    assert_eq!(json(&["health-check"])["checked"], 2);
    assert_eq!(json(&["stats"])["total_tenants"], 2);
    let read = json(&["exec", "--all", "-c", "SELECT 1"]);
    assert_eq!(read["tenants"].as_array().map(Vec::len), Some(2), "{read}");
    let plan = json(&["isolate", "--all", "--dry-run"]);
    assert_eq!(plan["roles"].as_array().map(Vec::len), Some(2), "{plan}");
    let reverted =
        db.tenantry(["revert-all", "--steps", "1", "--yes", "--label", "ring=canary", "--match", "^a"]).run();
    assert!(reverted.assert_code(0).stderr.contains("1 reverted"), "{}", reverted.stderr);
    run_with(&db, &older(), &["isolate", "--all", "--label", "ring=none", "--dry-run"]).assert_code(1);
}
