//! `archive`, `unarchive`, `drop --grace` and `purge`.

use diesel::connection::SimpleConnection;
use diesel::r2d2::{ConnectionManager, Pool};
use serde_json::{Value, json};
use tenantry::application::{AccessError, Creation, Tenants, TransactionError};
use tenantry::{Database as Library, MigrationSet, Tenancy};

use crate::assert_snapshot;
use crate::support::{Database, Screen, Terminal, connector, create_older, fleet, set_up};
use crate::tenant_roles::Isolated;

/// The privileges on the schema of a tenant.
fn grants(db: &Database, tenant: &str) -> Vec<String> {
    db.strings(&format!(
        "SELECT item::text FROM pg_namespace, unnest(nspacl) AS item WHERE nspname = '{tenant}' ORDER BY 1"
    ))
}

fn state(db: &Database, tenant: &str) -> String {
    db.string(&format!(
        "SELECT concat_ws(' ', state, archived_at IS NOT NULL, archived_rights, purge_after IS NOT NULL) \
         FROM schema_tracker WHERE name = '{tenant}'"
    ))
}

const ACTIVE: &str = "active f f";

#[test]
fn privileges_on_the_schema_are_revoked_and_restored() {
    let db = set_up();
    let [app, deploy] = ["app", "deploy"].map(|role| format!("\"{role} {}\"", db.name()));
    db.execute(&format!(
        "CREATE ROLE {app}; CREATE ROLE {deploy}; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {app}, PUBLIC; \
         ALTER DEFAULT PRIVILEGES GRANT CREATE, USAGE ON SCHEMAS TO {deploy} WITH GRANT OPTION"
    ));
    create_older(&db, &["acme", "globex"]);
    let before = grants(&db, "acme");
    assert_eq!(before.len(), 4, "{before:?}");
    assert_snapshot!(db.tenantry(["archive", "acme"]).run(), @r"
        --- stderr
        1 archived
        --- exit 0
    ");
    assert_eq!(grants(&db, "acme").len(), 1, "of the owner");
    assert_eq!(grants(&db, "globex"), before);
    assert_eq!(db.tenantry(["archive", "acme", "--format", "json"]).run().json()["unchanged"], json!(["acme"]));

    // It is migrated and compared with the others.
    let migrated = db.tenantry(["migrate-all", "--verify"]).run();
    assert!(migrated.assert_code(0).stderr.contains("2 migrated"), "{}", migrated.stderr);
    assert_eq!(db.string("SELECT state FROM schema_tracker WHERE name = 'acme'"), "archived");
    let health = db.tenantry(["health-check", "--format", "json"]).run();
    assert_eq!(health.assert_code(0).json()["checked"], 2);
    db.tenantry(["diff", "acme"]).run().assert_code(0);
    db.tenantry(["diff", "acme", "globex"]).run().assert_code(0);
    // Drift of an archived tenant is found, and of others that have lost the same privileges.
    db.execute(&format!("DROP INDEX acme.tasks_assignee_id_due_on_idx; REVOKE USAGE ON SCHEMA globex FROM {app}"));
    let drift = db.tenantry(["health-check", "--format", "json"]).run().json();
    let found: Vec<&str> =
        drift["findings"].as_array().expect("a list").iter().filter_map(|it| it["code"].as_str()).collect();
    assert_eq!(found, ["index.missing", "schema.grants"], "{drift}");
    db.execute(&format!("GRANT USAGE ON SCHEMA globex TO {app}"));

    db.tenantry(["unarchive", "acme"]).run().assert_code(0);
    assert_eq!((grants(&db, "acme"), state(&db, "acme")), (before.clone(), ACTIVE.to_owned()));
    assert_eq!(db.tenantry(["unarchive", "acme", "--format", "json"]).run().json()["unchanged"], json!(["acme"]));
    assert_eq!(
        db.strings(
            "SELECT command || ' ' || outcome FROM schema_run WHERE command <> 'migrate-all' ORDER BY id DESC LIMIT 3"
        ),
        ["unarchive done", "archive done", "create done"]
    );

    // A role that no longer exists is reported, and the others get their privileges back.
    db.tenantry(["archive", "acme"]).run().assert_code(0);
    db.execute(&format!("DROP OWNED BY {deploy}; DROP ROLE {deploy}"));
    let output = db.tenantry(["unarchive", "acme"]).run();
    assert!(
        output.assert_code(0).stderr.contains("warning: tenant acme: the privileges of role deploy"),
        "{}",
        output.stderr
    );
    assert_eq!(grants(&db, "acme").len(), 3);
    db.execute(&format!("DROP OWNED BY {app}; DROP ROLE {app}"));
}

#[test]
fn the_role_of_an_archived_tenant_cannot_log_in() {
    let isolated = Isolated::new();
    let mut session = isolated.connect("acme").expect("a connection");
    isolated.run(&["archive", "acme"]);
    assert!(isolated.connect("acme").is_err(), "the role cannot log in");
    assert!(session.batch_execute("SELECT FROM acme.users").is_err(), "an open session may not use the schema");
    assert!(isolated.may("globex", "SELECT FROM users"));
    // The tables' privileges of its role are not drift.
    isolated.run(&["health-check"]);
    isolated.run(&["unarchive", "acme"]);
    assert!(isolated.may("acme", "SELECT FROM users"));
    isolated.run(&["health-check"]);
    // An archived tenant is dropped with its role.
    isolated.run(&["archive", "acme"]);
    isolated.run(&["drop", "acme", "--yes"]);
    assert_eq!(
        isolated.db.count(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", isolated.role("acme"))),
        0
    );
}

#[test]
fn the_library_and_other_commands_refuse_an_archived_tenant() {
    let db = fleet(&["acme", "globex"]);
    db.tenantry(["archive", "acme"]).run().assert_code(0);
    let migrations = MigrationSet::from_dir(std::path::Path::new("migrations/tenant")).expect("migrations");
    let pool = Pool::builder().max_size(1).build(ConnectionManager::new(db.url())).expect("a pool");
    let tenants = Tenants::new(pool, connector(&db.url()), Tenancy::new(migrations).expect("a tenancy"));
    let acme = "acme".parse().expect("a name");
    let refused = tenants.with(&acme, |conn| conn.batch_execute("SELECT FROM users")).expect_err("it is archived");
    assert!(matches!(&refused, TransactionError::Access(AccessError::Archived(name)) if *name == acme), "{refused}");
    assert_eq!((refused.code(), refused.to_string().as_str()), ("archived", "tenant acme is archived"));
    assert_eq!(tenants.names().expect("names").len(), 1);
    let created = tenants.create_if_not_exists(&acme);
    assert!(!matches!(created, Ok(Creation::Created | Creation::Existed)), "{created:?}");

    let code = |args: &[&str]| {
        let output = db.tenantry(args).args(["--format", "json"]).run();
        let document = output.json();
        let failed = document["failed"][0]["code"].as_str().or(document["error"]["code"].as_str());
        (output.code, failed.unwrap_or_default().to_owned())
    };
    for (args, expected) in [
        (&["create", "acme"][..], (1, "already-tracked")),
        (&["create", "acme", "--if-not-exists"], (1, "already-tracked")),
        (&["adopt", "acme"], (1, "already-tracked")),
        (&["exec", "acme", "-c", "SELECT 1"], (2, "unknown-tenant")),
        (&["isolate", "acme", "--dry-run"], (1, "not-yet-active")),
        (&["archive", "nobody"], (1, "not-tracked")),
        (&["unarchive", "nobody"], (1, "not-tracked")),
    ] {
        let found = code(args);
        assert_eq!((found.0, found.1.as_str()), (Some(expected.0), expected.1), "{args:?}");
    }
    db.execute("UPDATE schema_tracker SET state = 'creating' WHERE name = 'globex'");
    assert_eq!(code(&["archive", "globex"]), (Some(1), "wrong-state".to_owned()));
    assert_eq!(code(&["unarchive", "globex"]), (Some(1), "wrong-state".to_owned()));
}

#[test]
fn a_tenant_that_cannot_be_archived_is_unchanged() {
    let db = fleet(&["acme", "globex"]);
    let [app, other] = ["app", "other"].map(|role| format!("\"{role} {}\"", db.name()));
    db.execute(&format!(
        "CREATE ROLE {app}; CREATE ROLE {other}; GRANT USAGE ON SCHEMA acme TO {app} WITH GRANT OPTION; \
         GRANT USAGE ON SCHEMA globex TO {app}; SET ROLE {app}; GRANT USAGE ON SCHEMA acme TO {other}"
    ));
    let before = (grants(&db, "acme"), grants(&db, "globex"));
    let failed = |args: &[&str]| {
        let document = db.tenantry(args).args(["--format", "json"]).run().assert_code(1).json();
        document["failed"].as_array().expect("a list").iter().map(|it| it["code"].to_string()).collect::<String>()
    };
    assert_eq!(failed(&["archive", "acme"]), "\"foreign-grants\"");
    // Another session holds the lock of the tenant, or its row.
    let mut session = db.connect();
    session
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tenantry:globex', 0))")
        .expect("the lock");
    assert_eq!(failed(&["archive", "globex"]), "\"busy\"");
    session
        .batch_execute("ROLLBACK; BEGIN; SELECT FROM schema_tracker WHERE name = 'globex' FOR UPDATE")
        .expect("the lock");
    assert_eq!(failed(&["archive", "globex", "--lock-timeout", "100ms"]), "\"server-error\"");
    session.batch_execute("ROLLBACK").expect("the end");
    assert_eq!((grants(&db, "acme"), grants(&db, "globex")), before);
    assert_eq!((state(&db, "acme").as_str(), state(&db, "globex").as_str()), (ACTIVE, ACTIVE));
    // A role that may change the tracker and does not own the schema.
    db.execute(&format!(
        "ALTER ROLE {other} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {other}; GRANT USAGE ON SCHEMA public TO {other}"
    ));
    let url = db.url().replacen("://postgres@", &format!("://{}@", other.trim_matches('"').replace(' ', "%20")), 1);
    let output = db.tenantry(["archive", "globex"]).env("DATABASE_URL", url).run();
    assert!(output.assert_code(1).stderr.contains("permission denied for schema globex"), "{}", output.stderr);
    assert_eq!((grants(&db, "globex"), state(&db, "globex")), (before.1, ACTIVE.to_owned()));
    db.execute(&format!("DROP OWNED BY {other}, {app}; DROP ROLE {other}, {app}"));
}

#[test]
fn only_archived_tenants_whose_grace_has_ended_are_purged() {
    let db = fleet(&["acme", "globex"]);
    db.tenantry(["create", "initech"]).run().assert_code(0);
    assert_eq!(db.tenantry(["drop", "acme", "--grace", "7d"]).run().code, Some(4));
    let dry = db.tenantry(["drop", "acme", "--grace", "7d", "--dry-run"]).run();
    assert!(
        dry.assert_code(0).stderr.contains("1 tenant would be archived, and dropped after 7days"),
        "{}",
        dry.stderr
    );
    assert_eq!(state(&db, "acme"), ACTIVE);
    let archived =
        db.tenantry(["drop", "acme", "globex", "nobody", "--grace", "7d", "--yes", "--format", "json"]).run();
    assert_eq!(archived.assert_code(1).json()["archived"], json!(["acme", "globex"]));
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE purge_after - archived_at = interval '7 days'"), 2);
    db.tenantry(["archive", "initech"]).run().assert_code(0);
    // Nothing is due.
    assert_snapshot!(db.tenantry(["purge", "--yes"]).run(), @r"
        --- stderr
        0 dropped
        --- exit 0
    ");
    db.execute("UPDATE schema_tracker SET purge_after = now() - interval '1 second' WHERE name = 'acme'");
    assert_snapshot!(db.tenantry(["purge", "--dry-run"]).run(), @r"
        TENANT  ARCHIVED          PURGE AFTER       DUE  SIZE
        acme    DATE  DATE  yes SIZE
        globex  DATE  DATE  no   -
        --- stderr
        1 tenant would be dropped, 1 later
        --- exit 0
    ");
    assert_eq!(db.tenantry(["purge"]).run().code, Some(4));
    // A tenant that is unarchived while the command asks is not dropped.
    let mut terminal = Terminal::spawn(db.tenantry(["purge"]));
    terminal.expect("Drop 1 tenant (acme) with all data from database");
    db.tenantry(["unarchive", "acme"]).run().assert_code(0);
    assert_eq!(state(&db, "acme"), ACTIVE);
    terminal.type_line("y");
    let screen = Screen::of(&mut terminal);
    screen.assert_code(1);
    assert!(
        screen.snapshot().contains("changed after the plan was shown; nothing was dropped"),
        "{}",
        screen.snapshot()
    );
    assert_eq!(db.count("SELECT count(*) FROM acme.users"), 0);

    // An archived tenant gets another date, and an interrupted purge resumes.
    db.tenantry(["drop", "initech", "--grace", "0s", "--yes"]).run().assert_code(0);
    db.tenantry(["drop", "acme", "--grace", "0s", "--yes"]).run().assert_code(0);
    db.execute("UPDATE schema_tracker SET state = 'dropping' WHERE name = 'acme'; DROP TABLE acme.comments CASCADE");
    let purged = db.tenantry(["purge", "--yes", "--format", "json"]).run();
    assert_eq!(purged.assert_code(0).json()["dropped"], json!(["acme", "initech"]));
    assert_eq!(db.strings("SELECT name FROM schema_tracker"), ["globex"]);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('acme', 'initech')"), 0);
    let tenancy = Tenancy::new(MigrationSet::none()).expect("the tracker's migrations");
    let mut library = Library::connect(connector(&db.url()), 1).expect("a connection");
    let archived = tenantry::operations::archived(&mut library).expect("the archived tenants");
    assert_eq!((archived.len(), archived[0].is_due), (1, false));
    let names = ["globex".parse().expect("a name")];
    let report = tenantry::operations::unarchive(&mut library, &tenancy, &names, &tenantry::Stop::default());
    assert!(report.expect("a report").is_success());
    assert_eq!(state(&db, "globex"), ACTIVE);
}

/// A grant, or a role that can log in, gives access to an archived tenant again.
#[test]
fn archived_tenant_that_is_accessible_is_found() {
    let isolated = Isolated::new();
    let db = &isolated.db;
    let app = format!("\"app {}\"", db.name());
    db.execute(&format!("CREATE ROLE {app}"));
    db.tenantry(["archive", "acme"]).run().assert_code(0);
    let health = || db.tenantry(["health-check", "--format", "json"]).run().json();
    let found = || -> Vec<Value> {
        let document = health();
        let findings = document["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["code"] == "archived-accessible").cloned().collect()
    };
    assert_eq!(found(), Vec::<Value>::new());
    let role = isolated.role("acme");
    db.execute(&format!("GRANT USAGE ON SCHEMA acme TO {app}, PUBLIC; ALTER ROLE {role} LOGIN"));
    let [finding] = &found()[..] else { panic!("{}", health()) };
    assert_eq!((&finding["tenant"], &finding["level"]), (&json!("acme"), &json!("security")));
    let message = finding["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("the tenant is archived, but {app}, PUBLIC may use its schema, and its role")),
        "{message}"
    );
    db.tenantry(["health-check"]).run().assert_code(1);
    db.execute(finding["fix"].as_str().unwrap());
    assert_eq!(found(), Vec::<Value>::new());
    db.tenantry(["unarchive", "acme"]).run().assert_code(0);
    db.execute(&format!("DROP ROLE {app}"));
}
