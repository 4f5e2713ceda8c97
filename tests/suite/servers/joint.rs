//! Commands that work on all servers at once.

use serde_json::json;

use super::{Fleet, texts, tracked};
use crate::support::migrations::Dir;
use crate::support::{Signal, Terminal, eventually, older, with};

/// Tenants `a` on `main`, `b` on `eu`, `c` on `us`, and `d`, `e`, `f` on the same ones.
fn spread(migrations: &Dir) -> Fleet {
    let fleet = Fleet::of(&["eu", "us"]);
    with(&fleet.registry, migrations, &["create", "a", "b", "c", "d", "e", "f"]).run().assert_code(0);
    assert_eq!(tracked(fleet.server("us")), ["c", "f"]);
    fleet
}

#[test]
fn tables_have_the_server_of_each_row() {
    let fleet = spread(&Dir::copy_of_tenant());
    let list = fleet.run(&["list"]);
    let rows: Vec<String> =
        list.stdout.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows, ["SERVER TENANT", "main a", "main d", "eu b", "eu e", "us c", "us f"]);
    assert_eq!(fleet.run(&["list", "--names"]).stdout, "a\nd\nb\ne\nc\nf\n");
    assert_eq!(fleet.run(&["list", "--names", "--server", "us"]).stdout, "c\nf\n");
    assert_eq!(fleet.run(&["list", "--names", "--server", "us,main"]).stdout, "c\nf\na\nd\n");
    assert_eq!(fleet.run(&["list", "--names", "--region", "eu"]).stdout, "b\ne\n");
    let one = fleet.run(&["list", "--server", "us"]);
    assert!(!one.stdout.contains("SERVER"), "{}", one.stdout);
    assert!(fleet.run(&["stats"]).stdout.starts_with("SERVER"));
    let exec = fleet.run(&["exec", "b", "a", "-c", "SELECT 1 AS x"]).stdout;
    assert_eq!(
        exec.split_whitespace().collect::<Vec<_>>(),
        ["SERVER", "TENANT", "X", "main", "a", "1", "eu", "b", "1"]
    );
    let labels = fleet.run(&["label", "--all", "ring=1"]).stdout;
    assert_eq!(labels.lines().count(), 7, "{labels}");
    assert!(fleet.run(&["list", "--label", "ring=1"]).stdout.contains("ring=1"));
    fleet.run(&["archive", "a", "c"]);
    assert_eq!(fleet.run(&["list", "--match", "[ac]"]).stdout.matches("archived").count(), 2);
    fleet.run(&["unarchive", "a", "c"]);
}

#[test]
fn programs_and_csv_and_lines_of_json_are_put_together() {
    let fleet = spread(&Dir::copy_of_tenant());
    let program = fleet.run(&["exec", "a", "c", "--", "printenv", "TENANTRY_TENANT"]).stdout;
    let mut names: Vec<&str> = program.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "c"]);
    let csv = fleet.run(&["exec", "--all", "-c", "SELECT 1 AS x", "--csv"]).stdout;
    assert_eq!(csv, "server,tenant,x\nmain,a,1\nmain,d,1\neu,b,1\neu,e,1\nus,c,1\nus,f,1\n");
    let lines = fleet.run(&["exec", "--all", "--match", "[ab]", "-c", "SELECT 1 AS x", "--json-lines"]).stdout;
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["server"], lines.lines().count()), (&json!("main"), 2), "{lines}");
}

