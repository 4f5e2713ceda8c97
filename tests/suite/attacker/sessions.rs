//! Settings of the tool's sessions, rows of the tracker, and names of roles.

use diesel::prelude::*;
use diesel::sql_types::Text;
use tenantry::DatabaseUrl;
use tenantry::postgres::Connector;

use super::{Attacked, older};
use crate::support::migrations::Dir;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{PATIENCE, connector, fleet, schemas, server, set_up};

fn setting(conn: &mut PgConnection, name: &str) -> String {
    diesel::select(diesel::dsl::sql::<Text>("current_setting(").bind::<Text, _>(name).sql(")"))
        .get_result(conn)
        .unwrap()
}

#[test]
fn reset_restores_the_search_path_of_the_session() {
    let db = set_up();
    let mut conn = connector(&db.url()).connect().unwrap();
    assert_eq!(setting(&mut conn, "search_path"), "pg_catalog,pg_temp");
    for reset in ["SET search_path TO public; RESET search_path", "SET search_path TO public; RESET ALL", "DISCARD ALL"]
    {
        for statement in reset.split(';') {
            diesel::sql_query(statement).execute(&mut conn).unwrap();
        }
        assert_eq!(setting(&mut conn, "search_path"), "pg_catalog,pg_temp", "{reset}");
    }
}

#[test]
fn row_with_guard_text_fails_only_its_migration() {
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (value text);");
    let path = migrations.path().to_str().unwrap();
    db.tenantry(["create", "acme", "globex", "--tenant-migrations", path]).run().assert_code(0);
    db.execute("INSERT INTO acme.a VALUES ('tenantry: the transaction needs a thorough check')");
    let migrations = migrations.add("2_b", "ALTER TABLE a ALTER COLUMN value TYPE int USING value::int;");
    let path = migrations.path().to_str().unwrap();
    let run = db.tenantry(["migrate-all", "--tenant-migrations", path]).run();
    run.assert_code(1);
    assert!(run.stderr.contains("tenant acme: migration 2_b/up.sql:1 failed: invalid input syntax"), "{}", run.stderr);
    assert!(run.stderr.contains("1 migrated, 1 failed"), "{}", run.stderr);
}

#[test]
#[ignore = "long: make test-long"]
fn row_with_guard_text_does_not_block_other_tenants() {
    let texts = [
        "tenantry: another session holds the lock of the schema",
        "tenantry: the schema or the tracker has changed since it was read",
        "tenantry: current_schema() is not the expected schema",
        "tenantry: the executed statements differ from those of the migration",
        "tenantry: the migrations differ from the recorded ones",
        "tenantry: objects outside the schema were changed",
        "tenantry: the ledger does not contain the expected versions",
        "tenantry: another session holds the lock of the recorded migrations",
    ];
    let db = set_up();
    let migrations = Dir::new().add("1_a", "CREATE TABLE a (value text);");
    let path = migrations.path().to_str().unwrap();
    let names: Vec<String> = (0..texts.len()).map(|n| format!("t{n}")).collect();
    let run = |args: &[&str]| db.tenantry(args).args(names.iter()).args(["--tenant-migrations", path]).run();
    run(&["create", "honest"]).assert_code(0);
    for (name, text) in names.iter().zip(texts) {
        db.execute(&format!("INSERT INTO {name}.a VALUES ('{text}')"));
    }
    let migrations = migrations.add("2_b", "ALTER TABLE a ALTER COLUMN value TYPE int USING value::int;");
    let path = migrations.path().to_str().unwrap();
    let run = db.tenantry(["migrate-all", "--retries", "1", "--tenant-migrations", path]).run();
    run.assert_code(1);
    assert!(run.stderr.contains("1 migrated"), "{}", run.stderr);
    assert_eq!(db.string("SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'honest.a'::regclass AND attname = 'value'"), "integer");
}

#[test]
fn options_of_the_user_are_preserved() {
    let db = set_up();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options=-c%20work_mem%3D7MB%20-c%20search_path%3Dpublic", db.url());
    let mut conn = connector(&url).connect().unwrap();
    assert_eq!(setting(&mut conn, "work_mem"), "7MB");
    assert_eq!(setting(&mut conn, "search_path"), "pg_catalog,pg_temp");
    // The options of the environment apply if the URL has none.
    let url = db.url().parse::<DatabaseUrl>().unwrap();
    let env = |name: &str| (name == "PGOPTIONS").then(|| "-c work_mem=8MB".to_owned());
    let mut conn = Connector::new(url, PATIENCE, env).connect().unwrap();
    assert_eq!(setting(&mut conn, "work_mem"), "8MB");
}

#[test]
fn session_pooler_is_distinguished_from_transaction_pooler() {
    let db = set_up();
    let transaction = PgBouncer::with_settings(server(), &[("default_pool_size", "20")]);
    let round_robin = PgBouncer::with_settings(server(), &[("server_round_robin", "1"), ("min_pool_size", "4")]);
    let session = PgBouncer::with_settings(server(), &[("pool_mode", "session"), ("default_pool_size", "20")]);
    for (what, url, expected) in [
        ("the server", db.url(), true),
        ("transaction mode", transaction.url(db.name()), false),
        ("transaction mode, round robin", round_robin.url(db.name()), false),
        ("session mode", session.url(db.name()), true),
    ] {
        let connector = connector(&url);
        for _ in 0..3 {
            // From here on, the pooler has idle sessions.
            let used: Vec<_> = (0..3).map(|_| connector.connect().unwrap()).collect();
            drop(used);
        }
        assert_eq!(connector.has_dedicated_session().unwrap(), expected, "{what}");
    }
    // A non-transactional migration runs through it.
    db.tenantry(["create", "acme"]).env("DATABASE_URL", session.url(db.name())).run().assert_code(0);
    assert_eq!(schemas(&db), ["acme"]);
}

