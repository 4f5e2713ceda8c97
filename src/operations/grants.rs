//! The privileges that roles need, as SQL.
//!
//! `docs/roles-and-grants.md` shows this SQL as the command `grants` prints it, and runs the commands with it.

use crate::sql::quote::Identifier;

/// What a role is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantPurpose {
    /// Creates, migrates, checks and drops tenants, whose schemas it owns.
    Operator,
    /// Reads and writes the tenants' tables.
    Application,
    /// Reads the tracker, the record of runs and the ledgers.
    Monitoring,
}

/// The roles and the database that SQL is made for.
#[derive(Debug, Clone, Copy)]
pub struct Grantees<'a> {
    /// The role that gets the privileges.
    pub role: &'a str,
    /// The role that owns the tenants' schemas.
    pub operator: &'a str,
    /// The database.
    pub database: &'a str,
}

/// Statements for one role, with the role that executes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantStatements {
    /// Who executes them, and what they are for.
    pub comment: String,
    /// The statements.
    pub statements: Vec<String>,
}

impl GrantStatements {
    fn new(comment: impl Into<String>, statements: impl IntoIterator<Item = String>) -> Self {
        Self { comment: comment.into(), statements: statements.into_iter().collect() }
    }
}

/// The statement that creates the role.
pub fn create_role(role: &str) -> GrantStatements {
    let sql = format!("CREATE ROLE {} LOGIN", Identifier::of_object(role));
    GrantStatements::new("a superuser, or a role with CREATEROLE: the role", [sql])
}

/// The statements that an administrator executes in the database, after `migrate-public`.
pub fn grants(purpose: GrantPurpose, names: Grantees<'_>) -> Vec<GrantStatements> {
    let role = Identifier::of_object(names.role);
    let tracker = |comment: &str, grants: &[&str]| {
        let statements = grants.iter().map(|grant| format!("GRANT {grant} TO {role}"));
        GrantStatements::new(format!("the owner of public.schema_tracker: {comment}"), statements)
    };
    match purpose {
        GrantPurpose::Operator => {
            let database = Identifier::of_object(names.database);
            vec![
                GrantStatements::new(
                    "the owner of the database: create tenants, and build the reference schema",
                    [format!("GRANT CREATE ON DATABASE {database} TO {role}")],
                ),
                tracker(
                    "the tracker, the recorded migrations and the record of runs",
                    &[
                        "SELECT ON public.schema_ledger",
                        "SELECT, INSERT, UPDATE, DELETE ON public.schema_tracker, public.schema_stamp, \
                         public.schema_run, public.schema_run_tenant",
                        "SELECT, INSERT, UPDATE ON public.schema_migration",
                        "SELECT, INSERT ON public.schema_acceptance",
                        "SELECT, INSERT, UPDATE, DELETE ON public.schema_snapshot, public.schema_spare",
                    ],
                ),
                tracker(
                    "the directory of a fleet on several servers",
                    &["SELECT, INSERT, UPDATE, DELETE ON public.schema_identity, public.schema_server, \
                       public.schema_placement, public.schema_fleet_run, public.schema_fleet_run_server"],
                ),
            ]
        }
        GrantPurpose::Application => {
            let operator = Identifier::of_object(names.operator);
            let default =
                ["USAGE ON SCHEMAS", "SELECT, INSERT, UPDATE, DELETE ON TABLES", "USAGE, SELECT ON SEQUENCES"]
                    .map(|grant| format!("ALTER DEFAULT PRIVILEGES FOR ROLE {operator} GRANT {grant} TO {role}"));
            vec![
                GrantStatements::new(
                    format!("{operator}: rows of tenants that are created afterwards, and of the reference schema"),
                    default,
                ),
                tracker("the names and states of tenants, for the library", &["SELECT ON public.schema_tracker"]),
                tracker(
                    "the servers of tenants, for the library, in a fleet on several servers",
                    &["SELECT ON public.schema_server, public.schema_placement"],
                ),
            ]
        }
        GrantPurpose::Monitoring => vec![tracker(
            "the tracker, the recorded migrations and the record of runs",
            &["SELECT ON public.schema_ledger, public.schema_tracker, public.schema_migration, \
               public.schema_acceptance, public.schema_stamp, public.schema_run, public.schema_run_tenant, \
               public.schema_identity, public.schema_server, public.schema_placement"],
        )],
    }
}

/// The statements of a tenant migration, which change the privileges in each tenant; none for [`GrantPurpose::Operator`], which
/// owns the schemas.
pub fn tenant_grants(purpose: GrantPurpose, role: &str) -> Vec<GrantStatements> {
    let name = Identifier::of_object(role);
    match purpose {
        GrantPurpose::Operator => Vec::new(),
        GrantPurpose::Application => vec![GrantStatements::new(
            "the default privileges include the migration ledger, which the application must not change",
            [format!("REVOKE ALL ON __diesel_schema_migrations FROM {name}")],
        )],
        GrantPurpose::Monitoring => vec![GrantStatements::new(
            "the migration ledger of the tenant",
            [
                format!("GRANT SELECT ON __diesel_schema_migrations TO {name}"),
                format!(
                    "DO $$ BEGIN\n    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), {});\nEND $$",
                    crate::sql::quote::Literal(role)
                ),
            ],
        )],
    }
}
