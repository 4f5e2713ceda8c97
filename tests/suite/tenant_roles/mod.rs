//! Roles of tenants with schemas of their own: each has access to its tenant's schema, and to no other.

mod attacks;
mod drop;
mod many;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use crate::support::migrations::Dir;
use crate::support::{Database, Output, Tenantry, fleet, with};

/// A fleet whose tenants have roles.
pub struct Isolated {
    pub db: Database,
}

impl Isolated {
    /// The tenants `acme` and `globex` with roles, and rows in both.
    pub fn new() -> Self {
        let isolated = Self { db: fleet(&["acme", "globex"]) };
        // The default before version 15.
        isolated.db.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        isolated.run(&["isolate", "--all", "--yes"]);
        isolated.db.execute(
            "INSERT INTO acme.users (email, full_name) VALUES ('a@acme', 'a'); \
             INSERT INTO globex.users (email, full_name) VALUES ('g@globex', 'g')",
        );
        isolated
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.db.tenantry(args).run();
        output.assert_code(0);
        output
    }

    /// The name of the role of a tenant.
    pub fn role(&self, tenant: &str) -> String {
        format!("{}_{tenant}", self.db.name())
    }

    /// A connection as the role of a tenant.
    pub fn connect(&self, tenant: &str) -> ConnectionResult<PgConnection> {
        let url = self.db.url().replacen("://postgres@", &format!("://{}@", self.role(tenant)), 1);
        assert!(url.contains(&self.role(tenant)), "{url}");
        PgConnection::establish(&url)
    }

    /// Whether a tenant's role may run statements, which are rolled back.
    pub fn may(&self, tenant: &str, sql: &str) -> bool {
        let Ok(mut conn) = self.connect(tenant) else { return false };
        conn.batch_execute(&format!("BEGIN; {sql}; ROLLBACK")).is_ok()
    }

    /// The codes of the findings about roles.
    pub fn codes(&self) -> Vec<String> {
        self.findings().into_iter().map(|(code, _)| code).collect()
    }

    /// The codes of the findings about roles, and their fixes.
    pub fn findings(&self) -> Vec<(String, String)> {
        let output = self.db.tenantry(["health-check", "--format", "json", "--ignore", "table.*"]).run();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let document = output.json();
        let findings = document["findings"].as_array().unwrap().iter();
        let of_roles = findings.map(|finding| (text(&finding["code"]), text(&finding["fix"])));
        of_roles.filter(|(kind, _)| kind.starts_with("tenant-role.")).collect()
    }
}

/// The number of rows of `pg_shdepend` and settings of roles whose names begin with a text, and of the roles.
pub fn traces(db: &Database, prefix: &str) -> i64 {
    db.count(&format!(
        "SELECT (SELECT count(*) FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass \
         AND NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = s.refobjid)) \
         + (SELECT count(*) FROM pg_authid WHERE starts_with(rolname, '{prefix}')) \
         + (SELECT count(*) FROM pg_db_role_setting x WHERE x.setrole <> 0 \
         AND NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = x.setrole))"
    ))
}

#[test]
fn a_role_reads_and_writes_the_schema_of_its_tenant_alone() {
    let isolated = Isolated::new();
    for (own, other) in [("acme", "globex"), ("globex", "acme")] {
        let mut conn = isolated.connect(own).unwrap();
        let write = "INSERT INTO users (email, full_name) VALUES ('x@x', 'x'); UPDATE users SET full_name = 'y'; \
                     SELECT count(*) FROM users; DELETE FROM users WHERE email = 'x@x'";
        conn.batch_execute(&format!("BEGIN; {write}; ROLLBACK")).unwrap();
        for refused in [
            format!("SELECT FROM {other}.users"),
            format!("INSERT INTO {other}.users (email, full_name) VALUES ('x', 'x')"),
            "DELETE FROM __diesel_schema_migrations".to_owned(),
            "SELECT FROM __diesel_schema_migrations".to_owned(),
            "TRUNCATE users CASCADE".to_owned(),
            "CREATE TABLE mine ()".to_owned(),
            "DROP TABLE users CASCADE".to_owned(),
            "SELECT FROM public.schema_tracker".to_owned(),
            "CREATE TABLE public.mine ()".to_owned(),
            format!("SET ROLE {}", isolated.role(other)),
        ] {
            assert!(!isolated.may(own, &refused), "{own}: {refused}");
        }
    }
    assert_eq!(isolated.codes(), [""; 0]);
    isolated.run(&["health-check"]);
}

