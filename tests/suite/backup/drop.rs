//! `drop --backup` and `purge --backup`: a tenant is dropped only with an archive that has all its rows.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{programs, script};
use crate::support::migrations::Dir;
use crate::support::{Database, binaries, eventually, schemas, set_up, with};

fn prepared(tenants: &[&str]) -> (Database, Dir, tempfile::TempDir) {
    let (db, folder) = (set_up(), tempfile::tempdir().unwrap());
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int); CREATE TABLE b (i int)");
    with(&db, &migrations, &[&["create"], tenants].concat()).run().assert_code(0);
    for tenant in tenants {
        db.execute(&format!("INSERT INTO {tenant}.a SELECT generate_series(1, 10)"));
    }
    (db, migrations, folder)
}

fn archives(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn dropped_tenants_can_be_restored_from_their_backups() {
    let (db, migrations, folder) = prepared(&["acme", "globex", "initech"]);
    let run = |args: &[&str]| with(&db, &migrations, args).run();
    let directory = folder.path().to_str().unwrap();
    let dropped = run(&["drop", "acme", "globex", "--backup", directory, "--yes", "--format", "json"]);
    let document = dropped.assert_code(0).json();
    assert_eq!(document["dropped"], json!(["acme", "globex"]));
    let files = archives(folder.path());
    assert_eq!(document["backups"][1], json!({ "name": "globex", "file": files[1].to_str().unwrap() }));
    assert!(files.len() == 2 && files[0].extension().unwrap() == "dump", "{files:?}");
    assert_eq!(schemas(&db), ["initech"]);
    run(&["restore", files[0].to_str().unwrap(), "acme"]).assert_code(0);
    assert_eq!(db.count("SELECT sum(i)::bigint FROM acme.a"), 55);
    // A tenant without a schema has nothing to back up.
    db.execute("INSERT INTO schema_tracker (name, state) VALUES ('empty', 'registered')");
    run(&["drop", "empty", "--backup", directory, "--yes"]).assert_code(0);
    run(&["drop", "acme", "--grace", "0s", "--yes"]).assert_code(0);
    let purged = run(&["purge", "--backup", directory, "--yes"]);
    assert!(purged.assert_code(0).stderr.contains("acme backed up to "), "{}", purged.stderr);
    assert_eq!((schemas(&db), archives(folder.path()).len()), (vec!["initech".to_owned()], 3));
    assert_eq!(
        db.strings("SELECT DISTINCT command || ' ' || outcome FROM schema_run WHERE command = 'drop'"),
        ["drop done"]
    );
}

#[test]
fn tenant_without_a_usable_backup_is_not_dropped() {
    let (db, migrations, folder) = prepared(&["acme"]);
    let run = |args: &[&str]| with(&db, &migrations, args).run();
    let directory = folder.path().to_str().unwrap();
    let refused = |code: i32, args: &[&str], message: &str| {
        let output = run(&[&["drop", "acme", "--yes"], args].concat());
        assert!(output.assert_code(code).stderr.contains(message), "{}", output.stderr);
        assert_eq!(schemas(&db), ["acme"]);
        assert_eq!(db.strings("SELECT state FROM schema_tracker"), ["active"]);
    };
    refused(2, &["--backup", "none"], "cannot write to directory none");
    let missing = tempfile::tempdir().unwrap();
    refused(3, &["--backup", directory, "--pg-bin", missing.path().to_str().unwrap()], "no pg_dump");
    let real = binaries().folder().join("pg_dump").display().to_string();
    let partial = programs(&format!("exec {real} --exclude-table-data=acme.a \"$@\""));
    let bin = partial.path().to_str().unwrap();
    refused(
        1,
        &["--backup", directory, "--pg-bin", bin],
        "no backup, and not dropped: cannot dump tenant acme: table a is missing in the archive",
    );
    // The archive that was written cannot be read back.
    let unreadable = programs("");
    let pg_restore = binaries().folder().join("pg_restore").display().to_string();
    script(
        unreadable.path(),
        "pg_restore",
        &format!("[ \"$1\" = --version ] && exec {pg_restore} --version\necho 'pg_restore: error: bad' >&2; exit 1"),
    );
    refused(1, &["--backup", directory, "--pg-bin", unreadable.path().to_str().unwrap()], "pg_restore: error: bad");
    refused(2, &["--backup", directory, "--grace", "1d"], "cannot be used with");
    assert!(archives(folder.path()).is_empty());
    let summary = run(&["drop", "acme", "--yes", "--backup", directory, "--pg-bin", bin]);
    assert!(
        summary.stderr.contains(&format!("to resume: tenantry drop acme --backup {directory}")),
        "{}",
        summary.stderr
    );
}

/// `pg_dump` runs psql first, as another session that works meanwhile.
fn meanwhile(db: &Database, sql: &str) -> tempfile::TempDir {
    let psql = binaries().folder().join("psql").display().to_string();
    programs(&format!(
        "{psql} -qX -v ON_ERROR_STOP=1 -d '{}' -c \"{sql}\" >/dev/null 2>>\"$(dirname \"$0\")/messages\"",
        db.url()
    ))
}

#[test]
fn rows_that_are_written_during_the_backup_are_not_lost() {
    let (db, migrations, folder) = prepared(&["acme", "globex"]);
    let directory = folder.path().to_str().unwrap();
    let drop = |bin: &tempfile::TempDir, name: &str| {
        let bin = bin.path().to_str().unwrap();
        with(&db, &migrations, &["drop", name, "--yes", "--backup", directory, "--pg-bin", bin]).run()
    };
    // A table that another session adds is in no archive.
    let adding = meanwhile(&db, "CREATE TABLE acme.late AS SELECT 1 AS i");
    let refused = drop(&adding, "acme");
    assert!(refused.assert_code(1).stderr.contains("changed after the plan was shown"), "{}", refused.stderr);
    assert_eq!(db.count("SELECT count(*) FROM acme.late"), 1);
    // Writers wait until the tenant is dropped.
    let writing = meanwhile(&db, "SET lock_timeout = '100ms'; INSERT INTO globex.a VALUES (99)");
    drop(&writing, "globex").assert_code(0);
    let messages = fs::read_to_string(writing.path().join("messages")).unwrap();
    assert!(messages.contains("canceling statement due to lock timeout"), "{messages}");
    // Readers do not wait.
    let reading = meanwhile(&db, "SET lock_timeout = '100ms'; SELECT FROM acme.a");
    drop(&reading, "acme").assert_code(0);
    assert_eq!(fs::read_to_string(reading.path().join("messages")).unwrap(), "");
    assert_eq!(schemas(&db), [""; 0]);
}

#[test]
fn killed_drop_with_a_backup_drops_nothing() {
    let (db, migrations, folder) = prepared(&["acme"]);
    let directory = folder.path().to_str().unwrap();
    // It waits until something reads from the pipe, which nobody does.
    let waiting = programs("mkfifo \"$(dirname \"$0\")/pipe\"; echo >\"$(dirname \"$0\")/pipe\"");
    let pipe = waiting.path().join("pipe");
    let args = ["drop", "acme", "--yes", "--backup", directory, "--pg-bin", waiting.path().to_str().unwrap()];
    let running = with(&db, &migrations, &args).spawn();
    eventually("pg_dump runs", || pipe.exists());
    running.kill();
    fs::read(&pipe).unwrap();
    drop(running);
    db.wait_for_quiet();
    assert_eq!(schemas(&db), ["acme"]);
    assert_eq!(db.strings("SELECT state FROM schema_tracker"), ["active"]);
    with(&db, &migrations, &["drop", "acme", "--yes", "--backup", directory]).run().assert_code(0);
}
