//! Runs are killed at random moments by SIGKILL.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::{having, seed};
use crate::support::migrations::Dir;
use crate::support::{Database, Running, eventually, exhaustive, set_up, small_fleet, strings, with};

const TENANTS: i64 = 40;

/// All rows of all tenants as one checksum, except for the column that the migrations change.
fn rows(db: &Database) -> String {
    let tenants = (0..TENANTS).map(|n| format!("SELECT {n} AS tenant, id, payload FROM t{n:05}.data"));
    let all = tenants.collect::<Vec<_>>().join(" UNION ALL ");
    db.string(&format!("SELECT count(*) || ' ' || md5(string_agg(tenant || ' ' || id || ' ' || payload, ',' ORDER BY tenant, id)) FROM ({all}) AS all_rows"))
}

/// Adds the migration of a round. Each increments every row, so that a migration applied twice or never is detected.
fn add(migrations: Dir, round: i64) -> Dir {
    let count = "UPDATE data SET n = n + 1;";
    match round % 3 {
        // Non-transactional migrations before and after a transactional one.
        0 => migrations
            .add(
                &format!("{:03}_alone", round + 1),
                &format!(
                    "CREATE INDEX CONCURRENTLY i{round} ON data (n);\n{count}\nDROP INDEX CONCURRENTLY i{round};\n\
                     CREATE INDEX CONCURRENTLY j{round} ON data (id);"
                ),
            )
            .metadata("run_in_transaction = false"),
        1 => migrations.add(&format!("{:03}_table", round + 1), &format!("CREATE TABLE t{round} (i int);\n{count}")),
        _ => migrations.add(
            &format!("{:03}_column", round + 1),
            &format!("{count}\nALTER TABLE data ADD COLUMN c{round} int DEFAULT 7;"),
        ),
    }
}

/// When a run is killed: after a number of completed tenants, and a number of further queries.
struct Moment {
    done: i64,
    queries: u32,
}

impl Moment {
    fn random(random: &mut fastrand::Rng, tenants: i64) -> Self {
        Self { done: random.i64(0..tenants), queries: random.u32(0..60) }
    }
}

/// Kills a run newer than `last` at a moment, or after it has ended. Returns whether it still ran.
fn kill(conn: &mut PgConnection, run: Running, last: i64, moment: Moment) -> bool {
    let mut number = |sql: String| strings(conn, &sql)[0].parse::<i64>().unwrap();
    eventually("the run has reached the moment, or has ended", || {
        let done = number(format!("SELECT count(*) FROM public.schema_run_tenant WHERE run > {last}"));
        // A run without pending migrations is not recorded.
        done >= moment.done || !run.is_running()
    });
    for _ in 0..moment.queries {
        number("SELECT 1".to_owned());
    }
    run.kill();
    run.wait().code.is_none()
}

