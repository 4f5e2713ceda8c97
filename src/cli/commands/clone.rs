//! `clone`

use anyhow::Result;
use serde::Serialize;

use super::archive::connect;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::output::{count, thousands};
use crate::cli::settings::WriteOptions;
use crate::model::{NamePolicy, TenantName};
use crate::operations::{self, ClonedRows};

/// Create a tenant as a copy of another one
///
/// Copies the structure, the migration ledger, the rows and the values of sequences in one transaction, from one snapshot. The
/// source can be used meanwhile. The transaction runs as the owner of the source, and commits only if the structures are equal
/// and each table has as many rows as that of the source.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    #[arg(value_name = "NAME")]
    source: TenantName,

    /// Name of the copy: letters, digits and underscores, not starting with a digit, at most 63 bytes; see --any-name
    #[arg(value_name = "NEW")]
    new: TenantName,

    /// Accept every name that PostgreSQL allows for a schema, such as acme-corp; SQL must quote it
    #[arg(long)]
    any_name: bool,

    /// Copy the structure and the migration ledger only
    #[arg(long)]
    schema_only: bool,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, one source);

impl Args {
    /// The name of the new tenant.
    pub(crate) fn new_name(&self) -> String {
        self.new.to_string()
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let policy = if args.any_name { NamePolicy::Any } else { NamePolicy::Strict };
    policy.check(&args.new)?;
    let (mut db, tenancy) = connect(context, &args.options, "clone")?;
    let tenancy = tenancy.with_name_policy(policy);
    let rows = if args.schema_only { ClonedRows::None } else { ClonedRows::All };
    let cloned = operations::clone(&mut db, &tenancy, &args.source, &args.new, rows)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document {
            run: cloned.run,
            source: args.source.to_string(),
            tenant: args.new.to_string(),
            tables: cloned.tables,
            rows: cloned.rows,
        })?;
    }
    let rows = match args.schema_only {
        true => "without rows".to_owned(),
        false => format!("with {} rows", thousands(usize::try_from(cloned.rows).unwrap_or_default())),
    };
    output.status(format_args!("{} cloned as {}: {} {rows}", args.source, args.new, count(cloned.tables, "table")));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it.
    run: i64,
    source: String,
    /// The new tenant.
    tenant: String,
    tables: usize,
    rows: i64,
}
