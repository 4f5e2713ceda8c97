//! `probe` where each tenant has a schema and a role: a clean database holds, and each planted leak is a breach.
//! Tenants that share tables are probed in `rows/findings/probes.rs`.

use std::collections::BTreeSet;

use crate::support::{Database, Output, fleet};

/// A fleet with a role of the tenant acme.
struct Fleet {
    db: Database,
    role: String,
}

impl Fleet {
    fn new() -> Self {
        let db = fleet(&["acme", "globex", "initech"]);
        let role = format!("{}_acme", db.name());
        db.execute(&format!(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET search_path = acme; \
             GRANT USAGE ON SCHEMA acme TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA acme TO {role}; \
             INSERT INTO acme.users (email, full_name) VALUES ('owner@acme.example', 'Ada Acme'); \
             INSERT INTO globex.users (email, full_name) VALUES ('owner@globex.example', 'Gina Globex')"
        ));
        Self { db, role }
    }

    fn probe(&self, args: &[&str]) -> Output {
        self.db.tenantry(["probe", "--as-role", &self.role]).args(args).run()
    }

    /// The probes with breaches.
    fn breaches(&self, args: &[&str]) -> BTreeSet<String> {
        let output = self.probe(&[args, &["--format", "json"]].concat());
        let names = names(&output, "breach");
        output.assert_code(i32::from(!names.is_empty()));
        names
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{role}", &self.role).replace("{db}", self.db.name())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.db.execute(&self.fill("DROP OWNED BY {role}; DROP ROLE {role}"));
        }
    }
}