#[test]
#[ignore = "long: make test-long"]
fn killed_runs_lose_no_tenant_or_row() {
    let kills = exhaustive::choose(50, 20);
    let mut random = fastrand::Rng::with_seed(seed());
    let db = set_up();
    small_fleet(&db, TENANTS as usize, &["001"]);
    let fill: String = (0..TENANTS)
        .map(|n| {
            format!(
                "CREATE TABLE t{n:05}.data (id int PRIMARY KEY, payload text NOT NULL, n int NOT NULL); \
                 INSERT INTO t{n:05}.data SELECT i, md5(i::text || {n}), 0 FROM generate_series(1, 25) AS i;"
            )
        })
        .collect();
    db.execute(&fill);
    let before = rows(&db);
    let mut conn = db.connect();
    conn.batch_execute("SET application_name TO 'onlooker'").unwrap();
    let mut migrations =
        Dir::new().add("001_data", "CREATE TABLE data (id int PRIMARY KEY, payload text NOT NULL, n int NOT NULL);");
    let (mut killed, mut halfway) = (0, 0);
    for round in 1..=kills {
        migrations = add(migrations, round);
        let jobs = random.choice(["1", "3", "8"]).unwrap();
        let last = db.count("SELECT coalesce(max(id), 0) FROM schema_run");
        let run = with(&db, &migrations, &["migrate-all", "--jobs", jobs, "--lock-wait", "10s"]).spawn();
        let moment = Moment::random(&mut random, TENANTS);
        killed += i64::from(kill(&mut conn, run, last, moment));
        let version = format!("{:03}", round + 1);
        let reached = super::at(&db, &version).len() as i64;
        halfway += i64::from((1..TENANTS).contains(&reached));
        with(&db, &migrations, &["migrate-all", "--lock-wait", "10s"]).run().assert_code(0);
        assert_eq!(super::at(&db, &version).len() as i64, TENANTS, "round {round}");
    }
    eprintln!("{killed} of {kills} runs were killed, {halfway} with some tenants done and others not");
    assert!(killed > kills / 2 && halfway > kills / 4, "{killed} killed, {halfway} halfway");
    assert_eq!(rows(&db), before, "no row is lost or changed");
    for n in 0..TENANTS {
        let counted = db.strings(&format!("SELECT DISTINCT n FROM t{n:05}.data"));
        assert_eq!(counted, [kills.to_string()], "each migration was run once in t{n:05}");
    }
    assert_eq!(having(&db, "t1").len() as i64, TENANTS);
    assert_eq!(db.count("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0);
    assert_eq!(
        db.count("SELECT count(*) FROM schema_tracker WHERE state <> 'active' OR unfinished_version IS NOT NULL"),
        0
    );
    with(&db, &migrations, &["health-check"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn killed_command_is_completed_by_the_same_command() {
    let mut random = fastrand::Rng::with_seed(seed());
    let db = set_up();
    let mut conn = db.connect();
    let migrations = Dir::new()
        .add("1_a", "CREATE TABLE a (i int); INSERT INTO a VALUES (1);")
        .add("2_b", "CREATE TABLE b (i int);")
        .down("DROP TABLE b;")
        .add("3_i", "CREATE INDEX CONCURRENTLY a_i ON a (i);\nUPDATE a SET i = i + 1;")
        .metadata("run_in_transaction = false")
        .down("DROP INDEX CONCURRENTLY a_i; UPDATE a SET i = i - 1;");
    let names = super::names(20);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = |expected: &str| {
        let rows: Vec<String> = names.iter().map(|name| format!("SELECT i FROM {name}.a")).collect();
        assert_eq!(db.strings(&rows.join(" UNION ALL ")), vec![expected; names.len()], "done twice, or never");
    };
    let mut killed = 0;
    for _ in 0..4 {
        let create = [&["create", "--if-not-exists"][..], &names].concat();
        let drop = [&["drop", "--yes", "--if-exists"][..], &names].concat();
        let commands = [
            (create, "2"),
            (vec!["revert-all", "--to", "1", "--yes", "--lock-wait", "10s"], "1"),
            (vec!["migrate-all", "--lock-wait", "10s"], "2"),
            (drop, ""),
        ];
        for (command, expected) in commands {
            let last = db.count("SELECT coalesce(max(id), 0) FROM schema_run");
            let run = with(&db, &migrations, &command).args(["--jobs", "3"]).spawn();
            let moment = Moment::random(&mut random, 20);
            killed += i64::from(kill(&mut conn, run, last, moment));
            with(&db, &migrations, &command).run().assert_code(0);
            if expected.is_empty() {
                assert_eq!(crate::support::schemas(&db), Vec::<String>::new());
                assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 0);
            } else {
                values(expected);
            }
            if command[0] == "migrate-all" {
                with(&db, &migrations, &["health-check"]).run().assert_code(0);
            }
        }
    }
    eprintln!("{killed} of 16 commands were killed");
    assert!(killed > 5, "{killed} were killed");
}
