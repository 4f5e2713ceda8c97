//! Whether `diff` reports every difference: a base with objects of every kind, hundreds of single changes to one of its
//! tenants, each in its own database, and changes that make no difference.
//!
//! If `pg_dump` is installed with the server, its output is compared as well.

mod mutations;
mod repairs;
mod silent;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, Once};
use std::thread;

use diesel::connection::SimpleConnection;
use serde_json::Value;
use tenantry::local::Ephemeral;

use crate::support::{Database, Output, binaries, exhaustive};
use mutations::{Change, ExpectedDifference};

/// The variable that names the migrations of the base.
const MIGRATIONS: &str = "TENANTRY_TENANT_MIGRATIONS";

/// The number of databases that are tested concurrently.
const AT_ONCE: usize = 4;

/// Levels of differences that make the command fail.
const FAILING: [&str; 3] = ["structural", "security", "privilege"];

/// Objects of a database outside its schemas.
const SURROUNDINGS: &str = "
    CREATE FOREIGN DATA WRAPPER drift_wrapper;
    CREATE SERVER drift_server FOREIGN DATA WRAPPER drift_wrapper;
    CREATE SERVER drift_other_server FOREIGN DATA WRAPPER drift_wrapper;
    CREATE PUBLICATION drift_feed WITH (publish = 'insert');
    CREATE PUBLICATION drift_other_feed WITH (publish = 'insert');
    CREATE ACCESS METHOD drift_heap TYPE TABLE HANDLER heap_tableam_handler;
";

/// Makes changes, and compares the reported differences with the expected ones.
#[test]
#[ignore = "long: make test-long"]
fn differences_are_reported_exactly() {
    let step = exhaustive::step(5);
    make_roles_and_tablespace();
    let base = base(&["acme", "globex"]);
    let dump = PgDump::find();
    let before = dump.as_ref().map(|dump| dump.of(&base));
    let fits = |change: &Change| change.since <= binaries().major();
    let mutations: Vec<Change> = mutations::all().into_iter().filter(fits).step_by(step).collect();
    let silent: Vec<Change> = silent::all().into_iter().filter(fits).step_by(step).collect();
    let mut names = HashSet::new();
    for change in mutations.iter().chain(&silent) {
        assert!(names.insert(change.what), "two changes are called {:?}", change.what);
    }

    let folder = tempfile::tempdir().expect("a temporary folder");
    let saved = folder.path().join("reference.json");
    base.tenantry(["reference", "--output"]).arg(&saved).env(MIGRATIONS, migrations()).run().assert_code(0);

    let dump_before = dump.as_ref().zip(before.as_deref());
    let of_mutations = in_parallel(&mutations, |change| {
        // Building the reference takes most of the time. A saved one does not suffice if names of schemas matter.
        judge(change, &base, Some(saved.as_path()).filter(|_| !change.references_another_tenant()), dump_before)
    });
    let of_silent = in_parallel(&silent, |change| judge(change, &base, None, dump_before));
    drop(base);
    let of_names = if step == 1 { names_of_tenants() } else { Vec::new() };

    let good = |verdicts: &[Verdict]| verdicts.iter().filter(|verdict| verdict.wrong.is_empty()).count();
    let seen = of_mutations.iter().filter(|verdict| verdict.dump_differs == Some(true)).count();
    let score = format!(
        "drift: {} of {} mutations found and named, {} of {} silent changes silent, {}",
        good(&of_mutations),
        of_mutations.len(),
        good(&of_silent) + good(&of_names),
        of_silent.len() + of_names.len(),
        match dump {
            Some(_) => format!("pg_dump saw {seen}"),
            None => "no pg_dump is installed with the server".to_owned(),
        }
    );
    // println! shows it for failed tests only.
    writeln!(std::io::stderr(), "{score}").expect("the score can be printed");
    let wrong: String =
        [of_mutations, of_silent, of_names].into_iter().flatten().map(|verdict| verdict.wrong).collect();
    assert!(wrong.is_empty(), "{score}\n{wrong}");
}

/// The result of a change.
struct Verdict {
    /// What differs from the expectation, and the output of the command; empty if nothing differs.
    wrong: String,
    /// Whether `pg_dump` shows the change, if it is installed.
    dump_differs: Option<bool>,
}

