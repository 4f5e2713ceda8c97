//! `psql`

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, anyhow};

use super::rows;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::settings::{Connection, SearchPath};
use crate::error::Error;
use crate::model::TenantName;
use crate::postgres::{SchemaPath, Transactions};
use crate::tenants::{not_tracked, tracker};

/// Open psql in the schema of a tenant
///
/// The search path has the tenant's schema and the extension schemas. Runs the psql on PATH.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    tenant: TenantName,

    /// Let transactions only read, unless one is begun with READ WRITE
    #[arg(long)]
    read_only: bool,

    /// Arguments for psql, such as -c 'SELECT 1'
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,

    #[command(flatten)]
    path: SearchPath,

    #[command(flatten)]
    connection: Connection,
}

named_tenants!(Args, one tenant);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut db = context.database(&args.connection)?;
    rows::require_schemas(&mut db, "psql")?;
    let server = db.server();
    if !server.has_tracker {
        return Err(Error::TrackerMissing { database: server.database.clone() }.into());
    }
    tracker::require_readable(server)?;
    if !tracker::names(db.connection())?.iter().any(|name| name == args.tenant.as_str()) {
        let error = Box::new(not_tracked(db.connection(), &args.tenant)?);
        return Err(Error::Tenant { name: args.tenant, error }.into());
    }
    let path = SchemaPath::new(args.tenant.schema(), &args.path.extension_schemas);
    let transactions = if args.read_only { Transactions::ReadOnly } else { Transactions::ReadWrite };
    let session = db.connector().session_in(path, transactions).map_err(Error::from)?;
    let mut psql = Command::new("psql");
    // The variable would replace settings of the session.
    psql.env_remove("PGOPTIONS").arg("--dbname").arg(session.conninfo()).args(&args.arguments);
    if let Some(password) = session.password() {
        // Other users can read the arguments of a program, but not its environment.
        psql.env("PGPASSWORD", password);
    }
    // Returns only if the program cannot be started.
    let error = psql.exec();
    Err(anyhow!(error).context("cannot run psql; install PostgreSQL's client, or add its folder to PATH"))
}