#[test]
fn a_password_is_shown_once_and_stored_as_a_verifier_only() {
    let db = fleet(&["acme", "globex"]);
    let output = db.tenantry(["isolate", "--all", "--yes", "--format", "json"]).run();
    let document = output.assert_code(0).json();
    let passwords: Vec<&str> =
        document["roles"].as_array().unwrap().iter().map(|role| role["password"].as_str().unwrap()).collect();
    assert!(passwords.len() == 2 && passwords[0] != passwords[1] && passwords[0].len() == 40, "{passwords:?}");
    let stored = || {
        db.strings(&format!(
            "SELECT rolpassword FROM pg_authid WHERE rolname ~ '^{}_(acme|globex)' ORDER BY 1",
            db.name()
        ))
    };
    assert!(stored().len() == 2 && stored().iter().all(|one| one.starts_with("SCRAM-SHA-256$4096:")), "{:?}", stored());

    // A role that exists keeps its password, unless another is requested.
    let before = stored();
    let again = db.tenantry(["isolate", "acme", "--format", "json"]).run();
    assert_eq!(again.assert_code(0).json()["unchanged"], serde_json::json!(["acme"]));
    assert_eq!(stored(), before);
    db.tenantry(["isolate", "acme", "--yes", "--new-password"]).run().assert_code(0);
    assert_ne!(stored(), before);

    // A given one is shown nowhere.
    let given = "correct horse battery staple";
    let output = db.tenantry(["isolate", "acme", "--yes", "--password-stdin"]).stdin(format!("{given}\n")).run();
    output.assert_code(0);
    let recorded = db.string("SELECT string_agg(r::text, ' ') FROM schema_run r");
    for text in [&output.stdout, &output.stderr, &recorded] {
        assert!(!text.contains(given) && !text.contains("SCRAM"), "{text}");
    }
    let short = db.tenantry(["isolate", "acme", "--yes", "--password-stdin"]).stdin("secret\n").run();
    assert!(!short.assert_code(2).stderr.contains("secret"), "{}", short.stderr);
}

#[test]
fn a_dry_run_prints_the_statements_without_a_password() {
    let db = fleet(&["acme", "globex"]);
    let roles = || db.count(&format!("SELECT count(*) FROM pg_authid WHERE starts_with(rolname, '{}_')", db.name()));
    let script = db.tenantry(["isolate", "acme", "--dry-run"]).run();
    script.assert_code(0);
    assert!(!script.stdout.contains("PASSWORD") && script.stdout.contains("CREATE ROLE"), "{}", script.stdout);
    assert_eq!(roles(), 0);
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE role_name IS NOT NULL"), 0);
    // The statements are complete: isolate has nothing to add.
    db.execute(&script.stdout);
    let again = db.tenantry(["isolate", "acme", "--dry-run"]).run();
    assert_eq!(again.assert_code(0).stdout, "");
    assert!(again.stderr.contains("0 statements to execute"), "{}", again.stderr);
}

#[test]
fn it_asks_for_confirmation_and_for_tenants() {
    let db = fleet(&["acme", "globex"]);
    db.tenantry(["isolate", "acme"]).run().assert_code(4);
    let none = db.tenantry(["isolate"]).run();
    assert!(none.assert_code(2).stderr.contains("isolate --all"), "{}", none.stderr);
    db.tenantry(["isolate", "--all", "--role-name", "one", "--yes"]).run().assert_code(2);
    assert_eq!(db.count(&format!("SELECT count(*) FROM pg_authid WHERE starts_with(rolname, '{}_')", db.name())), 0);
}