/// The probes that have a result with an outcome.
fn names(output: &Output, outcome: &str) -> BTreeSet<String> {
    let document = output.json();
    let results = document["results"].as_array().unwrap_or_else(|| panic!("{document}"));
    let of_outcome = results.iter().filter(|it| it["outcome"] == outcome);
    of_outcome.map(|it| it["probe"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn role_of_a_tenant_holds() {
    let fleet = Fleet::new();
    let output = fleet.probe(&["--require-all", "--format", "json"]);
    output.assert_code(0);
    assert_eq!(names(&output, "breach"), BTreeSet::new());
    assert_eq!(names(&output, "not-tried"), BTreeSet::new());
    assert_eq!(output.json()["aimed_at"], serde_json::json!(["globex", "initech"]));
    let held = names(&output, "held");
    for probe in ["read.rows", "read.copy", "count.rows", "write.insert", "sequence.set", "role.set", "create.object"] {
        assert!(held.contains(probe), "{probe}: {held:?}");
    }
}

/// What is planted, what the probes show, and what removes it.
const LEAKS: &[(&str, &[&str], &str)] = &[
    (
        "GRANT USAGE ON SCHEMA globex TO {role}; GRANT SELECT ON globex.users TO {role}",
        &["read.rows", "read.copy", "count.rows"],
        "REVOKE USAGE ON SCHEMA globex FROM {role}; REVOKE ALL ON globex.users FROM {role}",
    ),
    (
        "GRANT USAGE ON SCHEMA globex TO PUBLIC; GRANT SELECT (email) ON globex.users TO PUBLIC",
        &["read.rows", "count.rows"],
        "REVOKE USAGE ON SCHEMA globex FROM PUBLIC; REVOKE SELECT (email) ON globex.users FROM PUBLIC",
    ),
    (
        "GRANT USAGE ON SCHEMA globex TO {role}; GRANT INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON globex.tasks TO {role}",
        &[
            "write.insert",
            "write.update",
            "write.delete",
            "write.copy",
            "table.truncate",
            "table.trigger",
            "reference.privilege",
        ],
        "REVOKE USAGE ON SCHEMA globex FROM {role}; REVOKE ALL ON globex.tasks FROM {role}",
    ),
    (
        "GRANT USAGE ON SCHEMA globex TO {role}; GRANT SELECT, UPDATE ON SEQUENCE globex.users_id_seq TO {role}",
        &["sequence.read", "sequence.set"],
        "REVOKE USAGE ON SCHEMA globex FROM {role}; REVOKE ALL ON SEQUENCE globex.users_id_seq FROM {role}",
    ),
    ("GRANT USAGE ON SCHEMA globex TO {role}", &["function.call"], "REVOKE USAGE ON SCHEMA globex FROM {role}"),
    ("GRANT CREATE ON SCHEMA globex TO {role}", &["create.object"], "REVOKE CREATE ON SCHEMA globex FROM {role}"),
    ("ALTER SCHEMA globex OWNER TO {role}", &["owner.alter", "create.object"], "ALTER SCHEMA globex OWNER TO postgres"),
    (
        "CREATE ROLE {db}_globex; ALTER TABLE globex.users OWNER TO {db}_globex; GRANT {db}_globex TO {role}",
        &["role.set", "default-privileges"],
        "REVOKE {db}_globex FROM {role}; ALTER TABLE globex.users OWNER TO postgres; DROP ROLE {db}_globex",
    ),
    (
        "CREATE ROLE {db}_reader; GRANT USAGE ON SCHEMA globex TO {db}_reader; GRANT SELECT ON globex.users TO {db}_reader; \
         GRANT {db}_reader TO {role}",
        &["read.rows", "role.set"],
        "DROP OWNED BY {db}_reader; DROP ROLE {db}_reader",
    ),
    (
        "CREATE FUNCTION public.everyone() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp \
         AS 'SELECT email FROM globex.users'",
        &["function.definer"],
        "DROP FUNCTION public.everyone()",
    ),
    (
        "CREATE FUNCTION acme.addresses() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT email FROM acme.users'",
        &["function.path"],
        "DROP FUNCTION acme.addresses()",
    ),
    (
        "CREATE VIEW acme.everyone AS SELECT * FROM globex.users; GRANT SELECT ON acme.everyone TO {role}",
        &["read.view"],
        "DROP VIEW acme.everyone",
    ),
    (
        "CREATE MATERIALIZED VIEW globex.copy AS SELECT * FROM globex.users; GRANT SELECT ON globex.copy TO {role}; \
         GRANT USAGE ON SCHEMA globex TO {role}",
        &["read.materialized-view"],
        "DROP MATERIALIZED VIEW globex.copy; REVOKE USAGE ON SCHEMA globex FROM {role}",
    ),
    (
        "SELECT lo_from_bytea(4713, 'secret'); GRANT SELECT ON LARGE OBJECT 4713 TO {role}",
        &["large-object"],
        "SELECT lo_unlink(4713)",
    ),
    (
        "GRANT UPDATE ON public.schema_tracker TO {role}",
        &["write.update"],
        "REVOKE UPDATE ON public.schema_tracker FROM {role}",
    ),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA globex GRANT SELECT ON TABLES TO {role}",
        &["default-privileges"],
        "ALTER DEFAULT PRIVILEGES IN SCHEMA globex REVOKE SELECT ON TABLES FROM {role}",
    ),
    ("ALTER ROLE {role} CREATEROLE", &["role.create"], "ALTER ROLE {role} NOCREATEROLE"),
    ("ALTER ROLE {role} REPLICATION", &["role.replication"], "ALTER ROLE {role} NOREPLICATION"),
    ("GRANT pg_read_all_data TO {role}", &["role.set", "read.rows"], "REVOKE pg_read_all_data FROM {role}"),
    ("GRANT pg_read_server_files TO {role}", &["role.set"], "REVOKE pg_read_server_files FROM {role}"),
    (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {role}",
        &["server.files"],
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM {role}",
    ),
    ("GRANT CREATE ON DATABASE {db} TO {role}", &["create.schema"], "REVOKE CREATE ON DATABASE {db} FROM {role}"),
    (
        "ALTER ROLE {role} SET session_replication_role = replica",
        &["session.settings"],
        "ALTER ROLE {role} RESET session_replication_role",
    ),
];

#[test]
#[ignore = "long: make test-long"]
fn leaks_are_breaches() {
    let fleet = Fleet::new();
    assert_eq!(fleet.breaches(&[]), BTreeSet::new(), "at the beginning");
    for (plant, expected, remove) in LEAKS {
        fleet.db.execute(&fleet.fill(plant));
        let breaches = fleet.breaches(&["--tenant", "acme"]);
        let missing: Vec<&&str> = expected.iter().filter(|probe| !breaches.contains(**probe)).collect();
        assert!(missing.is_empty(), "{plant}: {missing:?} not in {breaches:?}");
        fleet.db.execute(&fleet.fill(remove));
        assert_eq!(fleet.breaches(&[]), BTreeSet::new(), "{remove}");
    }
}

#[test]
fn breach_is_printed_with_statement_role_and_fix() {
    let fleet = Fleet::new();
    fleet.db.execute(&fleet.fill("GRANT USAGE ON SCHEMA globex TO {role}; GRANT SELECT ON globex.users TO {role}"));
    let output = fleet.probe(&["--only", "read.rows,write.delete,large-object", "globex"]);
    insta::assert_snapshot!(output.snapshot(), @r#"
    PROBE         OUTCOME    OBJECT        DETAIL
    read.rows     breach     globex.users  the statement ran
    read.rows     held       4 objects
    write.delete  held       22 objects
    large-object  no object
    --- stderr
    error: breach: read.rows: globex.users: the statement ran
      statement: SELECT FROM "globex"."users" LIMIT 1
      role: DATABASE_acme
    hint: revoke the privileges on globex.users and its schema from DATABASE_acme, from PUBLIC and from groups of DATABASE_acme
    role DATABASE_acme against globex: 26 held, 1 breach
    --- exit 1
    "#);
    let quiet = fleet.probe(&["--quiet", "--only", "read.rows,write.delete", "globex"]);
    insta::assert_snapshot!(quiet.snapshot(), @r#"
    PROBE      OUTCOME  OBJECT        DETAIL
    read.rows  breach   globex.users  the statement ran
    --- stderr
    error: breach: read.rows: globex.users: the statement ran
      statement: SELECT FROM "globex"."users" LIMIT 1
      role: DATABASE_acme
    hint: revoke the privileges on globex.users and its schema from DATABASE_acme, from PUBLIC and from groups of DATABASE_acme
    --- exit 1
    "#);
    let other = fleet.probe(&["--only", "read.rows", "initech"]);
    other.assert_code(0);
    let except = fleet.probe(&["--except", "read.rows,read.copy,count.rows,function.call,role.set"]);
    except.assert_code(0);
}

#[test]
fn role_that_cannot_be_probed_is_refused() {
    let fleet = Fleet::new();
    let refused = |args: &[&str], code: i32, error: &str| {
        let output = fleet.db.tenantry(["probe"]).args(args).run();
        output.assert_code(code);
        assert!(output.stderr.contains(error), "{}", output.stderr);
    };
    refused(&[], 3, "no role specified: each tenant has a role of its own");
    refused(&["--as-role", "postgres"], 3, "role \"postgres\" is a superuser");
    refused(&["--as", "postgresql:///nosuch", "--as-role", "x"], 2, "cannot be used with");
    refused(&["--as-role", &fleet.role, "--only", "read.row"], 2, "read.rows");
    refused(&["--as-role", &fleet.role, "globx"], 3, "tenant \"globx\" does not exist");
    let other = Database::new();
    let url = other.url().replacen("://postgres@", &format!("://{}@", fleet.role), 1);
    refused(&["--as", &url], 3, "connected to another database than the operator");
    // The operator is no superuser, and probes itself.
    fleet.db.execute(&fleet.fill("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"));
    let own = fleet.db.url().replacen("://postgres@", &format!("://{}@", fleet.role), 1);
    refused(&["--database-url", &own, "--as", &own], 3, "is the role of the operator");
    let unknown = fleet.db.tenantry(["probe", "--as-role", "nobody_at_all"]).run();
    assert!(unknown.code != Some(0) && unknown.stderr.contains("nobody_at_all"), "{}", unknown.stderr);
}

/// A role that may use two schemas and has neither a path nor a name that decides needs a choice.
#[test]
fn own_tenant_that_is_unknown_is_named() {
    let fleet = Fleet::new();
    fleet.db.execute(&fleet.fill("ALTER ROLE {role} RESET search_path; GRANT USAGE ON SCHEMA globex TO {role}"));
    let output = fleet.probe(&[]);
    output.assert_code(3);
    assert!(output.stderr.contains("cannot find out which tenant role"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: add --tenant NAME"), "{}", output.stderr);
    assert!(fleet.breaches(&["--tenant", "acme"]).contains("function.call"));
    fleet.db.execute(&fleet.fill("REVOKE USAGE ON SCHEMA globex FROM {role}"));
    fleet.probe(&[]).assert_code(0);
}

/// The password of the role is not the operator's, and is not shown.
#[test]
fn password_comes_from_the_environment() {
    let fleet = Fleet::new();
    let output = fleet
        .db
        .tenantry(["probe", "--as-role", &fleet.role, "-v"])
        .env("TENANTRY_PROBE_PASSWORD", "a-secret-of-the-role")
        .run();
    output.assert_code(0);
    assert!(!format!("{}{}", output.stdout, output.stderr).contains("a-secret"), "{}", output.stderr);
}

/// Another session holds a lock: the attempt is not tried, and nothing waits for it.
#[test]
fn attempt_that_a_lock_prevents_is_not_tried() {
    use diesel::connection::SimpleConnection;
    let fleet = Fleet::new();
    fleet.db.execute(&fleet.fill("GRANT USAGE ON SCHEMA globex TO {role}; GRANT SELECT ON globex.users TO {role}"));
    let mut other = fleet.db.connect();
    other.batch_execute("BEGIN; LOCK TABLE globex.users").unwrap();
    let output = fleet.probe(&["--only", "read.rows", "globex"]);
    output.assert_code(0);
    assert!(output.stdout.contains("canceling statement due to lock timeout (55P03)"), "{}", output.stdout);
    fleet.probe(&["--only", "read.rows", "globex", "--require-all"]).assert_code(1);
    other.batch_execute("ROLLBACK").unwrap();
    fleet.probe(&["--only", "read.rows", "globex"]).assert_code(1);
}
