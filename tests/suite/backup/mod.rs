//! `dump` and `restore`: the restored tenant has the structure, the rows, the privileges and the ledger of the dumped one, or does
//! not exist.

mod drop;
mod refusals;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use diesel::connection::SimpleConnection;
use serde_json::json;

use crate::clone;
use crate::support::migrations::Dir;
use crate::support::{Database, Output, binaries, schemas, set_up, with};

/// A folder with the programs that dump and restore, each as a script that continues with the real program. Before that,
/// `pg_dump` runs `before`.
fn programs(before: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, before) in [("pg_dump", before), ("pg_restore", "")] {
        let real = binaries().folder().join(name).display().to_string();
        script(
            folder.path(),
            name,
            &format!("[ \"$1\" = --version ] && exec {real} --version\n{before}\nexec {real} \"$@\""),
        );
    }
    folder
}

/// Runs a command; `dump` needs no migrations.
fn run(db: &Database, migrations: &Dir, args: &[&str]) -> Output {
    match args[0] {
        "dump" => db.tenantry(args).run(),
        _ => with(db, migrations, args).run(),
    }
}

fn script(folder: &Path, name: &str, body: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// All rows of the tables that the tests of `clone` create, as text.
fn rows(db: &Database, schema: &str) -> Vec<Vec<String>> {
    let tables = ["people", "pets", "logs", "moods", "__diesel_schema_migrations"];
    tables.map(|table| db.strings(&format!("SELECT t::text FROM \"{schema}\".{table} t ORDER BY 1"))).to_vec()
}

#[test]
fn restored_tenant_is_equal_to_the_dumped_one() {
    let db = set_up();
    let [owner, app] = ["owner", "app"].map(|role| format!("{role}_{}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {owner}; CREATE ROLE {app}; GRANT CREATE ON DATABASE {} TO {owner}; \
         CREATE SCHEMA acme AUTHORIZATION {owner}; INSERT INTO schema_tracker (name, state) VALUES ('acme', 'registered')",
        db.name()
    ));
    let migrations = clone::migrations();
    let run = |args: &[&str]| run(&db, &migrations, args);
    run(&["migrate-one", "acme", "--as-owner"]).assert_code(0);
    db.execute(&format!(
        "SET ROLE {owner}; {}; GRANT USAGE ON SCHEMA acme TO {app}; GRANT SELECT (mood), UPDATE ON acme.people TO {app}; \
         INSERT INTO acme.nothing DEFAULT VALUES; \
         COMMENT ON TABLE acme.pets IS E'COPY acme.pets (id) FROM stdin;\\n\\\\.\\n'; RESET ROLE",
        clone::ROWS
    ));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.dump");
    let path = file.to_str().unwrap();
    // Rows that are not committed are not dumped.
    let mut writer = db.connect();
    writer.batch_execute("BEGIN; INSERT INTO acme.logs VALUES ('2031-01-01', 'uncommitted')").unwrap();
    let dumped = run(&["dump", "acme", "--output", path, "--format", "json"]);
    let document = dumped.assert_code(0).json();
    writer.batch_execute("ROLLBACK").unwrap();
    assert_eq!((&document["tables"], &document["rows"]), (&json!(5), &json!(21)), "{document}");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, json!(metadata.len())), (0o600, document["bytes"].clone()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let expected = rows(&db, "acme");
    for name in ["globex", "Acme-2"] {
        let restored = run(&["restore", path, name, "--any-name", "--format", "json"]);
        let document = restored.assert_code(0).json();
        assert_eq!((&document["source"], &document["rows"]), (&json!("acme"), &json!(21)), "{document}");
        assert_eq!((&document["owner"], &document["pending"]), (&json!(owner), &json!(0)), "{document}");
        run(&["diff", name, "acme"]).assert_code(0);
        assert_eq!(rows(&db, name), expected);
        let grants = format!("has_table_privilege('{app}', '\"{name}\".people', 'UPDATE')");
        assert_eq!(db.string(&format!("SELECT {grants} AND has_schema_privilege('{app}', '{name}', 'USAGE')")), "true");
        assert_eq!(db.string(&format!("SELECT nextval('\"{name}\".pets_id_seq')")), "501");
        assert_eq!(db.count(&format!("SELECT count(*) FROM \"{name}\".nothing")), 1);
        let functions = format!(
            "SELECT count(*) FROM pg_proc WHERE proname LIKE 'tenantry%' AND pronamespace = '\"{name}\"'::regnamespace"
        );
        assert_eq!(db.count(&functions), 0);
    }
    assert_eq!(rows(&db, "acme"), expected);
    assert_eq!(schemas(&db), ["Acme-2", "acme", "globex"]);

    // The name is free after the drop.
    run(&["drop", "acme", "--yes"]).assert_code(0);
    run(&["restore", path, "acme"]).assert_code(0);
    assert_eq!(rows(&db, "acme"), expected);
    run(&["diff", "acme", "globex"]).assert_code(0);
    run(&["migrate-all"]).assert_code(0);
    assert_eq!(
        db.strings("SELECT command || ' ' || outcome FROM schema_run WHERE command = 'restore'"),
        ["restore done"; 3]
    );

    // In another database the migrations differ.
    let other = set_up();
    other.execute(&format!("GRANT CREATE ON DATABASE {} TO {owner}", other.name()));
    let newer = clone::migrations().add("3_more", "CREATE TABLE more (id int)");
    let restored = with(&other, &newer, &["restore", path, "acme"]).run();
    restored.assert_code(0);
    assert!(restored.stderr.contains("warning: 1 migration pending"), "{}", restored.stderr);
    assert!(restored.stderr.contains("tenantry migrate-one acme"), "{}", restored.stderr);
    assert_eq!(rows(&other, "acme"), expected);
    with(&other, &newer, &["migrate-one", "acme", "--as-owner"]).run().assert_code(0);
    let older = Dir::new().add("1_types", "SELECT 1");
    let unknown = with(&other, &older, &["restore", path, "globex"]).run();
    assert!(unknown.assert_code(0).stderr.contains("unknown here: 2"), "{}", unknown.stderr);
    for db in [&db, &other] {
        db.execute(&format!("DROP OWNED BY {owner}, {app} CASCADE"));
    }
    db.execute(&format!("DROP ROLE {owner}, {app}"));
}

#[test]
fn roles_of_the_archive_that_do_not_exist_are_reported() {
    let db = set_up();
    let [owner, app] = ["owner", "app"].map(|role| format!("{role}_{}", db.name()));
    db.execute(&format!("CREATE ROLE {owner}; CREATE ROLE {app}; GRANT CREATE ON DATABASE {} TO {owner}", db.name()));
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (i int); CREATE TABLE b (i int)");
    let run = |args: &[&str]| run(&db, &migrations, args);
    run(&["create", "acme"]).assert_code(0);
    db.execute(&format!(
        "INSERT INTO acme.a VALUES (1); GRANT SELECT ON acme.a TO {app}; ALTER SCHEMA acme OWNER TO {owner}; \
         ALTER TABLE acme.b OWNER TO {owner}"
    ));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.dump");
    let path = file.to_str().unwrap();
    run(&["dump", "acme", "-o", path]).assert_code(0);
    db.execute(&format!("DROP OWNED BY {app}; DROP ROLE {app}"));
    let restored = run(&["restore", path, "globex"]);
    restored.assert_code(0);
    assert!(
        restored.stderr.contains(&format!("privileges of other roles were not restored: {app}")),
        "{}",
        restored.stderr
    );
    let owners = |schema: &str| {
        let owners = "SELECT string_agg(relname || ' ' || relowner::regrole, ', ' ORDER BY relname) FROM pg_class WHERE relkind = 'r'";
        db.string(&format!("{owners} AND relnamespace = '{schema}'::regnamespace"))
    };
    assert_eq!(owners("globex"), owners("acme"));
    // The role of a tenant has no privileges on the copy.
    run(&["isolate", "acme", "--yes"]).assert_code(0);
    run(&["dump", "acme", "-o", path, "--force"]).assert_code(0);
    let role = db.string("SELECT role_name FROM schema_tracker WHERE name = 'acme'");
    let restored = run(&["restore", path, "initech", "--format", "json"]).assert_code(0).json();
    assert_eq!(restored["omitted_roles"], json!([role]));
    assert_eq!(db.string(&format!("SELECT has_schema_privilege('{role}', 'initech', 'USAGE')")), "false");
    run(&["drop", "acme", "globex", "initech", "--yes"]).assert_code(0);
    db.execute(&format!("DROP OWNED BY {owner}; DROP ROLE {owner}"));
    let refused = run(&["restore", path, "acme"]);
    refused.assert_code(3);
    assert!(
        refused.stderr.contains(&format!("role {owner}, the owner of the schema in the archive, does not exist")),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--owner"), "{}", refused.stderr);
    run(&["restore", path, "acme", "--owner", "postgres"]).assert_code(0);
    assert_eq!(owners("acme"), "__diesel_schema_migrations postgres, a postgres, b postgres");
    assert_eq!(db.count("SELECT count(*) FROM acme.a"), 1);
}