/// Makes the change in a copy of the database, and compares the reported differences with the expected ones.
fn judge(change: &Change, base: &Database, reference: Option<&Path>, dump: Option<(&PgDump, &str)>) -> Verdict {
    let db = base.copy();
    let mut wrong = String::new();
    // Kept open to the end, for locks and temporary objects of the session.
    let mut session = db.connect();
    for message in &change.messages {
        match (session.batch_execute(message.sql), message.refused) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => wrong += &format!("  the server did not refuse: {}\n", message.sql),
            (Err(error), false) => wrong += &format!("  the server refused: {error}\n"),
        }
    }
    let output = diff(&db, "acme", reference);
    match differences(&output) {
        Ok(differences) => compare(&differences, &change.expected, &mut wrong),
        Err(why) => wrong += &format!("  {why}\n"),
    }
    let dump_differs = dump.map(|(dump, before)| dump.of(&db) != before);
    match dump_differs {
        Some(true) if !change.in_dump => wrong += "  pg_dump shows it\n",
        Some(false) if change.in_dump => wrong += "  pg_dump does not show it\n",
        _ => {}
    }
    if !wrong.is_empty() {
        let sql: Vec<&str> = change.messages.iter().map(|message| message.sql).collect();
        wrong = format!("{}: {}\n{wrong}{}", change.what, sql.join("; "), printed(&output));
    }
    Verdict { wrong, dump_differs }
}

/// Checks that tenants with unusual names match the reference.
fn names_of_tenants() -> Vec<Verdict> {
    // Creating a collation locks them all until the end of the transaction, so each database builds one reference at a time.
    let some_names: Vec<&[&str]> = silent::NAMES.chunks(silent::NAMES.len().div_ceil(AT_ONCE)).collect();
    let verdicts = in_parallel(&some_names, |names| {
        let db = base(names);
        names.iter().map(|name| judge_name(name, &db)).collect::<Vec<Verdict>>()
    });
    verdicts.into_iter().flatten().collect()
}

fn judge_name(name: &str, db: &Database) -> Verdict {
    let output = diff(db, name, None);
    let mut wrong = String::new();
    match differences(&output) {
        Ok(differences) => compare(&differences, &[], &mut wrong),
        Err(why) => wrong += &format!("  {why}\n"),
    }
    if !wrong.is_empty() {
        wrong = format!("a tenant called {name}\n{wrong}{}", printed(&output));
    }
    Verdict { wrong, dump_differs: None }
}

/// Runs `diff`, with the reference of the migrations or with a saved one.
fn diff(db: &Database, tenant: &str, reference: Option<&Path>) -> Output {
    let command = db.tenantry(["diff", tenant, "--format", "json"]).env(MIGRATIONS, migrations());
    match reference {
        Some(file) => command.arg("--reference").arg(file).run(),
        None => command.run(),
    }
}

/// The differences in the output of the command, which must be consistent.
fn differences(output: &Output) -> Result<Vec<Value>, String> {
    let json: Value = serde_json::from_str(&output.stdout).map_err(|error| format!("no JSON: {error}"))?;
    let Some(differences) = json["differences"].as_array() else {
        return Err("there is no list of differences".to_owned());
    };
    if json["identical"] != Value::Bool(differences.is_empty()) {
        return Err(format!("\"identical\" is {}", json["identical"]));
    }
    let fails = differences.iter().any(|difference| FAILING.iter().any(|level| difference["level"] == *level));
    match output.code {
        Some(code) if code == i32::from(fails) => Ok(differences.clone()),
        code => Err(format!("the exit code is {code:?}")),
    }
}

/// Adds the expected differences that were not reported, and reported ones if none is expected.
fn compare(differences: &[Value], expected: &[ExpectedDifference], wrong: &mut String) {
    for one in expected {
        let fits = |difference: &&Value| {
            let code = difference["code"].as_str().unwrap_or_default();
            (code == one.code || one.code.ends_with('.') && code.starts_with(one.code))
                && difference["name"] == one.name
        };
        let found: Vec<&Value> = differences.iter().filter(fits).collect();
        let right_level = |level: &str| found.iter().any(|difference| difference["level"] == level);
        if found.is_empty() {
            let _ = writeln!(wrong, "  not reported: {} of {}", one.code, one.name);
        } else if let Some(level) = one.level.filter(|level| !right_level(level)) {
            let _ = writeln!(wrong, "  not reported as {level}: {} of {}", one.code, one.name);
        }
    }
    if expected.is_empty() && !differences.is_empty() {
        *wrong += "  reported, though nothing is different\n";
    }
}

