//! The server is lost during a run, and returns or does not.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, chown};

use tenantry::local::Ephemeral;

use super::{at, having, listed, names, reported};
use crate::support::migrations::Dir;
use crate::support::{Database, Running, Signal, Tenantry, assert_whole, binaries, eventually, small_fleet, with};

/// A server of one test, whose commits are as durable as in production. Commits that are not durable are lost in the
/// crash: the server flushes them only every 10 seconds.
pub(super) struct OwnServer(pub(super) &'static Ephemeral);

impl OwnServer {
    pub(super) fn start() -> Self {
        let options = ["fsync", "synchronous_commit", "full_page_writes"]
            .into_iter()
            .fold(Ephemeral::options(), |options, setting| options.setting(setting, "on"));
        let options = options.setting("wal_writer_delay", "10s").setting("wal_writer_flush_after", "1GB");
        let server = options.setting("autovacuum", "off").setting("timezone", "UTC").start(binaries()).unwrap();
        Self(Box::leak(Box::new(server)))
    }

    /// A database with a tracker and small tenants.
    pub(super) fn fleet(&self, tenants: usize) -> Database {
        let db = Database::on(self.0);
        db.tenantry(["migrate-public"]).run().assert_code(0);
        small_fleet(&db, tenants, &["1"]);
        db
    }

    /// Stops the server as a crash does.
    pub(super) fn crash(&self) {
        self.0.stop_immediate().unwrap();
    }

    pub(super) fn start_again(&self) {
        self.0.restart().unwrap();
    }

    /// Starts it again as a standby, which is read-only until it is promoted.
    pub(super) fn start_as_standby(&self) {
        let (folder, signal) = (self.0.data_folder(), self.0.data_folder().join("standby.signal"));
        std::fs::write(&signal, "").unwrap();
        let owner = std::fs::metadata(folder).unwrap();
        // As root; otherwise the file already has this owner.
        let _ = chown(&signal, Some(owner.uid()), Some(owner.gid()));
        self.start_again();
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.0.stop_immediate();
    }
}

/// Migrations that take a while in each tenant.
fn slow() -> Dir {
    Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "CREATE TABLE b (i int); INSERT INTO b VALUES (1); SELECT pg_sleep(0.02); CREATE TABLE c (i int);")
        .down("SELECT pg_sleep(0.02); DROP TABLE b; DROP TABLE c;")
}

/// Waits until some tenants are reported as done and more have been committed, and stops the server.
fn crash_after_some(db: &Database, server: &OwnServer, run: &Running, verb: &str, done: &str) {
    run.wait_for_stderr_line(verb);
    // A run may have done all of them by the time that it reports the first.
    let more = (reported(&run.stderr(), verb).len() + 15).min(100);
    db.wait_for(done, more as i64);
    server.crash();
}

const DONE: &str = "SELECT count(*) FROM public.schema_run_tenant";

fn verbose(db: &Database, migrations: &Dir, args: &[&str]) -> Tenantry {
    with(db, migrations, args).args(["-v", "--jobs", "4"])
}

#[test]
#[ignore = "long: make test-long"]
fn run_survives_a_server_crash_and_restart() {
    let server = OwnServer::start();
    let db = server.fleet(200);
    let migrations = slow();
    let run = verbose(&db, &migrations, &["migrate-all"]).spawn();
    crash_after_some(&db, &server, &run, "migrated", DONE);
    // The state of the server now is what survived the crash; the run is stopped while it is read.
    run.signal(Signal::STOP);
    let confirmed = reported(&run.stderr(), "migrated");
    server.start_again();
    let durable = at(&db, "2");
    assert!(confirmed.is_subset(&durable), "reported but lost: {:?}", confirmed.difference(&durable));
    run.signal(Signal::CONT);
    let output = run.wait();
    output.assert_code(0);
    eprintln!(
        "{} reported before the crash, {} durable\n{}",
        confirmed.len(),
        durable.len(),
        last_lines(&output.stderr)
    );
    assert!(output.stderr.contains("200 migrated"), "{}", output.stderr);
    assert_eq!(at(&db, "2"), names(200).into_iter().collect());
    assert_whole(&db, &["b", "c"], "2");
    with(&db, &migrations, &["health-check"]).run().assert_code(0);
}

