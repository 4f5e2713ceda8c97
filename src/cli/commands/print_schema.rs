//! `print-schema`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::settings::Connection;
use crate::model::TenantName;
use crate::operations;

/// Print Diesel's table definitions for a tenant
///
/// Prints a schema.rs for the tenant's tables as 'diesel print-schema' does, without the name of the schema, so that it is
/// the same for every tenant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    tenant: TenantName,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Serialize)]
struct Document {
    schema: String,
    /// The tables that are omitted because Diesel requires a primary key.
    without_primary_key: Vec<String>,
}

named_tenants!(Args, one tenant);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut db = context.database(&args.connection)?;
    let printed = operations::print_schema(&mut db, &args.tenant)?;
    let output = context.output();
    for table in &printed.without_key {
        output.warning(format_args!("omitted table {table}: it has no primary key, which Diesel requires"));
    }
    if output.is_json() {
        output.json(&Document { schema: printed.text, without_primary_key: printed.without_key })?;
    } else {
        output.script([printed.text.trim_end()])?;
    }
    Ok(Exit::Done)
}