/// The output of the command, one difference per line.
fn printed(output: &Output) -> String {
    let mut text = match differences(output) {
        Ok(differences) if differences.is_empty() => "    nothing was reported\n".to_owned(),
        Ok(differences) => differences.iter().map(|difference| format!("    {difference}\n")).collect(),
        Err(_) => format!("    {}\n", output.stdout.trim()),
    };
    for line in output.stderr.lines() {
        let _ = writeln!(text, "    > {line}");
    }
    text
}

/// A database with tenants that have all migrations of the base.
fn base(tenants: &[&str]) -> Database {
    let db = Database::on(server());
    db.execute(SURROUNDINGS);
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db.tenantry(["create"]).args(tenants).env(MIGRATIONS, migrations()).run().assert_code(0);
    db
}

/// Creates the roles and the tablespace that the databases of the server use, once.
fn make_roles_and_tablespace() {
    static MADE: Once = Once::new();
    MADE.call_once(create_roles_and_tablespace);
}

fn create_roles_and_tablespace() {
    let db = Database::on(server());
    db.execute("CREATE ROLE drift_owner; CREATE ROLE drift_reader; CREATE ROLE drift_writer");
    if binaries().major() >= 15 {
        // A folder outside the server's data directory would need the owner of the server.
        let mut session = db.connect();
        session.batch_execute("SET allow_in_place_tablespaces = on").expect("a setting of the server");
        session.batch_execute("CREATE TABLESPACE drift_space LOCATION ''").expect("a tablespace");
    }
}

/// The migrations of the base.
fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/drift/base")
}

/// Runs the work on all items, several at a time, and returns the results in order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    let result = work(item);
                    done.lock().expect("no worker panicked").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panicked");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A server for the many copies, with its own roles and tablespace. It stops with the test run.
///
/// With minimal WAL, databases are copied faster, but each copy forces a checkpoint, which would slow down other tests
/// on the shared server.
fn server() -> &'static Ephemeral {
    static SERVER: LazyLock<Ephemeral> = LazyLock::new(|| {
        let settings = [("autovacuum", "off"), ("jit", "off"), ("wal_level", "minimal"), ("max_wal_senders", "0")];
        Ephemeral::start(binaries(), &settings).unwrap_or_else(|error| panic!("the tests need a server: {error}"))
    });
    &SERVER
}

/// The server's `pg_dump`.
struct PgDump(PathBuf);

impl PgDump {
    /// The program in the server's folder. Another version may not support this server.
    fn find() -> Option<Self> {
        let program = binaries().folder().join("pg_dump");
        program.is_file().then_some(Self(program))
    }

    /// The structure of the tenant `acme`.
    fn of(&self, db: &Database) -> String {
        let output = Command::new(&self.0)
            .args(["--schema-only", "--schema=acme", "--dbname"])
            .arg(db.url())
            .env_clear()
            .output()
            .expect("pg_dump runs");
        assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("the database is UTF-8");
        // Newer minor releases enclose the dump in a random key.
        let of_the_moment = |line: &str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
        // An object's dependencies precede it, whether they are shown or not; otherwise the order has no meaning.
        // Settings precede the first object that they apply to.
        let is_setting = |line: &str| line.starts_with("SET default_");
        let settings: BTreeSet<&str> = text.lines().filter(|line| is_setting(line)).collect();
        let lines: Vec<&str> = text.lines().filter(|line| !of_the_moment(line) && !is_setting(line)).collect();
        let rest = lines.join("\n");
        let objects: BTreeSet<&str> = rest.split("\n--\n-- Name: ").map(str::trim_end).collect();
        settings.into_iter().chain(objects).collect::<Vec<_>>().join("\n")
    }
}
