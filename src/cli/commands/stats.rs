//! `stats`

use std::cmp::Reverse;

use anyhow::Result;
use chrono::SecondsFormat;
use clap::ValueEnum;
use serde::Serialize;

use super::rows;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, size, thousands};
use crate::cli::selection::Matching;
use crate::cli::settings::{Connection, PublicMigrations, number};
use crate::operations::{self, TenantSize, TenantStats};

/// Show the sizes of the tenants, largest first
///
/// The number of rows is an estimate of the last ANALYZE. Sizes are estimates, too, for more than 500 tenants.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    matching: Matching,

    /// Order of the tenants
    #[arg(long, value_name = "COLUMN", default_value = "size")]
    sort: SortColumn,

    /// Show only the first N tenants
    #[arg(long, value_name = "N", value_parser = number::<usize>)]
    top: Option<usize>,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    migrations: PublicMigrations,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SortColumn {
    Size,
    Rows,
    DeadRows,
    Tables,
    /// The tenants that a run changed last come first
    Changed,
    Name,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy_of_public(&args.migrations)?;
    let mut db = context.database(&args.connection)?;
    rows::require_schemas(&mut db, "stats")?;
    db.require_tracker(&tenancy)?;
    let selected = args.matching.resolve(context, &mut db, &tenancy)?;
    let mut stats = operations::stats(&mut db, |name| selected.picks(name))?;
    let of = |tenant: &TenantStats, column: fn(&TenantSize) -> i64| Reverse(tenant.size.as_ref().map(column));
    match args.sort {
        SortColumn::Size => stats.tenants.sort_by_key(|tenant| of(tenant, |size| size.bytes)),
        SortColumn::Rows => stats.tenants.sort_by_key(|tenant| of(tenant, |size| size.estimated_rows)),
        SortColumn::DeadRows => stats.tenants.sort_by_key(|tenant| of(tenant, |size| size.dead_rows)),
        SortColumn::Tables => stats.tenants.sort_by_key(|tenant| of(tenant, |size| size.tables)),
        SortColumn::Changed => stats.tenants.sort_by_key(|tenant| Reverse(tenant.changed_at)),
        SortColumn::Name => {}
    }
    let total = stats.tenants.len();
    let bytes: i64 = stats.tenants.iter().filter_map(|tenant| tenant.size).map(|size| size.bytes).sum();
    stats.tenants.truncate(args.top.unwrap_or(usize::MAX));
    let output = context.output();
    if output.is_json() {
        let tenants = stats.tenants.iter().map(StatsDocument::of).collect();
        output.json(&Document {
            tenants,
            total_tenants: total,
            total_bytes: bytes,
            estimated: stats.sizes_estimated,
        })?;
        return Ok(Exit::Done);
    }
    output.table(
        &["tenant", "size", "rows", "dead rows", "tables", "version", "changed"],
        stats.tenants.iter().map(cells),
    )?;
    let estimated = if stats.sizes_estimated { ", estimated" } else { "" };
    output.status(format_args!("{}, {}{estimated}", count(total, "tenant"), size(bytes)));
    Ok(Exit::Done)
}

fn cells(tenant: &TenantStats) -> Vec<String> {
    let number = |column: fn(&TenantSize) -> i64| {
        tenant.size.as_ref().map_or_else(|| "-".to_owned(), |size| thousands(column(size)))
    };
    vec![
        tenant.name.to_string(),
        tenant.size.map_or_else(|| "-".to_owned(), |it| size(it.bytes)),
        number(|size| size.estimated_rows),
        number(|size| size.dead_rows),
        number(|size| size.tables),
        tenant.version.clone().unwrap_or_else(|| "-".to_owned()),
        tenant.changed_at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string()),
    ]
}

#[derive(Serialize)]
struct Document {
    tenants: Vec<StatsDocument>,
    /// The number of selected tenants, also of those that --top omits.
    total_tenants: usize,
    /// The size of the selected tenants.
    total_bytes: i64,
    /// Whether the sizes are estimates.
    estimated: bool,
}

#[derive(Serialize)]
struct StatsDocument {
    name: String,
    state: String,
    /// The newest migration in its ledger, or null.
    version: Option<String>,
    /// When a recorded run last changed it, or null.
    changed_at: Option<String>,
    /// Null if it has no schema, or its ledger cannot be read, as the next values are.
    bytes: Option<i64>,
    estimated_rows: Option<i64>,
    dead_rows: Option<i64>,
    tables: Option<i64>,
}

impl StatsDocument {
    fn of(tenant: &TenantStats) -> Self {
        Self {
            name: tenant.name.to_string(),
            state: tenant.state.to_string(),
            version: tenant.version.clone(),
            changed_at: tenant.changed_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            bytes: tenant.size.map(|size| size.bytes),
            estimated_rows: tenant.size.map(|size| size.estimated_rows),
            dead_rows: tenant.size.map(|size| size.dead_rows),
            tables: tenant.size.map(|size| size.tables),
        }
    }
}