/// The lines that do not report a single tenant.
fn last_lines(stderr: &str) -> String {
    stderr.lines().filter(|line| !line.ends_with("ms")).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "long: make test-long"]
fn run_ends_if_the_server_does_not_return() {
    let server = OwnServer::start();
    let db = server.fleet(200);
    let migrations = slow();
    let run = verbose(&db, &migrations, &["migrate-all", "--reconnect-for", "2s", "--format", "json"]).spawn();
    crash_after_some(&db, &server, &run, "migrated", DONE);
    let output = run.wait();
    output.assert_code(5);
    let (done, left) = (listed(&output, "done"), listed(&output, "not_reached"));
    assert_eq!(output.json()["stop_reason"], "lost");
    assert!(output.stderr.contains("lost connection to the server, waiting for it for up to 2s"), "{}", output.stderr);
    assert!(output.json()["failed"].as_array().unwrap().is_empty(), "{}", output.stdout);
    assert!(done.is_disjoint(&left) && done.len() + left.len() == 200, "{} and {}", done.len(), left.len());
    assert!(output.stderr.contains("not reached (run 1)"), "{}", output.stderr);
    assert!(output.stderr.contains("to retry: tenantry migrate-all"), "{}", output.stderr);
    server.start_again();
    let durable = at(&db, "2");
    assert!(done.is_subset(&durable), "reported but lost: {:?}", done.difference(&durable));
    assert_whole(&db, &["b", "c"], "2");
    let second = with(&db, &migrations, &["migrate-all", "--format", "json"]).run();
    second.assert_code(0);
    // Tenants that were committed without confirmation are not migrated again.
    assert_eq!(listed(&second, "unchanged"), durable);
    assert_eq!(at(&db, "2").len(), 200);
    with(&db, &migrations, &["health-check"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn non_transactional_migration_is_completed_after_a_crash() {
    let server = OwnServer::start();
    let db = server.fleet(60);
    let migrations = Dir::new()
        .add("1_a", "SELECT 1")
        .add("2_b", "CREATE TABLE b (i int); INSERT INTO b SELECT generate_series(1, 1000);")
        .add("3_i", "UPDATE b SET i = i + 1;\nCREATE INDEX CONCURRENTLY b_i ON b (i);\nUPDATE b SET i = i + 1;")
        .metadata("run_in_transaction = false")
        .add("4_d", "CREATE TABLE d (i int);");
    let run = verbose(&db, &migrations, &["migrate-all"]).spawn();
    for _ in 0..2 {
        db.wait_for(DONE, having(&db, "d").len() as i64 + 10);
        server.crash();
        server.start_again();
    }
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "4").len(), 60);
    // 1 to 1,000, each incremented exactly twice.
    let sums: BTreeSet<String> =
        names(60).iter().map(|name| db.string(&format!("SELECT sum(i) FROM {name}.b"))).collect();
    assert_eq!(sums, BTreeSet::from([(500_500 + 2_000).to_string()]));
    assert_eq!(db.count("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0);
    with(&db, &migrations, &["health-check"]).run().assert_code(0);
}

#[test]
#[ignore = "long: make test-long"]
fn create_revert_and_drop_resume_after_a_crash() {
    let server = OwnServer::start();
    let db = server.fleet(0);
    let migrations = slow();
    let all = names(120);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let run = |args: &[&str], verb| {
        let last = db.count("SELECT coalesce(max(id), 0) FROM public.schema_run");
        let run = verbose(&db, &migrations, args).spawn();
        crash_after_some(&db, &server, &run, verb, &format!("{DONE} WHERE run > {last}"));
        run.signal(Signal::STOP);
        let confirmed = reported(&run.stderr(), verb);
        server.start_again();
        (run, confirmed)
    };
    let create = [&["create"][..], &all].concat();
    let (created, confirmed) = run(&create, "created");
    assert!(confirmed.is_subset(&having(&db, "c")), "reported but lost: {:?}", confirmed.difference(&having(&db, "c")));
    created.signal(Signal::CONT);
    let output = created.wait();
    output.assert_code(0);
    assert!(output.stderr.contains("120 created"), "{}", last_lines(&output.stderr));
    with(&db, &migrations, &["health-check"]).run().assert_code(0);

    let (run_, confirmed) = run(&["revert-all", "--to", "1", "--yes"], "reverted");
    assert!(
        confirmed.is_disjoint(&having(&db, "c")),
        "reported but lost: {:?}",
        confirmed.intersection(&having(&db, "c"))
    );
    run_.signal(Signal::CONT);
    let output = run_.wait();
    output.assert_code(0);
    assert!(output.stderr.contains("120 reverted"), "{}", last_lines(&output.stderr));
    assert_eq!((having(&db, "b").len(), at(&db, "2").len(), at(&db, "1").len()), (0, 0, 120));

    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    let drop = [&["drop", "--yes"][..], &all].concat();
    let (run_, confirmed) = run(&drop, "dropped");
    assert!(
        confirmed.is_disjoint(&having(&db, "c")),
        "reported but lost: {:?}",
        confirmed.intersection(&having(&db, "c"))
    );
    run_.signal(Signal::CONT);
    let output = run_.wait();
    output.assert_code(0);
    assert!(output.stderr.contains("120 dropped"), "{}", last_lines(&output.stderr));
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 0);
    assert_eq!(crate::support::schemas(&db), Vec::<String>::new());
}

#[test]
#[ignore = "long: make test-long"]
fn run_waits_for_the_promotion_of_a_standby() {
    let server = OwnServer::start();
    let db = server.fleet(300);
    let migrations = slow();
    let run = verbose(&db, &migrations, &["migrate-all"]).spawn();
    crash_after_some(&db, &server, &run, "migrated", DONE);
    server.start_as_standby();
    // The run connects to the standby repeatedly.
    let sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut seen = BTreeSet::new();
    eventually("the run has tried the standby several times", || {
        seen.extend(db.strings(sessions));
        seen.len() > 8
    });
    assert_eq!(db.string("SELECT pg_is_in_recovery()"), "true");
    db.strings("SELECT pg_promote()");
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "2").len(), 300);
    assert_whole(&db, &["b", "c"], "2");
}

