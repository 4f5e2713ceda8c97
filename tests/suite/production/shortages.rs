//! The server has no disk space, connections or privileges left, or is read-only.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::connection::SimpleConnection;

use super::outages::OwnServer;
use super::{at, having, listed, names};
use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, assert_whole, set_up, small_fleet, with};

/// A file system of a few megabytes.
struct Tiny(PathBuf);

impl Tiny {
    /// `None` if this user may not mount one.
    fn mount(server: &OwnServer) -> Option<Self> {
        let data = server.0.data_folder();
        let folder = data.parent().unwrap().join("tiny");
        fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=10m", "tmpfs"]).arg(&folder).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let tiny = Self(folder);
        let owner = fs::metadata(data).unwrap();
        chown(&tiny.0, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&tiny.0, Permissions::from_mode(0o700)).unwrap();
        Some(tiny)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // The server may have open files in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
#[ignore = "long: make test-long"]
fn full_disk_ends_the_run_and_is_reported_once() {
    let server = OwnServer::start();
    let db = server.fleet(30);
    let tiny = Tiny::mount(&server);
    let up = match &tiny {
        Some(tiny) => {
            let mut conn = db.connect();
            conn.batch_execute(&format!("CREATE TABLESPACE tiny LOCATION '{}'", tiny.path().display())).unwrap();
            db.execute(&format!("ALTER DATABASE {} SET default_tablespace TO tiny", db.name()));
            "CREATE TABLE b AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 1000);".to_owned()
        }
        // Without permission to mount, only the report is tested.
        None => "CREATE TABLE b (i int); DO $$ BEGIN IF current_schema() > 't00006' THEN RAISE EXCEPTION \
                 'could not extend file \"base/1/2\": No space left on device' USING ERRCODE = 'disk_full', \
                 HINT = 'Check free disk space.'; END IF; END $$;"
            .to_owned(),
    };
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", &up);
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "3", "--format", "json"]).run();
    run.assert_code(3);
    assert_eq!(run.json()["stop_reason"], "lost");
    let (done, left) = (listed(&run, "done"), listed(&run, "not_reached"));
    assert!(!done.is_empty() && done.len() + left.len() == 30, "{} and {}", done.len(), left.len());
    assert_eq!(run.stderr.matches("No space left on device").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("error: the server is out of resources: could not extend file"), "{}", run.stderr);
    assert_eq!((having(&db, "b"), at(&db, "2")), (done.clone(), done));
    match tiny {
        Some(_) => db.execute(&format!("ALTER DATABASE {} RESET default_tablespace", db.name())),
        None => migrations.write("2_b/up.sql", "CREATE TABLE b (i int);"),
    }
    if let [edited] = db.strings("SELECT count(*) FROM pg_tablespace WHERE spcname = 'tiny'").as_slice()
        && edited == "0"
    {
        with(&db, &migrations, &["repair", "--accept", "2", "--reason", "no room"]).run().assert_code(0);
    }
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(at(&db, "2").len(), 30);
}

/// Migrations that take a while in each tenant.
fn slow() -> Dir {
    let up = "CREATE TABLE b (i int); SELECT pg_sleep(0.02); CREATE TABLE c (i int);";
    Dir::new().add("1_a", "SELECT 1").add("2_b", up)
}

fn set_read_only(db: &Database, to: &str) {
    // The setting of the database does not apply to the session that changes it.
    let mut conn = db.connect();
    conn.batch_execute("SET default_transaction_read_only TO off").unwrap();
    conn.batch_execute(&format!("ALTER DATABASE {} SET default_transaction_read_only TO {to}", db.name())).unwrap();
    conn.batch_execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .unwrap();
}

#[test]
#[ignore = "long: make test-long"]
fn run_waits_while_the_database_is_read_only() {
    let db = set_up();
    small_fleet(&db, 60, &["1"]);
    let migrations = slow();
    let run = with(&db, &migrations, &["migrate-all", "--jobs", "3"]).spawn();
    db.wait_for("SELECT count(*) FROM public.schema_run_tenant", 10);
    set_read_only(&db, "on");
    let there = at(&db, "2");
    run.wait_for_stderr_line("waiting for it");
    assert_eq!(at(&db, "2"), there, "nothing is migrated while the database is read-only");
    set_read_only(&db, "off");
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "2"), names(60).into_iter().collect());
    assert_whole(&db, &["b", "c"], "2");
}

