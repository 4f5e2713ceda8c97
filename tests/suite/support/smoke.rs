//! Tests of the test support.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Integer;
use tenantry::local::DATABASE;

use super::database::{connect, strings};
use super::migrations::Dir;
use super::pgbouncer::{POOL_SIZE, PgBouncer};
use super::proxy::{CutPoint, Proxy};
use super::tls::{PASSWORD, ROLE, Tls};
use super::{Database, Running, Signal, Tenantry, Terminal, binaries, server, tls};

const BACKEND: &str = "SELECT pg_backend_pid()";

fn shell(script: &str) -> Tenantry {
    Tenantry::of_program("/bin/sh").args(["-c", script])
}

#[test]
fn databases_are_separate_and_dropped_with_their_value() {
    let (one, other) = (Database::new(), Database::new());
    one.execute("CREATE TABLE t(i int, t text); INSERT INTO t VALUES (2, 'b'), (1, NULL)");
    assert_eq!(one.strings("SELECT i, t FROM t ORDER BY i;"), ["1", "2"]);
    assert_eq!(one.strings("SELECT t FROM t ORDER BY i"), ["NULL", "b"]);
    assert_eq!(one.count("SELECT count(*) FROM t"), 2);
    assert_eq!(other.string("SELECT to_regclass('t')"), "NULL");
    assert_eq!(one.name().len(), "DATABASE".len());

    let name = one.name().to_owned();
    let mut open = one.connect();
    drop(one);
    assert!(open.batch_execute("SELECT").is_err(), "open connections are closed");
    assert_eq!(other.count(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")), 0);
    assert!(binaries().folder().join("postgres").exists());
}

#[test]
fn server_has_the_chosen_version() {
    let major = Database::new().count("SELECT current_setting('server_version_num')::int / 10000");
    assert_eq!(major, i64::from(binaries().major()));
}

#[test]
fn databases_can_be_created_concurrently() {
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(Database::new)).collect();
    let mut names: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("a database").name().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 8);
}

