//! `list`

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use diesel::prelude::*;
use serde::Serialize;

use crate::cli::arguments::Matching;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::error::Error;
use crate::failure::TenantError;
use crate::fleet::{Fleet, Misnamed, Schema, Tenant};
use crate::migration::MigrationSet;
use crate::tracker::schema_tracker;

/// List the tenants: name, state, version, pending migrations, and when the tracker first had them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    matching: Matching,

    /// Only the names, one a line
    #[arg(long)]
    names: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    db.require_tracker(&tenancy)?;
    let output = context.output();
    if args.names {
        let mut names: Vec<String> = schema_tracker::table
            .select(schema_tracker::name)
            .load(db.connection())
            .map_err(|error| Error::doing("read the tracker")(error))?;
        names.retain(|name| args.matching.picks(name));
        names.sort_unstable();
        output.lines(names)?;
        return Ok(Exit::Done);
    }
    let set = tenancy.tenant_migrations();
    let fleet = Fleet::read(db.connection(), set)?;
    let mut rows: Vec<Row> = fleet
        .tenants
        .iter()
        .filter(|tenant| args.matching.picks(tenant.name.as_str()))
        .map(|tenant| Row::of(tenant, set))
        .chain(fleet.misnamed.iter().filter(|misnamed| args.matching.picks(&misnamed.name)).map(Row::of_misnamed))
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    if output.is_json() {
        output.json(&Document { tenants: rows })?;
        return Ok(Exit::Done);
    }
    let total = rows.len();
    let amiss = rows.iter().any(|row| row.problem.is_some());
    output.table(&["name", "state", "version", "pending", "created"], rows.into_iter().map(Row::cells))?;
    output.status(count(total, "tenant"));
    if amiss {
        output.next(format_args!("'{}' tells what is amiss", context.command("health-check")));
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    tenants: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    state: &'static str,
    /// The newest migration in its ledger.
    version: Option<String>,
    /// How many migrations are not applied; null where that cannot be told.
    pending: Option<usize>,
    created_at: String,
    /// Why nothing is known of its migrations: the code of a finding, or null.
    problem: Option<&'static str>,
    #[serde(skip)]
    created: DateTime<Utc>,
}

impl Row {
    fn of(tenant: &Tenant, set: &MigrationSet) -> Self {
        let (version, pending, problem) = match &tenant.schema {
            Schema::Missing => (None, None, Some("schema-missing")),
            Schema::Unreadable => (None, None, Some("unreadable")),
            Schema::NoLedger { empty: true, .. } => (None, Some(set.len()), None),
            Schema::NoLedger { empty: false, .. } => (None, None, Some("ledger-missing")),
            Schema::Ledger { ledger, .. } => (ledger.version().map(str::to_owned), Some(ledger.pending.len()), None),
        };
        Self {
            name: tenant.name.to_string(),
            state: tenant.state.as_str(),
            version,
            pending,
            created_at: tenant.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            problem,
            created: tenant.created_at,
        }
    }

    fn of_misnamed(misnamed: &Misnamed) -> Self {
        Self {
            name: misnamed.name.clone(),
            state: misnamed.state.as_str(),
            version: None,
            pending: None,
            created_at: misnamed.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            problem: Some(TenantError::BadName(misnamed.why.clone()).code()),
            created: misnamed.created_at,
        }
    }

    fn cells(self) -> Vec<String> {
        let dash = || "-".to_owned();
        vec![
            self.name,
            self.state.to_owned(),
            self.problem.map(str::to_owned).or(self.version).unwrap_or_else(dash),
            self.pending.map_or_else(dash, |pending| pending.to_string()),
            self.created.format("%Y-%m-%d %H:%M").to_string(),
        ]
    }
}
