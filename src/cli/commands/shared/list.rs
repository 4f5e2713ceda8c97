//! `shared list`

use anyhow::Result;
use serde::Serialize;

use super::server;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::settings::Connection;
use crate::servers::shared::ShareDirection;
use crate::servers::shared::tables::tables;

/// List the shared tables
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let (mut db, _) = server::registry(context, &args.connection)?;
    let shared = tables(db.connection())?;
    let output = context.output();
    if output.is_json() {
        let tables = shared
            .iter()
            .map(|table| TableDocument { table: table.name.to_string(), direction: table.direction.as_str() });
        output.json(&Document { tables: tables.collect() })?;
        return Ok(Exit::Done);
    }
    let publisher = |direction| match direction {
        ShareDirection::Out => "registry",
        ShareDirection::In => "other servers",
    };
    let rows = shared.iter().map(|table| vec![table.name.to_string(), publisher(table.direction).to_owned()]);
    output.table(&["table", "published by"], rows)?;
    output.status(count(shared.len(), "shared table"));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    tables: Vec<TableDocument>,
}

#[derive(Serialize)]
struct TableDocument {
    /// Its name, in the schema public.
    table: String,
    /// `out` if the registry publishes it, `in` if the other servers do.
    direction: &'static str,
}