#[test]
fn a_role_that_exists_for_another_purpose_is_refused() {
    let db = fleet(&["acme", "globex"]);
    let (role, group) = (format!("{}_acme", db.name()), format!("{}_tenants", db.name()));
    db.execute(&format!("CREATE ROLE {role} CREATEDB"));
    let output = db.tenantry(["isolate", "--all", "--yes"]).run();
    output.assert_code(1);
    assert!(output.stderr.contains(&format!("role \"{role}\" exists for another purpose")), "{}", output.stderr);
    assert!(output.stderr.contains("--role-name"), "{}", output.stderr);
    assert_eq!(db.string(&format!("SELECT rolcreatedb::text FROM pg_authid WHERE rolname = '{role}'")), "true");
    assert_eq!(db.strings("SELECT name FROM schema_tracker WHERE role_name IS NOT NULL"), ["globex"]);
    // Another name is accepted.
    let other = format!("{role}_login");
    db.tenantry(["isolate", "acme", "--yes", "--role-name", &other]).run().assert_code(0);
    assert_eq!(db.string("SELECT role_name FROM schema_tracker WHERE name = 'acme'"), other);
    // Then the tenant keeps it: a role is not renamed.
    for (option, name) in [("--role-name", "another"), ("--role-group", "others")] {
        let renamed = db.tenantry(["isolate", "acme", "--yes", option, name]).run();
        assert!(renamed.assert_code(1).stderr.contains(&format!("has the role \"{other}\"")), "{}", renamed.stderr);
    }
    db.tenantry(["isolate", "acme", "--yes", "--role-name", &other]).run().assert_code(0);

    // A role of a copy of the database is not its own, nor is the group.
    let copy = db.copy();
    let output = copy.tenantry(["isolate", "acme", "--yes"]).run();
    output.assert_code(3);
    assert!(output.stderr.contains(&format!("role \"{group}\" exists for another purpose")), "{}", output.stderr);
    let output = copy.tenantry(["drop", "acme", "--dry-run"]).run();
    assert!(
        output
            .assert_code(0)
            .stderr
            .contains(&format!("kept, because they are not marked as the tenants' roles: {other}"))
    );
}

#[test]
fn tenants_are_created_with_roles() {
    let db = fleet(&[]);
    let output = db.tenantry(["create", "acme", "globex", "--role", "--format", "json"]).run();
    let document = output.assert_code(0).json();
    assert_eq!(document["created"]["done"].as_array().unwrap().len(), 2);
    assert_eq!(document["roles"]["roles"][1]["role"], format!("{}_globex", db.name()));
    assert!(document["roles"]["roles"][1]["password"].is_string());
    // An interrupted command is repeated.
    let output = db.tenantry(["create", "acme", "initech", "--role", "--if-not-exists"]).run();
    output.assert_code(0);
    assert!(output.stdout.contains(&format!("{}_initech", db.name())), "{}", output.stdout);
    assert!(!output.stdout.contains("acme"), "{}", output.stdout);
    assert_eq!(db.count("SELECT count(*) FROM schema_tracker WHERE role_name IS NOT NULL"), 3);
}

/// Two migrations: one of each creates objects of every kind with privileges.
fn later() -> Dir {
    Dir::copy_of_tenant().add(
        "20270101000000_invoices",
        "CREATE TABLE invoices (id bigserial PRIMARY KEY, total numeric); CREATE VIEW totals AS SELECT total FROM invoices; \
         CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2'; \
         REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC;",
    )
}

