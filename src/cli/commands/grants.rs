//! `grants`

use anyhow::Result;
use clap::ValueEnum;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};
use serde::Serialize;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::settings::Connection;
use crate::error::Error;
use crate::operations::{self, GrantPurpose, GrantStatements, Grantees};

/// Print the SQL that gives a role its privileges
///
/// An administrator executes the statements in the database after migrate-public; each comment names the role that may do
/// so. With --migration, prints the statements that belong in a tenant migration.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Purpose of the role
    #[arg(long = "for", value_enum, value_name = "PURPOSE")]
    purpose: For,

    /// Name of the role [default: the purpose]
    #[arg(long, value_name = "NAME")]
    role: Option<String>,

    /// Role that owns the tenants' schemas
    #[arg(long, value_name = "NAME", default_value = "operator")]
    operator: String,

    /// Print the statements of a tenant migration instead
    #[arg(long)]
    migration: bool,

    /// Do not connect; use this name of the database
    #[arg(long, value_name = "NAME")]
    offline: Option<String>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum For {
    /// Creates, migrates, checks and drops tenants.
    Operator,
    /// Reads and writes the tenants' tables.
    #[value(alias = "app")]
    Application,
    /// Reads the tracker, the runs and the ledgers.
    Monitoring,
}

impl For {
    fn purpose(self) -> GrantPurpose {
        match self {
            Self::Operator => GrantPurpose::Operator,
            Self::Application => GrantPurpose::Application,
            Self::Monitoring => GrantPurpose::Monitoring,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Application => "application",
            Self::Monitoring => "monitoring",
        }
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let purpose = args.purpose.purpose();
    let role = args.role.as_deref().unwrap_or(args.purpose.name());
    let parts = if args.migration {
        let parts = operations::tenant_grants(purpose, role);
        if parts.is_empty() {
            return Err(Usage::with_hint(
                "unexpected-option",
                "the operator needs no privileges in tenants: it owns their schemas".to_owned(),
                "omit --migration",
            )
            .into());
        }
        parts
    } else {
        let GrantTarget { database, role_exists } = match args.offline {
            Some(database) => GrantTarget { database, role_exists: false },
            None => target(context, &args.connection, role)?,
        };
        let names = Grantees { role, operator: &args.operator, database: &database };
        let role = (!role_exists).then(|| operations::create_role(role));
        role.into_iter().chain(operations::grants(purpose, names)).collect()
    };
    let output = context.output();
    if output.is_json() {
        output.json(&Document { role, statements: parts.iter().flat_map(documents).collect() })?;
    } else {
        output.script(parts.iter().map(|part| {
            let statements: Vec<String> = part.statements.iter().map(|sql| format!("{sql};")).collect();
            format!("-- {}\n{}", part.comment, statements.join("\n"))
        }))?;
    }
    Ok(Exit::Done)
}

#[derive(QueryableByName)]
struct GrantTarget {
    #[diesel(sql_type = Text)]
    database: String,
    #[diesel(sql_type = Bool)]
    role_exists: bool,
}

fn target(context: &Context, connection: &Connection, role: &str) -> Result<GrantTarget> {
    let mut db = context.database(connection)?;
    let target = sql_query(
        "SELECT pg_catalog.current_database()::pg_catalog.text AS database, \
         EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS role_exists",
    )
    .bind::<Text, _>(role)
    .get_result(db.connection());
    Ok(target.map_err(Error::doing("read the roles of the server"))?)
}

#[derive(Serialize)]
struct Document<'a> {
    role: &'a str,
    statements: Vec<GrantDocument<'a>>,
}

#[derive(Serialize)]
struct GrantDocument<'a> {
    sql: &'a str,
    /// Who executes it, and what it is for.
    comment: &'a str,
}

fn documents(part: &GrantStatements) -> impl Iterator<Item = GrantDocument<'_>> {
    part.statements.iter().map(|sql| GrantDocument { sql, comment: &part.comment })
}