#[test]
#[ignore = "long: make test-long"]
fn invalid_tracker_row_affects_only_itself() {
    let db = fleet(&["acme", "globex", "initech", "umbrella"]);
    db.execute(
        "ALTER TABLE schema_tracker DROP CONSTRAINT schema_tracker_state_check; \
         ALTER TABLE schema_tracker DROP CONSTRAINT schema_tracker_pkey CASCADE; \
         ALTER TABLE schema_tracker ALTER id DROP NOT NULL, ALTER name DROP NOT NULL, ALTER state DROP NOT NULL, \
         ALTER created_at DROP NOT NULL; \
         UPDATE schema_tracker SET state = 'suspended' WHERE name = 'globex'; \
         UPDATE schema_tracker SET state = NULL WHERE name = 'initech'; \
         INSERT INTO schema_tracker (id, name, state, created_at) VALUES (NULL, 'noid', 'active', now()), \
         (gen_random_uuid(), 'notime', 'active', NULL), ('00000000-0000-0000-0000-000000000001', NULL, 'active', now())",
    );
    let list = db.tenantry(["list", "--format", "json"]).run();
    list.assert_code(0);
    let problems: Vec<(String, Option<String>)> = list.json()["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap().to_owned(), row["problem"].as_str().map(str::to_owned)))
        .collect();
    let invalid = |name: &str| (name.to_owned(), Some("invalid-row".to_owned()));
    let fine = |name: &str| (name.to_owned(), None);
    assert_eq!(
        problems,
        [
            invalid("(id 00000000-0000-0000-0000-000000000001)"),
            fine("acme"),
            invalid("globex"),
            invalid("initech"),
            invalid("noid"),
            invalid("notime"),
            fine("umbrella"),
        ]
    );
    db.tenantry(["list", "--names"]).run().assert_code(0);
    db.tenantry(["list"]).run().assert_code(0);
    let health = db.tenantry(["health-check", "--format", "json"]).run();
    health.assert_code(1);
    for why in ["suspended", "state is NULL", "its name is NULL", "its id is NULL", "its created_at is NULL"] {
        assert!(health.stdout.contains(why), "{why}: {}", health.stdout);
    }
    // The tenant is not migrated.
    let migrate = db.tenantry(["migrate-all"]).run();
    migrate.assert_code(1);
    assert!(migrate.stderr.contains("globex"), "{}", migrate.stderr);
    for name in ["globex", "initech"] {
        for args in [["migrate-one", name], ["create", name]] {
            let output = db.tenantry(args).run();
            assert_ne!(output.code, Some(0), "{args:?}: {}", output.stderr);
        }
    }
    // Nor is it dropped: an unknown state may be a reason to keep it.
    for args in [&["drop", "globex", "--yes"][..], &["drop", "initech", "--yes"], &["cleanup", "--yes"]] {
        let output = db.tenantry(args).run();
        output.assert_code(1);
        assert!(output.stderr.contains("invalid row in public.schema_tracker"), "{args:?}: {}", output.stderr);
    }
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('globex', 'initech')"), 2);
}

/// A superuser who migrates schemas of other owners gets a warning; with `--as-owner`, the migrations have the owner's
/// privileges only.
#[test]
fn as_owner_runs_migrations_as_the_schema_owner() {
    let attacked = Attacked::new();
    let Attacked { db, attacker, .. } = &attacked;
    // Triggers of the tenant, which the next migration fires: at the statement, and at the end of the transaction.
    attacked.plant(
        "CREATE FUNCTION mallory.spring() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM trap.spring('trigger'); RETURN NEW; END $$; \
         CREATE TABLE mallory.log (i int); \
         CREATE TRIGGER t BEFORE INSERT ON mallory.log FOR EACH ROW EXECUTE FUNCTION mallory.spring(); \
         CREATE CONSTRAINT TRIGGER d AFTER INSERT ON mallory.log DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION mallory.spring()",
    );
    db.execute(&format!("ALTER TABLE mallory.a OWNER TO {attacker}; CREATE TABLE acme.log (i int)"));
    let migrations = older().add("2_b", "CREATE TABLE b (i int); INSERT INTO log VALUES (1);");
    let run = |args: &[&str]| db.tenantry(args).arg("--tenant-migrations").arg(migrations.path()).run();
    let warning = "warning: 1 schema of this run belongs to another role";

    let dry_run = run(&["migrate-all", "--dry-run"]);
    dry_run.assert_code(0);
    assert!(dry_run.stderr.contains(warning) && dry_run.stderr.contains("--as-owner"), "{}", dry_run.stderr);
    let output = run(&["migrate-one", "acme"]);
    output.assert_code(0);
    assert!(!output.stderr.contains("warning"), "its own schema: {}", output.stderr);

    let output = run(&["migrate-all", "--as-owner"]);
    output.assert_code(0);
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    attacked.assert_nothing_executed("migrate-all --as-owner");
    assert_eq!(db.count("SELECT count(*) FROM mallory.log"), 1);
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'mallory.b'::regclass";
    assert_eq!(&db.string(owner), attacker);
    assert_eq!(db.count("SELECT count(*) FROM mallory.__diesel_schema_migrations"), 2);
}

#[test]
fn name_of_the_connected_role_is_refused() {
    let db = set_up();
    let role = db.string("SELECT session_user");
    for name in [role.clone(), role.to_ascii_uppercase()] {
        let output = db.tenantry(["create", &name]).run();
        output.assert_code(1);
        assert!(output.stderr.contains("the connected role has the same name"), "{}", output.stderr);
    }
    assert_eq!(schemas(&db), Vec::<String>::new());
}
