//! `rename`: a tenant has one of the two names, completely.

use diesel::connection::SimpleConnection;
use serde_json::json;

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, fleet, run_with, with};
use crate::tenant_roles::Isolated;

fn names(db: &Database) -> String {
    let tracked = db.strings("SELECT name FROM schema_tracker ORDER BY 1").join(" ");
    let schemas =
        db.strings("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'public' ORDER BY 1");
    let schemas: Vec<String> = schemas.into_iter().filter(|name| name != "information_schema").collect();
    assert_eq!(tracked, schemas.join(" "));
    tracked
}

/// Migrations whose objects depend on the schema in every way that PostgreSQL follows itself.
fn following() -> Dir {
    Dir::new()
        .add(
            "1_base",
            "CREATE SEQUENCE numbers; CREATE TYPE color AS ENUM ('red'); CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); \
             CREATE TABLE users (id int PRIMARY KEY DEFAULT nextval('numbers'), shade color DEFAULT 'red', name short); \
             CREATE TABLE notes (user_id int REFERENCES users, at timestamptz); CREATE INDEX ON notes (at);",
        )
        .down("SELECT 1")
        .add(
            "2_code",
            "CREATE FUNCTION parsed(n int) RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM users WHERE id = n; END; \
             CREATE FUNCTION relative() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM users'; \
             CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER changed BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION changed(); \
             CREATE VIEW active AS SELECT u.id, parsed(u.id) FROM users u; ALTER TABLE users ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY mine ON users USING (id < (SELECT count(*) FROM notes));",
        )
        .down("SELECT 1")
}

