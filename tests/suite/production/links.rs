//! The connection is lost at each message in turn, with several workers: each tenant is before or after its migrations,
//! and the next run completes the rest.

use super::{at, having};
use crate::support::migrations::Dir;
use crate::support::proxy::{CutPoint, Proxy};
use crate::support::{Database, Output, assert_whole, server, set_up, small_fleet, with};

const TENANTS: usize = 5;

/// Migrations that can be reverted, some transactional and one not.
fn migrations() -> Dir {
    Dir::new()
        .add("1_a", "CREATE TABLE a (i int);")
        .add("2_b", "CREATE TABLE b (i int); CREATE TABLE c (i int);")
        .down("DROP TABLE b; DROP TABLE c;")
        .add("3_index", "CREATE INDEX CONCURRENTLY a_i ON a (i);\nUPDATE a SET i = i + 1;")
        .metadata("run_in_transaction = false")
        .down("DROP INDEX a_i; UPDATE a SET i = i - 1;")
        .add("4_d", "CREATE TABLE d (i int);")
        .down("DROP TABLE d;")
}

/// One database in which the connection is lost at one message.
struct Story<'a> {
    migrations: &'a Dir,
    db: &'a Database,
    proxy: &'a Proxy,
}

impl Story<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let url = self.proxy.url(self.db.name());
        with(self.db, self.migrations, args).args(["--jobs", "3"]).env("DATABASE_URL", url).run()
    }

    /// The counter of each tenant's only row: how often the non-transactional update ran.
    fn counted(&self) -> Vec<String> {
        self.db
            .strings(&(0..TENANTS).map(|n| format!("SELECT i FROM t{n:05}.a")).collect::<Vec<_>>().join(" UNION ALL "))
    }
}

/// Cuts the connection at each `step`-th message of a command until the command ends before the cut. Returns the number
/// of cuts, and how many of them the run survived.
fn cut_everywhere(prepare: &[&str], command: &[&str], step: usize, after: impl Fn(&Story<'_>)) -> (usize, usize) {
    let migrations = migrations();
    let template = set_up();
    small_fleet(&template, TENANTS, &["1"]);
    let rows = (0..TENANTS).map(|n| format!("CREATE TABLE t{n:05}.a (i int); INSERT INTO t{n:05}.a VALUES (7);"));
    template.execute(&rows.collect::<String>());
    if !prepare.is_empty() {
        with(&template, &migrations, prepare).run().assert_code(0);
    }
    let proxy = Proxy::start(server());
    let (mut cuts, mut survived) = (0, 0);
    for point in [CutPoint::Before, CutPoint::After] {
        for n in (1..).step_by(step) {
            let db = template.copy();
            let story = Story { migrations: &migrations, db: &db, proxy: &proxy };
            proxy.reset();
            proxy.cut_at(n, point);
            let first = story.run(command);
            assert!(first.code.is_some_and(|code| [0, 1, 5].contains(&code)), "cut at {n}: {}", first.stderr);
            let reached = proxy.messages();
            proxy.reset();
            assert_whole(&db, &["b", "c"], "2");
            assert_whole(&db, &["d"], "4");
            // Each failure of a tenant names the tenant.
            assert!(first.code != Some(1) || first.stderr.contains("tenant t0000"), "cut at {n}: {}", first.stderr);
            after(&story);
            if reached < n {
                break;
            }
            cuts += 1;
            survived += usize::from(first.code == Some(0));
        }
    }
    (cuts, survived)
}

#[test]
#[ignore = "long: make test-long"]
fn rollout_survives_a_lost_connection_at_any_message() {
    let (cuts, survived) = cut_everywhere(&[], &["migrate-all"], 5, |story| {
        story.run(&["migrate-all"]).assert_code(0);
        assert_eq!((at(story.db, "4").len(), having(story.db, "d").len()), (TENANTS, TENANTS));
        assert_eq!(story.counted(), vec!["8"; TENANTS], "an update was made twice, or never");
        assert_eq!(story.db.count("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0);
        story.run(&["health-check"]).assert_code(0);
    });
    eprintln!("{cuts} cuts, {survived} survived");
    assert!(cuts > 20 && survived > cuts / 2, "{cuts} cuts, {survived} survived");
}

#[test]
#[ignore = "long: make test-long"]
fn revert_survives_a_lost_connection_at_any_message() {
    let revert = ["revert-all", "--to", "1", "--yes"];
    let (cuts, survived) = cut_everywhere(&["migrate-all"], &revert, 3, |story| {
        story.run(&revert).assert_code(0);
        assert_eq!((at(story.db, "1").len(), at(story.db, "2").len(), having(story.db, "b").len()), (TENANTS, 0, 0));
        assert_eq!(story.counted(), vec!["7"; TENANTS], "an update was taken back twice, or never");
        story.run(&["health-check"]).assert_code(1);
    });
    eprintln!("{cuts} cuts, {survived} survived");
    // A connection lost before the first tenant is started ends the run, and this is a large part of so short a run.
    assert!(cuts > 12 && survived > cuts / 3, "{cuts} cuts, {survived} survived");
}