#[test]
fn command_sees_only_the_given_environment() {
    let database = Database::new();
    let output = shell(r#"env | cut -d= -f1 | sort | tr '\n' ' '; pwd; ls -A; echo "$A $DATABASE_URL"; cat; exit 3"#)
        .env("A", "b")
        .stdin("input\n")
        .run();
    output.assert_code(3);
    let lines: Vec<&str> = output.stdout.lines().collect();
    for kept in ["A ", "HOME ", "PATH ", "XDG_CONFIG_HOME "] {
        assert!(lines[0].contains(kept), "{kept} in {}", lines[0]);
    }
    for gone in ["CARGO", "LANG", "LC_", "PG", "TENANTRY", "NO_COLOR", "TERM", "USER"] {
        assert!(!lines[0].contains(gone), "{gone} in {}", lines[0]);
    }
    assert!(lines[0].ends_with("/work"));
    assert_eq!(lines[1..], ["b ", "input"]);

    let own = Tenantry::of_program("/bin/sh").args(["-c", "pwd"]).current_dir("/").run();
    assert_eq!(own.stdout, "/\n");
    let given = database.tenantry(["--version"]);
    assert!(given.line().ends_with("--version"));
    drop(given.env_remove("DATABASE_URL").arg("x"));
}

#[test]
fn snapshot_masks_variable_values() {
    let script = r#"
        echo '| a   | 9 ms   | 120 kB |  8 min 1.5 s |'
        echo 'a   2026-11-21 02:03 2026-11-21T02:03:04.5Z 2026-11-21T02:03:04+02:00 x'
        echo '{"seconds": 0.25, "size_bytes":12, "elapsed_ms": 7, "n": 3}'
        echo 'a 0b3ab8a4-5d2c-4f2e-9a39-0f3d3b0c1f2e, process 4711 waits 5s, 3 tenants'
        echo 'x in secret-1 and secret' >&2
        pwd >&2
        printf '%s' "$HOME" >&2
        exit 2"#;
    let output = shell(script).hide("secret", "S").hide("secret-1", "LONGER").run();
    let expected = "\
| a   | TIME | SIZE | TIME |
a   DATE DATE DATE x
{\"seconds\": TIME, \"size_bytes\":SIZE, \"elapsed_ms\": TIME, \"n\": 3}
a UUID, process PID waits 5s, 3 tenants
--- stderr
x in LONGER and S
FOLDER
HOME
--- exit 2";
    assert_eq!(output.snapshot(), expected);
    assert_eq!(shell("echo '{\"a\": 1}'").run().json()["a"], 1);
    assert_eq!(shell("").run().snapshot(), "--- stderr\n--- exit 0");

    let database = Database::new();
    let mut given = database.tenantry(["x"]).stdin("");
    let shown = given.take_hidden().apply(&database.url());
    assert_eq!(shown, "postgresql://postgres@/DATABASE?host=SOCKET&port=5432");
}

#[test]
fn running_command_can_be_followed_and_stopped() {
    let killed =
        shell("echo ready; echo 'the first' >&2; echo 'the second' >&2; exec cat /dev/zero >/dev/null").spawn();
    assert_eq!(killed.wait_for_stderr_line("second"), "the second");
    assert_eq!(killed.wait_for_stdout_line("ready"), "ready");
    assert!(killed.pid() > 0);
    killed.kill();
    let output = killed.wait();
    assert_eq!(output.code, None);
    assert!(output.snapshot().ends_with("--- exit by a signal"));

    let interrupted: Running = shell("trap 'echo bye; exit 7' INT; echo on >&2; while :; do :; done").spawn();
    interrupted.wait_for_stderr_line("on");
    interrupted.signal(Signal::INT);
    interrupted.wait().assert_code(7);
}

#[test]
#[should_panic(expected = "no line with `never`")]
fn waiting_for_a_line_fails_when_the_command_exits() {
    shell("echo something >&2").spawn().wait_for_stderr_line("never");
}

#[test]
fn binary_runs() {
    let output = Tenantry::new().arg("--version").run();
    assert!(output.code.is_some(), "{}", output.stderr);
}

#[test]
fn terminal_prompts_can_be_answered() {
    let script = "test -t 0 && test -t 2 && stty size; printf 'Name? ' >&2; read n; printf 'Sure? ' >&2; read s; \
                  echo \"$n:$s\"; exit 4";
    let mut terminal = Terminal::spawn(shell(script));
    terminal.expect("Name? ").type_line("acme").expect("Sure? ").type_line("yes");
    let (screen, code) = terminal.wait();
    assert_eq!(code, Some(4));
    assert_eq!(screen, "30 100\nName? acme\nSure? yes\nacme:yes\n");
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_at_a_terminal_interrupts() {
    let mut terminal = Terminal::spawn(shell("trap 'exit 9' INT; echo on; while :; do :; done"));
    let (_, code) = terminal.expect("on").type_text("\u{3}").wait();
    assert_eq!(code, Some(9));
}

#[test]
fn the_proxy_counts_round_trips() {
    let database = Database::new();
    let proxy = Proxy::start(server());
    let mut conn = connect(&proxy.url(database.name()));
    assert_eq!(proxy.messages(), 3, "the startup and two settings: {:?}", proxy.queries());
    assert_eq!(proxy.queries().len(), 2);

    proxy.reset();
    conn.batch_execute("CREATE TABLE t(i int); INSERT INTO t VALUES (1)").expect("a batch");
    assert_eq!(proxy.messages(), 1);
    assert_eq!(proxy.queries(), ["CREATE TABLE t(i int); INSERT INTO t VALUES (1)"]);

    proxy.reset();
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    let changed = sql_query("UPDATE t SET i = $1").bind::<Integer, _>(2).execute(&mut conn).expect("an update");
    assert_eq!(changed, 1);
    assert_eq!(proxy.messages(), 1, "{:?}", proxy.queries());
    assert_eq!(proxy.queries(), ["UPDATE t SET i = $1"]);

    proxy.reset();
    drop(connect(&proxy.url(database.name())));
    conn.batch_execute("SELECT").expect("the first one lives");
    assert_eq!(proxy.messages_by_connection(), [1, 3]);
    assert_eq!(database.count("SELECT i FROM t"), 2);
}

#[test]
fn proxy_passes_large_messages_completely() {
    let proxy = Proxy::start(server());
    let mut conn = connect(&proxy.url(DATABASE));
    let text = "x".repeat(3 << 20);
    let back = strings(&mut conn, &format!("SELECT '{text}' FROM generate_series(1, 2)"));
    assert!(back.len() == 2 && back.iter().all(|row| *row == text));
}

#[test]
fn proxy_cuts_the_connection_at_the_given_message() {
    let database = Database::new();
    database.execute("CREATE TABLE t(i int)");
    let rows = || database.strings("SELECT i FROM t ORDER BY i");
    let proxy = Proxy::start(server());
    let open = || connect(&proxy.url(database.name()));

    let (mut conn, mut other) = (open(), open());
    proxy.cut_at(2, CutPoint::Before);
    conn.batch_execute("INSERT INTO t VALUES (1)").expect("the first message passes");
    conn.batch_execute("INSERT INTO t VALUES (2)").expect_err("the second does not");
    assert_eq!(rows(), ["1"]);
    other.batch_execute("INSERT INTO t VALUES (3)").expect("another connection is not concerned");

    let mut conn = open();
    proxy.cut_at(1, CutPoint::After);
    conn.batch_execute("INSERT INTO t VALUES (4)").expect_err("the answer does not come");
    assert_eq!(rows(), ["1", "3", "4"], "but it was done");

    let insert = || sql_query("INSERT INTO t VALUES ($1)").bind::<Integer, _>(5);
    let mut conn = open();
    proxy.cut_at(1, CutPoint::Before);
    insert().execute(&mut conn).expect_err("all of the statement but its end arrives");
    assert_eq!(rows(), ["1", "3", "4"]);
    let mut conn = open();
    proxy.cut_at(1, CutPoint::After);
    insert().execute(&mut conn).expect_err("the answer does not come");
    assert_eq!(rows(), ["1", "3", "4", "5"]);

    proxy.cut_at(1, CutPoint::Before);
    assert!(PgConnection::establish(&proxy.url(database.name())).is_err(), "a startup counts as well");
    let mut conn = open();
    proxy.cut_now();
    conn.batch_execute("SELECT").expect_err("all are cut");
    let url = proxy.url(database.name());
    drop(proxy);
    assert!(PgConnection::establish(&url).is_err());
}

#[test]
fn the_proxy_delays_both_directions() {
    let delay = Duration::from_millis(50);
    let proxy = Proxy::with_delay(server(), delay);
    let mut conn = connect(&proxy.url(DATABASE));
    let begun = Instant::now();
    strings(&mut conn, "SELECT i FROM generate_series(1, 200000) AS i");
    let took = begun.elapsed();
    // The answer arrives in about 300 pieces, whose delays overlap.
    assert!(took >= delay * 2 && took < delay * 150, "{took:?}");
}

#[test]
fn proxy_passes_cancel_requests() {
    let database = Database::new();
    let proxy = Proxy::start(server());
    let psql = binaries().psql().expect("psql").to_owned();
    let running =
        Tenantry::of_program(psql).args(["-X", "-c", "SELECT pg_sleep(50)"]).arg(proxy.url(database.name())).spawn();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' \
                    AND datname = current_database()";
    database.wait_for(sleeping, 1);
    running.signal(Signal::INT);
    let output = running.wait();
    assert!(output.stderr.contains("canceling statement"), "{}", output.stderr);
}

#[test]
fn clients_of_the_pooler_share_sessions() {
    let database = Database::new();
    let pooler = PgBouncer::start(server());
    let (mut one, mut other) = (connect(&pooler.url(database.name())), connect(&pooler.tcp_url(database.name())));
    let session = strings(&mut one, BACKEND);
    assert_eq!(strings(&mut other, BACKEND), session, "the session that became free is the next one's");
    one.batch_execute("SET search_path TO leaked").expect("a setting");
    assert_eq!(strings(&mut other, "SELECT current_setting('search_path')"), ["leaked"]);

    one.batch_execute("BEGIN").expect("a transaction");
    assert_ne!(strings(&mut other, BACKEND), strings(&mut one, BACKEND), "not within a transaction");
    one.batch_execute("COMMIT").expect("its end");

    let mut many: Vec<_> = (0..12).map(|_| connect(&pooler.url(database.name()))).collect();
    let mut sessions: Vec<_> = many.iter_mut().flat_map(|conn| strings(conn, BACKEND)).collect();
    sessions.sort();
    sessions.dedup();
    assert!(sessions.len() <= POOL_SIZE, "{sessions:?}");
}

#[test]
fn pooler_handles_startup_options_as_configured() {
    let database = Database::new();
    let with_options = |pooler: &PgBouncer| {
        PgConnection::establish(&format!("{}&options=-c%20tenantry.mark%3D1", pooler.url(database.name())))
    };
    assert!(with_options(&PgBouncer::start(server())).is_err());
    let lax = PgBouncer::with_settings(server(), &[("ignore_startup_parameters", "options")]);
    let mut conn = with_options(&lax).expect("the options are dropped");
    assert_eq!(strings(&mut conn, "SELECT current_setting('tenantry.mark', true)"), ["NULL"]);
}

#[test]
fn pooler_is_removed_with_its_value() {
    let pooler = PgBouncer::start(server());
    let url: tenantry::DatabaseUrl = pooler.url("postgres").parse().expect("a URL");
    let folder = Path::new(url.get("host").expect("a folder"));
    let socket = folder.join(format!(".s.PGSQL.{}", url.get("port").expect("a port")));
    UnixStream::connect(&socket).expect("it listens");
    drop(pooler);
    assert!(!folder.exists());
}

#[test]
fn tls_server_is_verified_and_refuses_plain_connections() {
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let mut conn = connect(&tls().url(DATABASE));
    assert_eq!(strings(&mut conn, encrypted), ["true"]);

    let plain = PgConnection::establish(&tls().url_with_mode("disable", DATABASE)).err().expect("refused");
    assert!(plain.to_string().contains("no encryption"), "{plain}");

    let authority = tls().ca_file().to_string_lossy().into_owned();
    assert!(std::fs::metadata(&authority).is_ok());
    let address = Tls::ADDRESS;
    let without = format!("postgresql://postgres@localhost:{}/{DATABASE}?{address}&sslmode=verify-full", tls().port());
    assert!(PgConnection::establish(&format!("{without}&sslrootcert=/nonexistent")).is_err());

    let database = Database::on(tls().server());
    let mut conn = connect(&tls().password_url(database.name()));
    assert_eq!(strings(&mut conn, "SELECT current_user"), [ROLE]);
    let url = tls().password_url(database.name());
    assert!(!url.contains(PASSWORD), "it is encoded");
    let wrong = url.replace("sesame", "poppy");
    assert!(PgConnection::establish(&wrong).is_err());
}

#[test]
fn migration_directories_load() {
    let dir = Dir::new()
        .add("20260101000000_a", "CREATE TABLE a(i int);")
        .down("DROP TABLE a;")
        .add("20260102000000_b", "CREATE INDEX CONCURRENTLY b ON a(i);")
        .down("DROP INDEX b;")
        .metadata("run_in_transaction = false\n");
    assert_eq!(dir.names(), ["20260101000000_a", "20260102000000_b"]);
    let set = tenantry::MigrationSet::from_dir(dir.path()).expect("a set");
    assert_eq!(set.iter().count(), 2);

    let ours = Dir::copy_of_tenant();
    let count = ours.names().len();
    tenantry::MigrationSet::from_dir(ours.path()).expect("the copy is whole");
    ours.write(&format!("{}/up.sql", ours.names()[0]), "SELECT 'unfinished");
    tenantry::MigrationSet::from_dir(ours.path()).expect_err("one is broken");
    ours.remove(&ours.names()[0]);
    let ours = ours.add("20990101000000_z", "CREATE TABLE z(i int);").down("DROP TABLE z;");
    assert_eq!(ours.names().len(), count);
    tenantry::MigrationSet::from_dir(ours.path()).expect("it is whole again");
    tenantry::MigrationSet::from_dir(Dir::copy_of_public().path()).expect("the copy is whole");
}
