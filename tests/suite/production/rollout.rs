//! Rollouts in stages: their order, what stops a run early, and how the remaining tenants are migrated.

use std::collections::BTreeSet;

use super::{at, having, listed, names};
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, set_up, small_fleet, with};

fn fleet(tenants: usize) -> Database {
    let db = set_up();
    small_fleet(&db, tenants, &["1"]);
    db.execute(&names(tenants).into_iter().map(|name| format!("CREATE TABLE {name}.a (i int);")).collect::<String>());
    db
}

/// Migrations of which the last fails in tenants that do not meet the condition.
fn migrations(holds: &str) -> Dir {
    // The tenants differ only in their names.
    let check = format!("SELECT 1 / ({holds})::int FROM current_schema() AS name;");
    Dir::new().add("1_a", "CREATE TABLE a (i int);").add("2_b", &format!("CREATE TABLE b (i int);\n{check}"))
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The order in which tenants were completed in the newest run.
fn order(db: &Database) -> Vec<String> {
    db.strings(
        "SELECT tenant FROM schema_run_tenant WHERE run = (SELECT max(id) FROM schema_run) ORDER BY started_at, tenant",
    )
}

fn json(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    with(db, migrations, &["migrate-all", "--format", "json"]).args(args).run()
}

fn ended(output: &Output) -> Option<String> {
    output.json()["stop_reason"].as_str().map(str::to_owned)
}

#[test]
#[ignore = "long: make test-long"]
fn failed_canary_stops_the_rollout() {
    let db = fleet(12);
    let migrations = migrations("name <> 't00001'");
    let first = with(&db, &migrations, &["migrate-all", "--canary", "3"]).run();
    assert_snapshot!(first, @r"
        --- stderr
        error: tenant t00001: migration 2_b/up.sql:2 failed: division by zero
          statement: SELECT 1 / (name <> 't00001')::int FROM current_schema() AS name
          effect: rolled back, nothing was changed
        error: canary failed; stopped before the remaining tenants
        2 migrated, 1 failed, 9 not reached (run 1)
        hint: to retry: tenantry migrate-all --canary '^t00001$' --tenant-migrations MIGRATIONS
        --- exit 1
    ");
    first.assert_code(1);
    assert_eq!(having(&db, "b"), set(&["t00000", "t00002"]));
    // Canaries chosen by a pattern are migrated first.
    let second = json(&db, &migrations, &["--canary", "^t0000[17]$"]);
    second.assert_code(1);
    assert_eq!(ended(&second).as_deref(), Some("canary"));
    assert_eq!((listed(&second, "done"), listed(&second, "failed")), (set(&["t00007"]), set(&["t00001"])));
    assert_eq!(listed(&second, "not_reached").len(), 9 - 1);
    // A percentage of the tenants with pending migrations, rounded up: 15 percent of 9.
    let third = json(&db, &migrations, &["--canary", "15%", "--match", "^t0000[1-6]|^t0001|^t0000[89]$"]);
    third.assert_code(1);
    assert_eq!(ended(&third).as_deref(), Some("canary"));
    assert_eq!((listed(&third, "done"), listed(&third, "failed")), (set(&["t00003"]), set(&["t00001"])));
    for refused in ["0%", "101%", "t%"] {
        let refused = with(&db, &migrations, &["migrate-all", "--canary", refused]).run();
        refused.assert_code(2);
        assert!(refused.stderr.contains("a percentage of tenants is above 0%"), "{}", refused.stderr);
    }
    let none = with(&db, &migrations, &["migrate-all", "--canary", "^x"]).run();
    none.assert_code(2);
    assert!(none.stderr.contains("matches no tenant of this run"), "{}", none.stderr);
    let fine = json(&db, &migrations, &["--canary", "^t00004$", "--except", "^t00001$"]);
    fine.assert_code(0);
    assert_eq!(order(&db)[0], "t00004");
    assert_eq!(at(&db, "2").len(), 11);
}

#[test]
#[ignore = "long: make test-long"]
fn canary_with_drift_stops_the_rollout() {
    let db = fleet(8);
    db.execute("ALTER TABLE t00000.a ADD COLUMN by_hand text");
    let migrations = migrations("true");
    let run = with(&db, &migrations, &["migrate-all", "--canary", "2"]).run();
    assert_snapshot!(run, @r"
        --- stderr
        error: tenant t00000: migrated, but has 1 difference from the reference: column.extra a.by_hand
        hint: 'tenantry diff t00000 --tenant-migrations MIGRATIONS' shows the differences
        error: canary failed; stopped before the remaining tenants
        1 migrated, 1 failed, 6 not reached (run 1)
        hint: to retry: tenantry migrate-all --canary '^t00000$' --tenant-migrations MIGRATIONS
        --- exit 1
    ");
    run.assert_code(1);
    // The tenant is migrated nevertheless, and its drift is reported.
    assert_eq!(at(&db, "2"), set(&["t00000", "t00001"]));
    // The command in the hint checks that tenant again, although none of its migrations is pending.
    assert!(run.stderr.contains("migrate-all --canary '^t00000$'"), "{}", run.stderr);
    for _ in 0..2 {
        let again = json(&db, &migrations, &["--canary", "^t00000$"]);
        again.assert_code(1);
        assert_eq!((ended(&again).as_deref(), listed(&again, "failed")), (Some("canary"), set(&["t00000"])));
        assert_eq!((listed(&again, "done").len(), listed(&again, "not_reached").len()), (0, 6));
        assert!(again.stderr.contains("--canary '^t00000$'"), "{}", again.stderr);
    }
    assert_eq!(at(&db, "2").len(), 2);
    db.execute("ALTER TABLE t00000.a DROP COLUMN by_hand");
    json(&db, &migrations, &["--canary", "^t00000$"]).assert_code(0);
    assert_eq!(at(&db, "2").len(), 8);
}

#[test]
#[ignore = "long: make test-long"]
fn drift_counts_toward_the_failure_limit() {
    let template = fleet(40);
    let tables = names(40).into_iter().map(|name| format!("ALTER TABLE {name}.a ADD COLUMN by_hand text;"));
    template.execute(&tables.collect::<String>());
    let migrations = migrations("true");
    for (flags, why, many) in
        [(&[][..], "breaker", 10), (&["--fail-fast"], "failure", 5), (&["--max-failures", "7"], "failure", 10)]
    {
        let db = template.copy();
        let batch = if flags.is_empty() { "10" } else { "5" };
        let run = json(&db, &migrations, &[flags, &["--verify", "--batch", batch]].concat());
        run.assert_code(1);
        assert_eq!((ended(&run).as_deref(), listed(&run, "failed").len()), (Some(why), many), "{}", run.stderr);
        assert_eq!(at(&db, "2").len(), many, "no other tenant was started");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn drift_is_reported_until_it_is_repaired() {
    let db = fleet(30);
    let tables = names(30).into_iter().map(|name| format!("ALTER TABLE {name}.a ADD COLUMN by_hand text;"));
    db.execute(&tables.collect::<String>());
    let migrations = migrations("true");
    // The failure limit bounds how many tenants start before the results of others are known.
    let first = json(&db, &migrations, &["--verify", "--max-failures", "3", "--jobs", "2"]);
    first.assert_code(1);
    let failed = listed(&first, "failed");
    assert!((4..=10).contains(&failed.len()), "{failed:?}");
    assert_eq!(at(&db, "2"), failed);
    let again = json(&db, &migrations, &["--verify", "--max-failures", "0"]);
    again.assert_code(1);
    assert_eq!((listed(&again, "failed"), listed(&again, "done").len()), (failed.clone(), 0));
    // A failed canary ends the run before any other rule.
    let canary = json(&db, &migrations, &["--canary", "1", "--fail-fast"]);
    assert_eq!(ended(&canary).as_deref(), Some("canary"));
    assert!(canary.stderr.contains("migrate-all --canary '^t000"), "{}", canary.stderr);
    db.execute(
        &names(30).into_iter().map(|name| format!("ALTER TABLE {name}.a DROP COLUMN by_hand;")).collect::<String>(),
    );
    json(&db, &migrations, &["--verify"]).assert_code(0);
    json(&db, &migrations, &["--verify"]).assert_code(0);
}

#[test]
fn retry_hint_repeats_the_options_of_the_rollout() {
    let db = fleet(14);
    let migrations = migrations("name <> 't00001'");
    // Some tenants of the earlier run were not reached.
    json(&db, &self::migrations("false"), &["--max-failures", "100%"]).assert_code(1);
    let run = json(&db, &migrations, &["--retry-failed", "1", "--batch", "2", "--fail-fast", "--to", "2", "--verify"]);
    run.assert_code(1);
    let again = "migrate-all --retry-failed 1 --batch 2 --fail-fast --to 2 --verify";
    assert!(run.stderr.contains(&format!("to retry: tenantry {again}")), "{}", run.stderr);
    let one = with(&db, &migrations, &["migrate-one", "t00001", "--to", "2", "--verify", "--retries", "1"]).run();
    one.assert_code(1);
    assert!(one.stderr.contains("to retry: tenantry migrate-one t00001 --to 2 --verify --tenant"), "{}", one.stderr);
    assert!(one.stderr.contains("--retries 1"), "{}", one.stderr);
}

#[test]
fn verify_reports_drift_of_any_tenant() {
    let db = fleet(8);
    db.execute("ALTER TABLE t00005.a ADD COLUMN by_hand text");
    let migrations = migrations("true");
    let run = json(&db, &migrations, &["--verify"]);
    run.assert_code(1);
    assert_eq!(listed(&run, "failed"), set(&["t00005"]));
    assert_eq!(run.json()["failed"][0]["code"], "drifted");
    assert!(run.stderr.contains("column by_hand") || run.stderr.contains("by_hand"), "{}", run.stderr);
    assert_eq!((listed(&run, "done").len(), at(&db, "2").len()), (7, 8));
}

#[test]
fn batches_run_one_after_another() {
    let db = fleet(7);
    let migrations = migrations("true");
    let run = with(&db, &migrations, &["migrate-all", "--batch", "3", "--pause", "300ms", "--jobs", "3"]).run();
    run.assert_code(0);
    let pauses: Vec<&str> = run.stderr.lines().filter(|line| line.contains("; pausing for ")).collect();
    assert_eq!(
        pauses,
        [
            "3 of 7 tenants migrated; pausing for 300ms before the next batch",
            "6 of 7 tenants migrated; pausing for 300ms before the next batch"
        ]
    );
    let at_least_apart = "SELECT min(later.started_at) - max(earlier.started_at) >= interval '300 ms' \
                          FROM schema_run_tenant AS earlier, schema_run_tenant AS later WHERE earlier.tenant = ANY ($1) AND later.tenant = ANY ($2)";
    for (earlier, later) in
        [("{t00000,t00001,t00002}", "{t00003,t00004,t00005}"), ("{t00003,t00004,t00005}", "{t00006}")]
    {
        let sql = at_least_apart.replace("$1", &format!("'{earlier}'")).replace("$2", &format!("'{later}'"));
        assert_eq!(db.string(&sql), "true", "{earlier} and {later}");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn run_stops_at_the_failure_limit() {
    let migrations = migrations("right(name, 1) NOT IN ('1', '2', '4', '7')");
    // One job, so that only one tenant is running when the limit is reached.
    let cases: [(&[&str], usize, usize, Option<&str>); 5] = [
        (&["--max-failures", "2"], 3, 2, Some("failure")),
        (&["--max-failures", "25%"], 4, 4, Some("failure")),
        (&["--fail-fast"], 1, 1, Some("failure")),
        (&["--max-failures", "5"], 5, 7, None),
        (&["--max-failures", "100%"], 5, 7, None),
    ];
    let template = fleet(12);
    for (flags, failed, done, why) in cases {
        let db = template.copy();
        let run = json(&db, &migrations, &[flags, &["--jobs", "1"]].concat());
        run.assert_code(1);
        assert_eq!(ended(&run).as_deref(), why, "{flags:?}: {}", run.stderr);
        assert_eq!((listed(&run, "failed").len(), listed(&run, "done").len()), (failed, done), "{flags:?}");
        assert_eq!(listed(&run, "not_reached").len(), 12 - failed - done, "{flags:?}");
        assert_eq!(at(&db, "2"), listed(&run, "done"));
    }
}

#[test]
#[ignore = "long: make test-long"]
fn breaker_stops_only_runs_with_one_common_failure() {
    let template = fleet(40);
    let all = migrations("false");
    let db = template.copy();
    let run = with(&db, &all, &["migrate-all", "--jobs", "1"]).run();
    assert_snapshot!(run);
    run.assert_code(1);
    let failed = db.count("SELECT count(*) FROM schema_run_tenant WHERE outcome = 'failed'");
    assert_eq!(failed, 10);
    // An explicit limit disables the breaker.
    let db = template.copy();
    assert_eq!(listed(&json(&db, &all, &["--max-failures", "100%"]), "failed").len(), 40);
    // Two different failures.
    let two_ways = Dir::new().add("1_a", "CREATE TABLE a (i int);").add(
        "2_b",
        "DO $$ BEGIN IF right(current_schema(), 1) < '5' THEN RAISE 'one way'; ELSE RAISE 'another'; END IF; END $$;",
    );
    let db = template.copy();
    let run = json(&db, &two_ways, &[]);
    run.assert_code(1);
    assert_eq!((ended(&run), listed(&run, "failed").len()), (None, 40));
    // One success shows that the migration is not the cause.
    let most = migrations("name = 't00000'");
    let db = template.copy();
    let run = json(&db, &most, &["--jobs", "1"]);
    run.assert_code(1);
    assert_eq!((ended(&run), listed(&run, "failed").len()), (None, 39));
}

#[test]
fn shards_are_disjoint_and_complete() {
    let db = fleet(60);
    let migrations = migrations("true");
    let shards = ["1/3", "2/3", "3/3"];
    let runs: Vec<_> = shards
        .iter()
        .map(|shard| with(&db, &migrations, &["migrate-all", "--format", "json", "--shard", shard]).spawn())
        .collect();
    let outputs: Vec<Output> = runs.into_iter().map(|run| run.wait()).collect();
    let done: Vec<BTreeSet<String>> = outputs.iter().map(|output| listed(output.assert_code(0), "done")).collect();
    assert!(done.iter().all(|part| (8..=32).contains(&part.len())), "{done:?}");
    assert_eq!(done.iter().map(BTreeSet::len).sum::<usize>(), 60);
    assert_eq!(done.into_iter().flatten().collect::<BTreeSet<_>>(), names(60).into_iter().collect());
    assert_eq!(at(&db, "2").len(), 60);
    with(&db, &migrations, &["migrate-all", "--shard", "4/3"]).run().assert_code(2);
}

#[test]
fn order_by_age_or_size_is_respected() {
    let template = fleet(6);
    template.execute(
        "UPDATE schema_tracker SET created_at = now() - interval '1 day' * right(name, 1)::int; \
         INSERT INTO t00000.a SELECT generate_series(1, 30000); INSERT INTO t00001.a SELECT generate_series(1, 3000); \
         INSERT INTO t00003.a SELECT generate_series(1, 10000); ANALYZE",
    );
    let migrations = migrations("true");
    let run = |flags: &[&str]| {
        let db = template.copy();
        json(&db, &migrations, &[flags, &["--jobs", "1"]].concat()).assert_code(0);
        order(&db)
    };
    assert_eq!(run(&[]), names(6));
    assert_eq!(run(&["--order", "created"]), names(6).into_iter().rev().collect::<Vec<_>>());
    assert_eq!(run(&["--order", "size"])[3..], ["t00001", "t00003", "t00000"]);
}

#[test]
fn migrate_all_stops_at_the_given_version() {
    let db = fleet(5);
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", "CREATE TABLE b (i int);")
        .add("3_c", "CREATE TABLE c (i int);");
    let run = json(&db, &migrations, &["--to", "2"]);
    run.assert_code(0);
    assert_eq!((having(&db, "b").len(), having(&db, "c").len(), at(&db, "3").len()), (5, 0, 0));
    // Tenants at a later version are not changed.
    json(&db, &migrations, &["--match", "t00000"]).assert_code(0);
    assert_eq!(listed(json(&db, &migrations, &["--to", "2"]).assert_code(0), "unchanged").len(), 5);
    with(&db, &migrations, &["migrate-all", "--to", "9"]).run().assert_code(2);
    json(&db, &migrations, &[]).assert_code(0);
    assert_eq!(at(&db, "3").len(), 5);
}

#[test]
fn retry_failed_migrates_only_failed_tenants() {
    let db = fleet(20);
    let failing = "right(name, 1) NOT IN ('1', '2', '3', '4', '5', '6')";
    let migrations = migrations(failing);
    let first = with(&db, &migrations, &["migrate-all"]).run();
    first.assert_code(1);
    assert!(first.stderr.contains("to retry: tenantry migrate-all --retry-failed 1"), "{}", first.stderr);
    // The migration is corrected, and a tenant that was not in the run is added.
    migrations.write("2_b/up.sql", "CREATE TABLE b (i int);");
    with(&db, &migrations, &["repair", "--accept", "2", "--reason", "corrected"]).run().assert_code(0);
    small_fleet_of_one(&db);
    let again = json(&db, &migrations, &["--retry-failed", "1"]);
    again.assert_code(0);
    assert_eq!(listed(&again, "done").len(), 12);
    assert!(!at(&db, "2").contains("t00099"));
    let unknown = with(&db, &migrations, &["migrate-all", "--retry-failed", "77"]).run();
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("run 77 does not exist"), "{}", unknown.stderr);
}

fn small_fleet_of_one(db: &Database) {
    db.execute(
        "CREATE SCHEMA t00099; CREATE TABLE t00099.a (i int); CREATE TABLE t00099.__diesel_schema_migrations AS TABLE \
         t00000.__diesel_schema_migrations; DELETE FROM t00099.__diesel_schema_migrations WHERE version = '2'; \
         INSERT INTO schema_tracker (name, state) VALUES ('t00099', 'active')",
    );
}
