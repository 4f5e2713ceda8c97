//! What `dump` and `restore` refuse: nothing is left behind.

use std::fs;

use diesel::connection::SimpleConnection;

use super::{programs, run, script};
use crate::support::migrations::Dir;
use crate::support::{Database, binaries, schemas, set_up, with};

fn migrations() -> Dir {
    Dir::new().add("1_a", "CREATE TABLE a (i int PRIMARY KEY, t text); CREATE TABLE b (i int)")
}

fn prepared() -> (Database, Dir, tempfile::TempDir, String) {
    let (db, migrations, folder) = (set_up(), migrations(), tempfile::tempdir().unwrap());
    with(&db, &migrations, &["create", "acme"]).run().assert_code(0);
    db.execute("INSERT INTO acme.a SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i");
    let path = folder.path().join("acme.dump").to_str().unwrap().to_owned();
    (db, migrations, folder, path)
}

#[test]
fn dump_that_is_not_complete_leaves_no_file() {
    let (db, migrations, folder, path) = prepared();
    let run = |args: &[&str]| run(&db, &migrations, args);
    let refused = |code: i32, args: &[&str], message: &str| {
        let output = run(&[&["dump"], args].concat());
        assert!(output.assert_code(code).stderr.contains(message), "{}", output.stderr);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    refused(3, &["nobody", "-o", &path], "nobody");
    refused(2, &["acme", "-o", "-"], "name a file");
    refused(2, &["acme", "-o", "none/acme.dump"], "cannot write none/acme.dump");
    let none = tempfile::tempdir().unwrap();
    refused(3, &["acme", "-o", &path, "--pg-bin", none.path().to_str().unwrap()], "error: no pg_dump in ");
    script(none.path(), "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'");
    let major = binaries().major();
    let too_old = format!("is of PostgreSQL 9 and cannot dump a server of PostgreSQL {major}");
    refused(3, &["acme", "-o", &path, "--pg-bin", none.path().to_str().unwrap()], &too_old);
    script(none.path(), "pg_dump", "[ \"$1\" = --version ] && { echo 'pg_dump (PostgreSQL) 99.1'; exit; }\nexit 1");
    refused(3, &["acme", "-o", &path, "--pg-bin", none.path().to_str().unwrap()], "error: no pg_restore in ");
    let failing = programs("echo 'pg_dump: error: no rights' >&2; exit 1");
    refused(3, &["acme", "-o", &path, "--pg-bin", failing.path().to_str().unwrap()], "pg_dump: error: no rights");
    // It ends with success, but without the rows.
    let real = binaries().folder().join("pg_dump").display().to_string();
    let partial = programs(&format!("exec {real} --exclude-table-data=acme.a \"$@\""));
    refused(
        3,
        &["acme", "-o", &path, "--pg-bin", partial.path().to_str().unwrap()],
        "table a is missing in the archive",
    );
    let empty = programs("exit 0");
    refused(3, &["acme", "-o", &path, "--pg-bin", empty.path().to_str().unwrap()], "pg_restore");
    // Another session migrates it.
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenantry:acme', 0))").unwrap();
    refused(5, &["acme", "-o", &path], "error: tenant acme");
    holder.batch_execute("ROLLBACK").unwrap();
    db.execute("UPDATE schema_tracker SET state = 'dropping'");
    refused(3, &["acme", "-o", &path], "the tenant is dropping, not active");
}

#[test]
fn existing_file_is_replaced_only_with_force() {
    let (db, migrations, _folder, path) = prepared();
    let run = |args: &[&str]| run(&db, &migrations, args);
    fs::write(&path, "precious").unwrap();
    let refused = run(&["dump", "acme", "-o", &path, "--format", "json"]);
    assert_eq!(refused.assert_code(2).json()["error"]["code"], "file-exists");
    let failing = programs("exit 1");
    run(&["dump", "acme", "-o", &path, "--force", "--pg-bin", failing.path().to_str().unwrap()]).assert_code(3);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    run(&["dump", "acme", "-o", &path, "--force"]).assert_code(0);
    assert!(fs::read(&path).unwrap().starts_with(b"PGDMP"));
}

#[test]
fn restore_that_fails_leaves_nothing_behind() {
    let (db, migrations, folder, path) = prepared();
    let run = |args: &[&str]| run(&db, &migrations, args);
    run(&["dump", "acme", "-o", &path]).assert_code(0);
    let refused = |code: i32, args: &[&str], message: &str| {
        let output = run(&[&["restore"], args, &["--lock-timeout", "100ms"]].concat());
        assert!(output.assert_code(code).stderr.contains(message), "{}", output.stderr);
        assert_eq!(schemas(&db), ["acme"]);
        assert_eq!(db.count("SELECT count(*) FROM acme.a"), 2000);
        assert_eq!(db.count("SELECT count(*) FROM schema_tracker"), 1);
    };
    refused(3, &[&path, "acme"], "tenant already exists");
    refused(3, &[&path, "Acme"], "differs only in case");
    refused(2, &["none", "new"], "cannot read none");
    refused(2, &[&path, "a-b"], "a-b");
    // Archives that are damaged at any place, or are none.
    let archive = fs::read(&path).unwrap();
    let other = folder.path().join("other").to_str().unwrap().to_owned();
    for size in [0, 3, 200, archive.len() / 2, archive.len() - 20] {
        fs::write(&other, &archive[..size]).unwrap();
        refused(3, &[&other, "new"], "pg_restore");
    }
    fs::write(&other, "CREATE SCHEMA acme;").unwrap();
    refused(3, &[&other, "new"], "pg_restore");
    // Archives of something else.
    let pg_dump = |args: &[&str]| {
        let mut command = std::process::Command::new(binaries().folder().join("pg_dump"));
        assert!(
            command
                .args(args)
                .args(["--format=custom", "--file", &other, "--dbname", &db.url()])
                .status()
                .unwrap()
                .success()
        );
    };
    pg_dump(&["--schema=acme", "--inserts"]);
    refused(3, &[&other, "new"], "its rows are INSERT statements");
    pg_dump(&["--table=acme.a"]);
    refused(3, &[&other, "new"], "the archive creates 0 schemas");
    pg_dump(&["--schema=acme", "--exclude-table=acme.__diesel_schema_migrations"]);
    refused(3, &[&other, "new"], "no migration ledger");
    db.execute("CREATE SCHEMA second");
    pg_dump(&["--schema=acme", "--schema=second"]);
    db.execute("DROP SCHEMA second");
    refused(3, &[&other, "new"], "the archive creates 2 schemas");
    // Rows that the new tables do not accept, and text that names the schema.
    db.execute(
        "CREATE FUNCTION acme.ok() RETURNS bool LANGUAGE sql AS \
         $$ SELECT current_setting('application_name') NOT LIKE 'tenantry%' $$; ALTER TABLE acme.a ADD CHECK (acme.ok())",
    );
    run(&["dump", "acme", "-o", &other, "--force"]).assert_code(0);
    refused(3, &[&other, "new"], "violates check constraint");
    db.execute("ALTER TABLE acme.a DROP CONSTRAINT a_check; CREATE FUNCTION acme.f() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM acme.g(); END'");
    run(&["dump", "acme", "-o", &other, "--force"]).assert_code(0);
    refused(3, &[&other, "new"], "text names the schema acme of the archive in: function f()");
    // Another session works on the tenant whose name the archive has.
    let mut holder = db.connect();
    holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenantry:acme', 0))").unwrap();
    refused(5, &[&path, "new"], "error: tenant new");
    holder.batch_execute("ROLLBACK").unwrap();
    assert_eq!(db.strings("SELECT DISTINCT outcome FROM schema_run WHERE command = 'restore'"), ["failed"]);
}