#[test]
#[ignore = "long: make test-long"]
fn migrations_keep_the_privileges_right() {
    for as_owner in [&[][..], &["--as-owner"]] {
        let isolated = Isolated::new();
        let migrations = later();
        let run = |args: &[&str]| with(&isolated.db, &migrations, args).run();
        run(&[&["migrate-all"], as_owner].concat()).assert_code(0);
        for (own, other) in [("acme", "globex"), ("globex", "acme")] {
            assert!(
                isolated.may(own, "INSERT INTO invoices (total) VALUES (1); SELECT total FROM totals; SELECT twice(1)")
            );
            assert!(!isolated.may(own, &format!("SELECT FROM {other}.invoices")));
        }
        let privileges = "SELECT DISTINCT e.grantee::regrole::text FROM pg_class c, aclexplode(c.relacl) e \
                          WHERE c.oid = 'acme.invoices'::regclass AND e.grantee <> c.relowner";
        assert_eq!(isolated.db.strings(privileges), [isolated.role("acme")]);
        run(&["health-check"]).assert_code(0);
        run(&["diff", "acme"]).assert_code(0);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn privileges_of_a_tenants_role_are_no_drift() {
    let isolated = Isolated::new();
    isolated.run(&["create", "initech"]);
    // A tenant without a role is a finding, but no drift.
    let findings = isolated.findings();
    assert_eq!(findings, [("tenant-role.missing".to_owned(), "tenantry isolate initech".to_owned())]);
    isolated.run(&["health-check", "--ignore", "tenant-role.missing"]);
    isolated.run(&["diff", "acme", "initech"]);
    for tenant in ["acme", "initech"] {
        isolated.run(&["health-check", "--reference", tenant, "--ignore", "tenant-role.missing"]);
        assert_eq!(isolated.run(&["repair-plan", tenant]).stdout, "");
    }
    // The plan of a tenant with drift leaves them alone, and privileges of others are drift.
    isolated.db.execute(&format!("GRANT SELECT ON acme.users TO pg_monitor, {}", isolated.role("globex")));
    let plan = isolated.db.tenantry(["repair-plan", "acme"]).run();
    assert!(plan.stdout.contains("pg_monitor") && plan.stdout.contains(&isolated.role("globex")), "{}", plan.stdout);
    assert!(!plan.stdout.contains(&isolated.role("acme")), "{}", plan.stdout);
}

#[test]
fn an_undo_drops_the_roles_and_their_privileges() {
    let isolated = Isolated::new();
    let script = isolated.run(&["isolate", "--all", "--undo", "--dry-run"]).stdout;
    assert!(script.contains(&format!("DROP ROLE \"{}\";", isolated.role("acme"))), "{script}");
    isolated.run(&["isolate", "--all", "--undo", "--yes"]);
    assert_eq!(traces(&isolated.db, &format!("{}_acme", isolated.db.name())), 0);
    assert_eq!(isolated.db.count("SELECT count(*) FROM schema_tracker WHERE role_name IS NOT NULL"), 0);
    assert_eq!(isolated.db.count("SELECT count(*) FROM acme.users"), 1);
    isolated.run(&["health-check"]);
    let output = isolated.db.tenantry(["isolate", "acme", "--undo", "--yes"]).run();
    assert!(output.assert_code(1).stderr.contains("the tenant has no role"), "{}", output.stderr);
}

/// An operator that is no superuser creates, checks and drops roles.
#[test]
#[ignore = "long: make test-long"]
fn an_operator_needs_createrole() {
    let db = Database::new();
    let operator = format!("operator_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {operator} LOGIN; ALTER DATABASE {} OWNER TO {operator}; ALTER SCHEMA public OWNER TO {operator}; \
         REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        db.name()
    ));
    let url = db.url().replacen("://postgres@", &format!("://{operator}@"), 1);
    let run = |args: &[&str]| -> Output {
        let command: Tenantry = db.tenantry(args).env("DATABASE_URL", &url);
        command.run()
    };
    run(&["migrate-public"]).assert_code(0);
    run(&["create", "acme", "globex"]).assert_code(0);
    let refused = run(&["isolate", "--all", "--yes"]);
    refused.assert_code(3);
    assert!(refused.stderr.contains("may not set temp_file_limit"), "{}", refused.stderr);
    let isolate = ["isolate", "--all", "--yes", "--role-temp-file-limit", "none"];
    assert!(run(&isolate).assert_code(3).stderr.contains("permission denied to create role"));
    db.execute(&format!("ALTER ROLE {operator} CREATEROLE"));
    run(&isolate).assert_code(0);
    run(&["health-check"]).assert_code(0);
    let again = run(&["isolate", "--all", "--dry-run"]);
    assert_eq!(again.assert_code(0).stdout, "", "{}", again.stderr);
    run(&["isolate", "globex", "--undo", "--yes"]).assert_code(0);
    run(&["isolate", "globex", "--yes", "--role-temp-file-limit", "none"]).assert_code(0);
    run(&["drop", "acme", "--yes"]).assert_code(0);
    run(&["drop", "globex", "--yes"]).assert_code(0);
    assert_eq!(traces(&db, &format!("{}_acme", db.name())), 0);
}

#[test]
fn a_changed_limit_is_recorded_and_kept() {
    let isolated = Isolated::new();
    let limits = || {
        isolated
            .db
            .string(&format!("SELECT rolconnlimit::text FROM pg_authid WHERE rolname = '{}'", isolated.role("acme")))
    };
    assert_eq!(limits(), "20");
    isolated.run(&["isolate", "acme", "--yes", "--role-connection-limit", "7", "--role-statement-timeout", "2s"]);
    isolated.run(&["isolate", "--all", "--yes"]);
    assert_eq!(limits(), "7");
    let mut conn = isolated.connect("acme").unwrap();
    let show = diesel::dsl::sql::<diesel::sql_types::Text>(
        "current_setting('statement_timeout') || current_setting('search_path')",
    );
    assert_eq!(diesel::select(show).get_result::<String>(&mut conn).unwrap(), "2sacme, pg_temp");
    isolated.run(&["health-check"]);
}