#[test]
fn everything_follows_the_schema() {
    let migrations = following();
    let db = fleet(&[]);
    run_with(&db, &migrations, &["create", "acme", "globex"]).assert_code(0);
    db.execute(
        "INSERT INTO acme.users (name) VALUES ('x'); CREATE VIEW public.report AS SELECT count(*) FROM acme.users",
    );
    run_with(&db, &migrations, &["health-check", "--remember"]).assert_code(0);
    let dry = with(&db, &migrations, &["rename", "acme", "initech", "--dry-run"]).run();
    assert!(dry.assert_code(0).stderr.contains("acme would be renamed to initech"), "{}", dry.stderr);
    assert_eq!(names(&db), "acme globex");
    assert_eq!(db.count("SELECT count(*) FROM schema_run WHERE command = 'rename'"), 0);

    assert_snapshot!(with(&db, &migrations, &["rename", "acme", "initech"]).run(), @r"
        --- stderr
        acme renamed to initech
        --- exit 0
    ");
    assert_eq!(names(&db), "globex initech");
    for check in
        [&["health-check"][..], &["health-check", "--full"], &["diff", "initech"], &["migrate-all", "--verify"]]
    {
        run_with(&db, &migrations, check).assert_code(0);
    }
    assert_eq!(db.count("SELECT count FROM public.report"), 1);
    db.execute(
        "INSERT INTO initech.users DEFAULT VALUES; UPDATE initech.users SET name = 'y'; SELECT * FROM initech.active",
    );
    // The records follow.
    assert_eq!(
        db.strings("SELECT r.command FROM schema_run_tenant t JOIN schema_run r ON r.id = t.run WHERE tenant = 'initech' ORDER BY 1"),
        ["create", "rename"]
    );
    assert_eq!(db.string("SELECT outcome FROM schema_run WHERE command = 'rename'"), "done");
    // Also to a name that differs in case only, and for an archived tenant.
    run_with(&db, &migrations, &["archive", "initech"]).assert_code(0);
    run_with(&db, &migrations, &["rename", "initech", "Initech", "--format", "json"]).assert_code(0);
    run_with(&db, &migrations, &["rename", "Initech", "acme-corp", "--any-name"]).assert_code(0);
    assert_eq!(names(&db), "acme-corp globex");
    run_with(&db, &migrations, &["health-check"]).assert_code(0);
    run_with(&db, &migrations, &["unarchive", "acme-corp"]).assert_code(0);
}

#[test]
fn text_that_names_the_schema_is_refused_with_its_objects() {
    let db = fleet(&["acme", "globex"]);
    let app = format!("\"app {}\"", db.name());
    db.execute(&format!(
        "CREATE FUNCTION acme.source() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ACME.users'; \
         CREATE FUNCTION acme.path() RETURNS int LANGUAGE sql SET search_path = acme AS 'SELECT 1'; \
         CREATE FUNCTION acme.harmless() RETURNS int LANGUAGE sql AS 'SELECT 1 AS acme'; \
         ALTER TABLE acme.users ALTER full_name SET DEFAULT current_setting('acme.name'); \
         CREATE VIEW acme.dynamic AS SELECT to_regclass('acme.users') AS users; COMMENT ON TABLE acme.users IS 'acme.users'; \
         CREATE ROLE {app}"
    ));
    let objects = || -> Vec<String> {
        let output = db.tenantry(["rename", "acme", "initech", "--format", "json"]).run();
        let error = output.assert_code(3).json()["error"].clone();
        assert_eq!(error["code"], "name-in-text", "{error}");
        let message = error["message"].as_str().expect("a message").to_owned();
        message.split_once(" in: ").expect("objects").1.split(", ").map(str::to_owned).collect()
    };
    assert_eq!(objects(), ["column users.full_name", "function path()", "function source()", "view dynamic"]);
    db.execute(
        "DROP FUNCTION acme.source(), acme.path(); ALTER TABLE acme.users ALTER full_name DROP DEFAULT; DROP VIEW acme.dynamic",
    );
    db.execute(&format!("ALTER ROLE {app} IN DATABASE \"{}\" SET search_path TO acme, public", db.name()));
    assert_eq!(objects().len(), 1);
    assert_eq!(names(&db), "acme globex");
    db.execute(&format!("DROP ROLE {app}"));
    db.tenantry(["rename", "acme", "initech"]).run().assert_code(0);
}

#[test]
fn a_tenant_that_cannot_be_renamed_is_unchanged() {
    let db = fleet(&["acme", "globex"]);
    db.execute("CREATE SCHEMA stray");
    let refused = |args: &[&str]| {
        let output = db.tenantry(["rename"]).args(args).args(["--lock-timeout", "100ms", "--format", "json"]).run();
        let error = output.json()["error"]["code"].as_str().expect("a code").to_owned();
        (error, output.code.expect("a code"))
    };
    let code = |args: &[&str]| refused(args).0;
    for (args, expected) in [
        (["acme", "globex"], "already-tracked"),
        (["acme", "acme"], "already-tracked"),
        (["acme", "GLOBEX"], "case-clash"),
        (["acme", "stray"], "schema-exists"),
        (["nobody", "initech"], "not-tracked"),
        (["acme", "a-b"], "invalid-character"),
        (["acme", "select"], "reserved-word"),
        (["acme", "postgres"], "own-role"),
        (["acme", "pg_x"], "invalid-value"),
    ] {
        assert_eq!(code(&args), expected, "{args:?}");
    }
    // The error is about the name that cannot be used.
    let output = db.tenantry(["rename", "acme", "globex"]).run();
    assert!(output.stderr.starts_with("error: tenant globex: tenant already exists"), "{}", output.stderr);
    // A session with a lock in the schema, also of a read.
    let mut session = db.connect();
    session.batch_execute("BEGIN; SELECT FROM acme.users").expect("a read");
    assert_eq!(code(&["acme", "initech"]), "in-use");
    session
        .batch_execute("ROLLBACK; SELECT pg_advisory_lock(hashtextextended('tenantry:initech', 0))")
        .expect("a lock");
    assert_eq!(code(&["acme", "initech"]), "busy");
    session
        .batch_execute(
            "SELECT pg_advisory_unlock_all(); BEGIN; SELECT FROM schema_tracker WHERE name = 'acme' FOR UPDATE",
        )
        .expect("a lock");
    assert_eq!(code(&["acme", "initech"]), "server-error");
    session.batch_execute("ROLLBACK").expect("the end");
    assert_eq!(db.strings("SELECT name FROM schema_tracker ORDER BY 1"), ["acme", "globex"]);
    assert_eq!(
        db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('acme', 'globex', 'stray', 'initech')"),
        3
    );
    // --force renames it while it is read.
    session.batch_execute("BEGIN; SELECT FROM acme.users").expect("a read");
    let forced = db.tenantry(["rename", "acme", "initech", "--force", "--format", "json"]).run();
    let document = forced.assert_code(0).json();
    assert_eq!(
        (&document["tenant"], &document["name"], &document["role"]),
        (&json!("acme"), &json!("initech"), &json!(null))
    );
    db.tenantry(["health-check", "--allow-unchecked", "--ignore", "orphaned-schema"]).run().assert_code(0);
}

#[test]
fn the_role_of_the_tenant_follows() {
    let isolated = Isolated::new();
    let mut session = isolated.connect("acme").expect("a connection");
    let refused = isolated.db.tenantry(["rename", "acme", "initech"]).run();
    assert!(refused.assert_code(3).stderr.contains(&isolated.role("acme")), "{}", refused.stderr);
    session.batch_execute("SELECT 1").expect("the session is open");
    drop(session);
    isolated.db.wait_for_quiet();
    isolated.db.execute(&format!("CREATE ROLE {}", isolated.role("initech")));
    let taken = isolated.db.tenantry(["rename", "acme", "initech", "--format", "json"]).run();
    assert_eq!(taken.json()["error"]["code"], "role-exists");
    isolated.db.execute(&format!("DROP ROLE {}", isolated.role("initech")));
    let renamed = isolated.run(&["rename", "acme", "initech", "--format", "json"]);
    assert_eq!(renamed.json()["role"], isolated.role("initech"));
    assert!(isolated.connect("acme").is_err());
    assert!(isolated.may("initech", "SELECT FROM users WHERE email = 'a@acme'"), "its path leads to the schema");
    assert!(!isolated.may("initech", "SELECT FROM globex.users"));
    assert_eq!(isolated.codes(), [""; 0]);
    isolated.run(&["health-check"]);
    isolated.run(&["drop", "initech", "--yes"]);
    assert_eq!(
        isolated.db.count(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", isolated.role("initech"))),
        0
    );
}