#[test]
#[ignore = "long: make test-long"]
fn run_ends_if_the_database_stays_read_only() {
    let db = set_up();
    small_fleet(&db, 60, &["1"]);
    let migrations = slow();
    let args = ["migrate-all", "--jobs", "3", "--reconnect-for", "1s", "--format", "json"];
    let run = with(&db, &migrations, &args).spawn();
    db.wait_for("SELECT count(*) FROM public.schema_run_tenant", 10);
    set_read_only(&db, "on");
    let output = run.wait();
    output.assert_code(5);
    assert!(output.stderr.contains("error: the server is read-only"), "{}", output.stderr);
    assert_eq!(output.json()["stop_reason"], "lost");
    assert!(listed(&output, "done").is_subset(&at(&db, "2")));
    // It is also reported before any tenant is started.
    let refused = with(&db, &migrations, &["migrate-all"]).run();
    refused.assert_code(5);
    assert!(refused.stderr.contains("the server is read-only"), "{}", refused.stderr);
    set_read_only(&db, "off");
    with(&db, &migrations, &["migrate-all"]).run().assert_code(0);
    assert_eq!(at(&db, "2").len(), 60);
}

/// A role with all privileges on the tenants that is not a superuser.
pub(super) fn role(db: &Database, name: &str, tenants: usize) -> String {
    let role = format!("{name}_{}", db.name());
    let schemas: String = names(tenants)
        .iter()
        .map(|tenant| {
            format!("GRANT ALL ON SCHEMA {tenant} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {tenant} TO {role};")
        })
        .collect();
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; {schemas}",
        db.name()
    ));
    role
}

#[test]
#[ignore = "long: make test-long"]
fn run_continues_with_fewer_connections() {
    let db = set_up();
    small_fleet(&db, 60, &["1"]);
    let role = role(&db, "few", 60);
    let url = db.url().replace("postgres@", &format!("{role}@"));
    let migrations = slow();
    let args = ["migrate-all", "--jobs", "6", "--reconnect-for", "1s"];
    let run = with(&db, &migrations, &args).env("DATABASE_URL", &url).spawn();
    db.wait_for("SELECT count(*) FROM public.schema_run_tenant", 10);
    // One for the command, one for the lock, one for the lock monitor, and one worker.
    db.execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 4"));
    db.strings(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"));
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "2").len(), 60);
    assert_whole(&db, &["b", "c"], "2");
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
#[ignore = "long: make test-long"]
fn worker_without_a_connection_waits_for_the_others() {
    let db = set_up();
    small_fleet(&db, 4, &["1"]);
    let role = role(&db, "long", 4);
    let url = db.url().replace("postgres@", &format!("{role}@"));
    // It takes longer than the limit for reconnecting.
    let up = "CREATE TABLE b (i int); SELECT pg_sleep(3); CREATE TABLE c (i int);";
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", up);
    let args = ["migrate-all", "--jobs", "4", "--reconnect-for", "1s"];
    let run = with(&db, &migrations, &args).env("DATABASE_URL", &url).spawn();
    db.wait_for(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        4,
    );
    db.execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 3"));
    db.strings(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"));
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "2").len(), 4);
    assert_whole(&db, &["b", "c"], "2");
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn privileges_missing_everywhere_are_reported_once() {
    let db = set_up();
    small_fleet(&db, 30, &["1"]);
    let role = role(&db, "weak", 30);
    let revoke: String = names(30).iter().map(|name| format!("REVOKE CREATE ON SCHEMA {name} FROM {role};")).collect();
    db.execute(&revoke);
    let url = db.url().replace("postgres@", &format!("{role}@"));
    let migrations = Dir::new().add("1_a", "SELECT 1").add("2_b", "CREATE TABLE b (i int);");
    let run = |args: &[&str]| with(&db, &migrations, args).env("DATABASE_URL", &url).run();
    assert_snapshot!(run(&["migrate-all", "--jobs", "1"]));
    assert_snapshot!(run(&["migrate-all", "--max-failures", "100%"]), @r"
        --- stderr
        error: 30 tenants: migration 2_b/up.sql:1 failed: permission denied for schema NAME
          statement: CREATE TABLE b (i int)
          effect: rolled back, nothing was changed
          tenants: t00000, t00001, t00002, t00003, t00004, t00005, t00006, t00007, t00008, t00009, t00010, t00011, t00012, t00013, t00014, t00015, t00016, t00017, t00018, t00019, and 10 more
        0 migrated, 30 failed (run 2)
        hint: to retry: tenantry migrate-all --retry-failed 2 --max-failures 100% --tenant-migrations MIGRATIONS
        --- exit 1
    ");
    assert_eq!((having(&db, "b").len(), at(&db, "2").len()), (0, 0));
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}
