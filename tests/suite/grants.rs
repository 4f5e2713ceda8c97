//! `grants`: the privileges of roles, and that they suffice.

use crate::assert_snapshot;
use crate::support::migrations::Dir;
use crate::support::{Database, Tenantry, set_up};

/// A database whose three roles have the privileges that `grants` prints, and no others. Roles belong to the server, so their
/// names contain that of the database.
struct Roles {
    db: Database,
    migrations: Dir,
}

impl Roles {
    fn name(&self, purpose: &str) -> String {
        format!("{purpose} {}", self.db.name())
    }

    /// The SQL for a role.
    fn sql(&self, purpose: &str, more: &[&str]) -> String {
        let (role, operator) = (self.name(purpose), self.name("operator"));
        let args = ["grants", "--for", purpose, "--role", &role, "--operator", &operator];
        let output = self.db.tenantry(args).args(more).run();
        output.assert_code(0);
        output.stdout
    }

    fn new() -> Self {
        let db = set_up();
        let roles = Self { db, migrations: Dir::new().add("1_a", "CREATE TABLE a (i int);") };
        for purpose in ["operator", "application", "monitoring"] {
            roles.db.execute(&roles.sql(purpose, &[]));
        }
        let later = ["application", "monitoring"].map(|purpose| roles.sql(purpose, &["--migration"]));
        Self { migrations: roles.migrations.add("2_grants", &later.concat()).down("SELECT 1;"), db: roles.db }
    }

    fn tenantry(&self, purpose: &str, args: &[&str]) -> Tenantry {
        let role = self.name(purpose).replace(' ', "%20");
        let url = self.db.url().replace("postgresql://postgres@", &format!("postgresql://{role}@"));
        self.db.tenantry(args).env("DATABASE_URL", url).env("TENANTRY_TENANT_MIGRATIONS", self.migrations.path())
    }
}

#[test]
#[ignore = "long: make test-long"]
fn printed_grants_suffice_for_every_command() {
    let roles = Roles::new();
    let reference = tempfile::NamedTempFile::new().unwrap();
    let reference = reference.path().to_str().unwrap();
    let commands: [&[&str]; 22] = [
        &["create", "acme", "globex"],
        &["migrate-all", "--verify"],
        &["migrate-one", "acme"],
        &["revert-all", "--to", "1", "--yes"],
        &["migrate-all", "--canary", "1"],
        &["health-check", "--remember"],
        &["diff", "acme", "globex"],
        &["repair-plan", "acme"],
        &["reference", "--output", reference],
        &["list"],
        &["runs"],
        &["runs", "show", "1"],
        &["print-schema", "acme"],
        &["redo", "acme", "--yes"],
        &["label", "acme", "globex", "ring=canary"],
        &["archive", "acme"],
        &["unarchive", "acme"],
        &["rename", "acme", "initech"],
        &["rename", "initech", "acme"],
        &["purge", "--yes"],
        &["revert-one", "globex", "--to", "1", "--yes"],
        &["drop", "globex", "--yes"],
    ];
    for args in commands {
        let output = roles.tenantry("operator", args).run();
        assert_eq!(output.code, Some(0), "{args:?}: {}", output.stderr);
    }
    let owner = roles.name("operator");
    roles.db.execute(&format!("SET ROLE \"{owner}\"; CREATE SCHEMA umbrella; CREATE TABLE umbrella.a (i int)"));
    let adopt = roles.tenantry("operator", &["adopt", "umbrella", "--baseline", "1"]).run();
    assert_eq!(adopt.code, Some(0), "{}", adopt.stderr);
    // Nobody has granted the monitoring role privileges on the ledger of an adopted schema.
    let drop = roles.tenantry("operator", &["drop", "umbrella", "--yes"]).run();
    assert_eq!(drop.code, Some(0), "{}", drop.stderr);
    let monitoring: [&[&str]; 4] =
        [&["list"], &["runs"], &["runs", "show", "1"], &["health-check", "--reference", reference]];
    for args in monitoring {
        let output = roles.tenantry("monitoring", args).run();
        assert_eq!(output.code, Some(0), "{args:?}: {}", output.stderr);
    }
    let application = roles.name("application");
    roles.db.execute(&format!(
        "SET ROLE \"{application}\"; INSERT INTO acme.a VALUES (1); SELECT FROM public.schema_tracker"
    ));
    let can = |what: &str| roles.db.string(&format!("SELECT {what}"));
    let ledger = "acme.__diesel_schema_migrations";
    assert_eq!(can(&format!("has_table_privilege('{application}', '{ledger}', 'INSERT')")), "false");
    let monitoring = roles.name("monitoring");
    assert_eq!(can(&format!("has_table_privilege('{monitoring}', 'acme.a', 'SELECT')")), "false");
}

#[test]
fn names_are_quoted_and_an_existing_role_is_not_created() {
    let db = set_up();
    let role = format!("o\"{}", db.name());
    let args = ["grants", "--for", "operator", "--role", &role];
    let first = db.tenantry(args).run();
    assert!(first.stdout.contains("CREATE ROLE \"o\"\"db_"), "{}", first.stdout);
    db.execute(&first.stdout);
    let again = db.tenantry(args).run();
    assert!(!again.stdout.contains("CREATE ROLE"), "{}", again.stdout);
    db.execute(&again.stdout);
}

#[test]
fn grants_are_printed_without_a_connection() {
    assert_snapshot!(Tenantry::new().args(["grants", "--for", "app", "--offline", "shop"]).run(), @r#"
    -- a superuser, or a role with CREATEROLE: the role
    CREATE ROLE "application" LOGIN;
    -- "operator": rows of tenants that are created afterwards, and of the reference schema
    ALTER DEFAULT PRIVILEGES FOR ROLE "operator" GRANT USAGE ON SCHEMAS TO "application";
    ALTER DEFAULT PRIVILEGES FOR ROLE "operator" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "application";
    ALTER DEFAULT PRIVILEGES FOR ROLE "operator" GRANT USAGE, SELECT ON SEQUENCES TO "application";
    -- the owner of public.schema_tracker: the names and states of tenants, for the library
    GRANT SELECT ON public.schema_tracker TO "application";
    -- the owner of public.schema_tracker: the servers of tenants, for the library, in a fleet on several servers
    GRANT SELECT ON public.schema_server, public.schema_placement TO "application";
    --- stderr
    --- exit 0
    "#);
    assert_snapshot!(Tenantry::new().args(["grants", "--for", "operator", "--migration"]).run(), @r"
    --- stderr
    error: the operator needs no privileges in tenants: it owns their schemas
    hint: omit --migration
    --- exit 2
    ");
}
