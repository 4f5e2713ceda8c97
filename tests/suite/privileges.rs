//! A role with insufficient privileges on the schema `public` or on tables of Tenantry.

use crate::support::migrations::Dir;
use crate::support::{Database, Output, set_up, url_of_a_stranger};

const READERS: [&[&str]; 3] = [&["list"], &["runs"], &["health-check"]];
const WRITERS: [&[&str]; 3] = [&["create", "acme"], &["migrate-all"], &["revert-all", "--steps", "1", "--yes"]];

/// A database with a role that has all privileges on the tables of Tenantry.
struct Restricted {
    db: Database,
    url: String,
    role: String,
}

impl Restricted {
    fn new() -> Self {
        let db = set_up();
        let url = url_of_a_stranger(&db);
        let role = format!("stranger_{}", db.name());
        Self { db, url, role }
    }

    fn run(&self, args: &[&str]) -> Output {
        self.db.tenantry(args).env("DATABASE_URL", &self.url).run()
    }

    /// Checks that commands are refused because of a missing privilege, and that the hint grants it.
    #[track_caller]
    fn check(&self, commands: &[&[&str]], missing: &str) {
        let (role, mut grants) = (&self.role, String::new());
        for args in commands {
            let output = self.run(args);
            output.assert_code(3);
            let error = format!("error: permission denied: role \"{role}\" has no {missing}\n");
            assert!(output.stderr.contains(&error), "{args:?}: {}", output.stderr);
            let hint = output.stderr.lines().find_map(|line| line.strip_prefix("hint: run as the owner: "));
            hint.expect("a hint").clone_into(&mut grants);
        }
        self.db.execute(&grants);
        self.run(&["list"]).assert_code(0);
        self.run(&["migrate-all"]).assert_code(0);
    }
}

#[test]
#[ignore = "long: make test-long"]
fn a_missing_privilege_to_read_is_named() {
    let restricted = Restricted::new();
    let all: Vec<&[&str]> = READERS.into_iter().chain(WRITERS).collect();
    for table in ["schema_tracker", "schema_ledger"] {
        restricted.db.execute(&format!("REVOKE SELECT ON {table} FROM {}", restricted.role));
        restricted.check(&all, &format!("SELECT ON public.{table}"));
    }
    restricted.db.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC");
    restricted.check(&all, "USAGE ON SCHEMA public");
}

#[test]
#[ignore = "long: make test-long"]
fn a_missing_privilege_to_write_is_named() {
    let restricted = Restricted::new();
    for (table, privileges) in [
        ("schema_migration", "SELECT"),
        ("schema_acceptance", "SELECT"),
        ("schema_run", "DELETE, INSERT, SELECT, UPDATE"),
        ("schema_run_tenant", "DELETE, INSERT, SELECT, UPDATE"),
    ] {
        for privilege in privileges.split(", ") {
            restricted.db.execute(&format!("REVOKE {privilege} ON {table} FROM {}", restricted.role));
            restricted.run(&["list"]).assert_code(0);
            restricted.check(&WRITERS, &format!("{privilege} ON public.{table}"));
        }
        restricted.db.execute(&format!("REVOKE {privileges} ON {table} FROM {}", restricted.role));
        restricted.check(&WRITERS, &format!("{privileges} ON public.{table}"));
    }
}

#[test]
fn all_missing_privileges_are_named_at_once() {
    let restricted = Restricted::new();
    restricted.db.execute(&format!("REVOKE ALL ON schema_tracker, schema_ledger FROM {}", restricted.role));
    let all = "SELECT ON public.schema_ledger; SELECT ON public.schema_tracker";
    restricted.check(&READERS, all);
}

/// The grants that `grants` prints, as `docs/roles-and-grants.md` shows them, and no others. The page itself shows some of the
/// commands.
#[test]
#[ignore = "long: make test-long"]
fn the_documented_grants_suffice_for_every_command() {
    let db = Database::new();
    let (owner, operator) = (format!("owner_{}", db.name()), format!("operator_{}", db.name()));
    db.execute(&format!(
        "CREATE ROLE {owner} LOGIN; CREATE ROLE {operator} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         GRANT CREATE ON SCHEMA public TO {owner}; GRANT CREATE ON DATABASE {} TO {operator}",
        db.name()
    ));
    let up = "CREATE TABLE orders (id int PRIMARY KEY);";
    let migrations = Dir::new().add("1_a", up).down("DROP TABLE orders;").add("2_b", "SELECT 1;").down("SELECT 1;");
    let run = |role: &str, args: &[&str]| {
        let url = db.url().replace("postgresql://postgres@", &format!("postgresql://{role}@"));
        let output =
            db.tenantry(args).env("DATABASE_URL", url).env("TENANTRY_TENANT_MIGRATIONS", migrations.path()).run();
        output.assert_code(0);
    };
    run(&owner, &["migrate-public"]);
    let grants = db.tenantry(["grants", "--for", "operator", "--role", &operator]).run();
    let grants = grants.assert_code(0).stdout.replace(&format!("CREATE ROLE \"{operator}\" LOGIN;"), "");
    db.execute(&grants);
    db.execute(&format!("CREATE SCHEMA legacy AUTHORIZATION {operator}"));
    for args in [
        &["create", "acme", "globex"][..],
        &["revert-all", "--steps", "1", "--yes"],
        &["migrate-one", "acme", "--verify"],
        &["migrate-all", "--canary", "1"],
        &["adopt", "legacy", "--baseline", "2"],
        &["untrack", "legacy", "--yes"],
        &["adopt", "legacy"],
        &["drop", "legacy", "--yes"],
        &["repair-plan", "acme"],
    ] {
        run(&operator, args);
    }
    migrations.write("2_b/up.sql", "SELECT 2;");
    run(&operator, &["repair", "--accept", "2", "--reason", "the same"]);
    // cleanup drops the schemas, too.
    db.execute(&format!("GRANT {operator} TO {owner}"));
    run(&owner, &["cleanup", "--yes"]);
    assert_eq!(db.count("SELECT count(*) FROM pg_namespace WHERE nspname IN ('acme', 'globex')"), 0);
    db.execute(&format!("DROP OWNED BY {owner}, {operator}; DROP ROLE {owner}, {operator}"));
}