#[test]
#[ignore = "long: make test-long"]
fn documents_have_the_servers_and_sums() {
    let fleet = spread(&older());
    let list = fleet.json(&["list"]);
    assert_eq!(texts(&list["servers"], "server"), ["main", "eu", "us"]);
    assert_eq!(texts(&list["servers"], "region"), ["null", "eu", "us"]);
    assert_eq!(texts(&list["tenants"], "name"), ["a", "d", "b", "e", "c", "f"]);
    assert_eq!(texts(&list["tenants"], "server"), ["main", "main", "eu", "eu", "us", "us"]);
    let plan = fleet.json(&["migrate-all", "--dry-run"]);
    assert_eq!(plan["migrate"].as_array().unwrap().len(), 6);
    let health = fleet.ends(&["health-check", "--format", "json"], 1).json();
    assert_eq!((&health["healthy"], &health["checked"]), (&json!(false), &json!(6)));
    fleet.run(&["migrate-all", "--server", "eu"]);
    let health = fleet.ends(&["health-check", "--format", "json"], 1).json();
    assert_eq!((&health["healthy"], &health["tenants_with_findings"]), (&json!(false), &json!(4)));
    let codes: Vec<_> =
        health["servers"].as_array().unwrap().iter().map(|it| it["exit_code"].as_i64().unwrap()).collect();
    assert_eq!(codes, [1, 0, 1]);
    let run = fleet.json(&["migrate-all"]);
    assert_eq!(run["run"], json!(null));
    let recorded: Vec<bool> = run["servers"].as_array().unwrap().iter().map(|it| it["run"].is_i64()).collect();
    assert_eq!(recorded, [true, false, true], "nothing was done on one: {run}");
    assert_eq!(texts(&run["done"], "server"), ["main", "main", "us", "us"]);
    assert_eq!(run["unchanged"].as_array().unwrap().len(), 2);
    let health = fleet.json(&["health-check"]);
    assert_eq!((&health["healthy"], &health["checked"]), (&json!(true), &json!(6)));
    let stats = fleet.json(&["stats"]);
    assert_eq!(stats["total_tenants"], 6);
    let one: i64 = stats["tenants"].as_array().unwrap().iter().map(|it| it["bytes"].as_i64().unwrap()).sum();
    assert_eq!(stats["total_bytes"].as_i64(), Some(one));
    let exec = fleet.json(&["exec", "--all", "-c", "SELECT 1 AS x"]);
    assert_eq!(texts(&exec["tenants"], "tenant"), ["a", "d", "b", "e", "c", "f"]);
    let reverted = fleet.json(&["revert-all", "--steps", "1", "--yes"]);
    assert_eq!(reverted["done"].as_array().unwrap().len(), 6);
    for args in
        [&["archive", "a", "b"][..], &["label", "a", "b", "x=1"], &["migrate-public"], &["drop", "a", "b", "--yes"]]
    {
        let document = fleet.json(args);
        assert!(document["servers"].as_array().unwrap().len() >= 2, "{args:?}: {document}");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn selection_is_that_of_the_whole_fleet() {
    let fleet = spread(&Dir::copy_of_tenant());
    fleet.run(&["migrate-all", "--match", "b"]);
    fleet.run(&["health-check", "--match", "b"]);
    assert_eq!(fleet.run(&["list", "--names", "--match", "a", "--match", "c"]).stdout, "a\nc\n");
    for command in ["migrate-all", "health-check", "list", "stats"] {
        fleet.says(&[command, "--match", "x"], 1, &["--match x matches none of 6 tenants", "add --allow-empty"]);
        let some = fleet.says(&[command, "--match", "a", "--match", "x"], 1, &["--match x matches none of 6 tenants"]);
        assert_eq!(some.stderr.matches("matches none").count(), 1, "{}", some.stderr);
        fleet.run(&[command, "--match", "x", "--allow-empty"]);
    }
    fleet.run(&["label", "b", "ring=1"]);
    assert_eq!(fleet.run(&["list", "--names", "--label", "ring=1"]).stdout, "b\n");
    fleet.says(&["list", "--label", "ring=2"], 1, &["--label ring=2 selects none of 6 tenants"]);
    fleet.says(&["exec", "a", "nobody", "-c", "SELECT 1"], 2, &["nobody"]);
}

#[test]
#[ignore = "long: make test-long"]
fn reports_and_metrics_have_all_servers() {
    let fleet = spread(&older());
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.xml");
    let path = report.to_str().unwrap();
    fleet.run(&["migrate-all", "--junit", path]);
    let text = std::fs::read_to_string(&report).unwrap();
    for name in ["main: ", "eu: ", "us: "] {
        assert!(text.contains(&format!("<testsuite name=\"{name}")), "{text}");
    }
    assert_eq!(text.matches("<testcase").count(), 6, "{text}");
    fleet.run(&["health-check", "--junit", path]);
    assert_eq!(std::fs::read_to_string(&report).unwrap().matches("<testsuite ").count(), 3);
    let metrics = fleet.run(&["metrics"]).stdout;
    for server in ["main", "eu", "us"] {
        assert!(metrics.contains(&format!("server=\"{server}\"")), "{metrics}");
    }
    let families: Vec<&str> = metrics.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let mut distinct = families.clone();
    distinct.dedup();
    assert_eq!(families, distinct);
    let prom = folder.path().join("tenantry.prom");
    fleet.run(&["metrics", "--output", prom.to_str().unwrap()]);
    assert!(std::fs::read_to_string(prom).unwrap().contains("server=\"us\""));
}

#[test]
fn failure_on_one_server_does_not_stop_the_others() {
    let fleet = spread(&older());
    fleet.server("eu").execute("DROP TABLE b.tasks CASCADE");
    let output = fleet.says(&["migrate-all"], 1, &["eu: tenant b:", "main: 2 migrated", "us: 2 migrated"]);
    assert!(output.stderr.contains("--server eu"), "the command that resumes: {}", output.stderr);
    let runs =
        fleet.registry.strings("SELECT command || ' ' || exit_code FROM schema_fleet_run ORDER BY id DESC LIMIT 1");
    assert_eq!(runs, ["migrate-all 1"]);
    let servers = fleet.registry.strings(
        "SELECT concat_ws(' ', server, exit_code, not_reached, run IS NOT NULL) FROM schema_fleet_run_server \
         WHERE fleet_run = (SELECT max(id) FROM schema_fleet_run) ORDER BY server",
    );
    assert_eq!(servers, ["eu 1 0 t", "main 0 0 t", "us 0 0 t"]);
    let own = "SELECT outcome FROM schema_run WHERE command = 'migrate-all' ORDER BY id DESC LIMIT 1";
    assert_eq!(fleet.server("eu").strings(own), ["failed"]);
    assert_eq!(fleet.server("us").strings(own), ["done"]);
}

#[test]
#[ignore = "long: make test-long"]
fn canary_that_fails_keeps_the_other_servers_as_they_are() {
    let fleet = spread(&older());
    fleet.registry.execute("DROP TABLE a.tasks CASCADE");
    let output = fleet.ends(&["migrate-all", "--canary", "1"], 1);
    assert!(output.stderr.contains("2 not started (eu, us)"), "{}", output.stderr);
    let behind = "SELECT count(*) FROM schema_run WHERE command = 'migrate-all'";
    assert_eq!(fleet.server("eu").count(behind) + fleet.server("us").count(behind), 0);
    let json = fleet.ends(&["migrate-all", "--canary", "1", "--format", "json"], 1).json();
    assert_eq!(json["servers"][1]["exit_code"], json!(null));
    assert_eq!(json["servers"][1]["not_reached"], json!(["b", "e"]));
    fleet.run(&["drop", "a", "--yes"]);
    fleet.run(&["migrate-all", "--canary", "1"]);
    assert_eq!(fleet.server("us").count(behind), 1);
}

#[test]
fn public_migrations_come_to_the_registry_first() {
    let fleet = Fleet::of(&["eu", "us"]);
    let dir = Dir::copy_of_public().add("2031-01-01-000000_shared", "CREATE TABLE shared_of_all (id int);");
    let path = dir.path().to_str().unwrap();
    fleet.registry.execute("CREATE TABLE shared_of_all (id int)");
    let failed = fleet.ends(&["migrate-public", "--public-migrations", path], 1);
    assert!(failed.stderr.contains("2 not started (eu, us)"), "{}", failed.stderr);
    let exists = "SELECT (to_regclass('public.shared_of_all') IS NOT NULL)::int";
    assert_eq!(fleet.server("eu").count(exists), 0);
    fleet.registry.execute("DROP TABLE shared_of_all");
    fleet.run(&["migrate-public", "--public-migrations", path]);
    for db in [&fleet.registry, fleet.server("eu"), fleet.server("us")] {
        assert_eq!(db.count(exists), 1);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn prompts_name_the_server() {
    let fleet = spread(&Dir::copy_of_tenant());
    fleet.says(&["drop", "b", "c"], 4, &["confirmation required"]);
    let mut terminal = Terminal::spawn(fleet.tenantry(&["revert-all", "--steps", "1"]));
    for _ in 0..3 {
        terminal.expect("[y/N]").type_line("n");
    }
    let (screen, code) = terminal.wait();
    assert_eq!(code, Some(4), "{screen}");
    for server in ["main: ", "eu: ", "us: "] {
        assert!(screen.contains(server), "{screen}");
    }
    assert_eq!(fleet.run(&["list", "--names"]).stdout.lines().count(), 6);
}

#[test]
#[ignore = "long: make test-long"]
fn interrupt_ends_the_command_on_all_servers() {
    let fleet = spread(&Dir::copy_of_tenant());
    let dir = Dir::copy_of_tenant().add("2027-01-01-000000_slow", "SELECT pg_sleep(1.5); CREATE TABLE slow (id int);");
    let running = with(&fleet.registry, &dir, &["migrate-all", "--jobs", "1"]).spawn();
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let servers = [&fleet.registry, fleet.server("eu"), fleet.server("us")];
    eventually("the servers are busy", || servers.iter().all(|db| db.count(sleeping) >= 1));
    running.signal(Signal::INT);
    let output = running.wait();
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    for db in servers {
        let done = db.count("SELECT count(*) FROM pg_class WHERE relname = 'slow'");
        assert_eq!(done, 1, "the tenant in progress is finished, the next one is not begun");
        assert_eq!(db.string("SELECT outcome FROM schema_run ORDER BY id DESC LIMIT 1"), "interrupted");
    }
    let fleet_run = fleet.registry.string("SELECT exit_code::text FROM schema_fleet_run ORDER BY id DESC LIMIT 1");
    assert_eq!(fleet_run, "130");
    with(&fleet.registry, &dir, &["migrate-all"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn connections_are_shared_among_the_servers() {
    let fleet = spread(&Dir::copy_of_tenant());
    let dir = Dir::copy_of_tenant().add("2027-01-01-000000_slow", "SELECT pg_sleep(1.2);");
    let running = with(&fleet.registry, &dir, &["migrate-all", "--jobs", "8", "--total-jobs", "3"]).spawn();
    let sleeping = |db: &crate::support::Database| {
        db.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
    };
    let servers = [&fleet.registry, fleet.server("eu"), fleet.server("us")];
    let mut most = 0;
    eventually("the run ends", || {
        let now: Vec<i64> = servers.iter().map(|db| sleeping(db)).collect();
        most = most.max(now.iter().copied().max().unwrap_or(0));
        !running.is_running()
    });
    running.wait().assert_code(0);
    assert_eq!(most, 1, "each server has one of the three connections");
    fleet.says(&["migrate-all", "--total-jobs", "0"], 2, &["--total-jobs"]);
}

#[test]
#[ignore = "long: make test-long"]
fn failures_are_counted_over_all_servers() {
    let fleet = spread(&older());
    for (db, tenants) in
        [(&fleet.registry, ["a", "d"]), (fleet.server("eu"), ["b", "e"]), (fleet.server("us"), ["c", "f"])]
    {
        tenants.iter().for_each(|tenant| db.execute(&format!("DROP TABLE {tenant}.tasks CASCADE")));
    }
    let json = fleet.ends(&["migrate-all", "--max-failures", "2", "--jobs", "1", "--format", "json"], 1).json();
    let failed = json["failed"].as_array().unwrap().len();
    // Each server may have one tenant in progress when the limit is reached.
    assert!((3..=5).contains(&failed), "{failed}: {json}");
    assert_eq!(failed + json["not_reached"].as_array().unwrap().len(), 6, "{json}");
    let all = fleet.ends(&["migrate-all", "--max-failures", "6", "--format", "json"], 1).json();
    assert_eq!(all["failed"].as_array().unwrap().len(), 6);
}

#[test]
fn runs_over_the_servers_are_listed() {
    let fleet = spread(&older());
    fleet.run(&["migrate-all"]);
    let json = fleet.json(&["runs", "fleet"]);
    let newest = &json["runs"][0];
    assert_eq!((&newest["command"], &newest["exit_code"]), (&json!("migrate-all"), &json!(0)));
    assert_eq!(texts(&newest["servers"], "server"), ["eu", "main", "us"]);
    let table = fleet.run(&["runs", "fleet", "--last", "1"]).stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(fleet.run(&["runs"]).stdout.contains("migrate-all"));
    assert!(fleet.run(&["runs", "--server", "us"]).stdout.contains("migrate-all"));
    fleet.says(&["runs", "--region", "us", "show", "1"], 2, &[]);
}