#[test]
#[ignore = "long: make test-long"]
fn run_ends_if_a_standby_is_not_promoted() {
    let server = OwnServer::start();
    let db = server.fleet(300);
    let migrations = slow();
    let run = verbose(&db, &migrations, &["migrate-all", "--reconnect-for", "20s"]).spawn();
    crash_after_some(&db, &server, &run, "migrated", DONE);
    server.start_as_standby();
    let output = run.wait();
    output.assert_code(5);
    assert!(output.stderr.contains("the server is read-only: it is a standby"), "{}", output.stderr);
    db.strings("SELECT pg_promote()");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(at(&db, "2").len(), 300);
}

/// A server that is lost is no failure of a tenant.
#[test]
#[ignore = "long: make test-long"]
fn program_of_exec_without_a_server_is_temporary() {
    let server = OwnServer::start();
    let db = server.fleet(3);
    let stop = format!("kill -QUIT $(head -n 1 {}/postmaster.pid)", server.0.data_folder().display());
    let wait = format!("while test -e {}/postmaster.pid; do :; done", server.0.data_folder().display());
    let output = db.tenantry(["exec", "--all", "--", "sh", "-c", &format!("{stop}; {wait}")]).run();
    output.assert_code(5);
    assert!(output.stderr.contains("error: cannot connect to PostgreSQL at"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: check --database-url"), "{}", output.stderr);
    assert!(output.stderr.contains("1 done, 2 not reached"), "{}", output.stderr);
    server.start_again();
}
