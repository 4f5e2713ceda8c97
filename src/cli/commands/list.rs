//! `list`

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::label::in_a_line;
use super::rows::{self, ListColumns};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::selection::Matching;
use crate::cli::settings::ReadOptions;
use crate::error::TenantError;
use crate::migration::MigrationSet;
use crate::operations;
use crate::record::integrity;
use crate::tenants::{Fleet, InvalidRow, Labels, Misnamed, Schema, Tenant, labels, tracker};

/// List the tenants with state, version and pending migrations
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    matching: Matching,

    /// Print only the names, one per line
    #[arg(long)]
    names: bool,

    #[command(flatten)]
    options: ReadOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy_if_chosen(&args.options.migrations)?;
    let mut db = context.database(&args.options.connection)?;
    if let Some(layout) = rows::layout(&mut db)? {
        rows::refuse_labels(&args.matching)?;
        let selected = args.matching.read(&mut db, &tenancy)?;
        let columns = if args.names { ListColumns::Name } else { ListColumns::All };
        return rows::list(context, &mut db, &layout, columns, |name| selected.picks(name));
    }
    db.require_tracker(&tenancy)?;
    context.warn_of_ledger_upgrade(&db);
    let selected = args.matching.resolve(context, &mut db, &tenancy)?;
    let output = context.output();
    if args.names {
        let names = tracker::names(db.connection())?;
        output.lines(names.iter().filter(|name| selected.picks(name)))?;
        return Ok(Exit::Done);
    }
    let set = tenancy.tenant_migrations();
    let fleet = Fleet::read(db.connection(), set)?;
    let unknown = if set.is_empty() {
        Some("no tenant migrations specified".to_owned())
    } else {
        integrity::require_matching_migrations(&mut db, &tenancy).err().map(|error| error.to_string())
    };
    let mut labels = labels::read(db.connection(), None)?;
    let mut rows: Vec<Row> = fleet
        .tenants
        .iter()
        .filter(|tenant| selected.picks(tenant.name.as_str()))
        .map(|tenant| Row::of(tenant, set))
        .chain(fleet.misnamed.iter().filter(|misnamed| selected.picks(&misnamed.name)).map(Row::of_misnamed))
        .chain(fleet.invalid.iter().filter(|invalid| selected.picks(&invalid.name)).map(Row::of_invalid))
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows.iter_mut().for_each(|row| row.labels = labels.remove(&row.name).unwrap_or_default());
    if let Some(reason) = unknown {
        rows.iter_mut().for_each(|row| row.pending = None);
        output.warning(format_args!("pending migrations are unknown: {reason}"));
    }
    if output.is_json() {
        output.json(&Document { tenants: rows })?;
        return Ok(Exit::Done);
    }
    let total = rows.len();
    let has_problems = rows.iter().any(|row| row.problem.is_some());
    let mut head = vec!["tenant", "state", "version", "pending", "created"];
    if rows.iter().any(|row| !row.labels.is_empty()) {
        head.push("labels");
    }
    let columns = head.len();
    output.table(&head, rows.into_iter().map(|row| row.cells(columns)))?;
    output.status(count(total, "tenant"));
    let spares = operations::spare_schemas(&mut db)?.len();
    if spares > 0 {
        output.status(format_args!("{} for new tenants", count(spares, "spare schema")));
    }
    if has_problems {
        output.next(format_args!("'{}' shows the problems", context.command("health-check")));
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
    /// Null if the tracker row has no state.
    state: Option<String>,
    /// The newest migration in its ledger.
    version: Option<String>,
    /// The number of pending migrations; null if it is unknown.
    pending: Option<usize>,
    /// Null if the tracker row has no time.
    created_at: Option<String>,
    /// Why its migrations are unknown: the code of a finding, or null.
    problem: Option<&'static str>,
    /// Values by key.
    labels: Labels,
    #[serde(skip)]
    created: Option<DateTime<Utc>>,
}

impl Row {
    fn of(tenant: &Tenant, set: &MigrationSet) -> Self {
        let (version, pending, problem) = match &tenant.schema {
            Schema::Missing => (None, None, Some("schema-missing")),
            Schema::Unreadable(_) => (None, None, Some("unreadable")),
            Schema::InvalidLedger { .. } => (None, None, Some("invalid-ledger")),
            Schema::NoLedger { empty: true, .. } => (None, Some(set.len()), None),
            Schema::NoLedger { empty: false, .. } => (None, None, Some("ledger-missing")),
            Schema::Ledger { ledger, .. } => (ledger.version().map(str::to_owned), Some(ledger.pending.len()), None),
        };
        Self {
            name: tenant.name.to_string(),
            state: Some(tenant.state.to_string()),
            version,
            pending,
            created_at: Some(tenant.created_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            problem,
            labels: Labels::new(),
            created: Some(tenant.created_at),
        }
    }

    fn of_misnamed(misnamed: &Misnamed) -> Self {
        Self {
            name: misnamed.name.clone(),
            state: Some(misnamed.state.to_string()),
            version: None,
            pending: None,
            created_at: Some(misnamed.created_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            problem: Some(TenantError::InvalidName(misnamed.reason.clone()).code()),
            labels: Labels::new(),
            created: Some(misnamed.created_at),
        }
    }

    fn of_invalid(invalid: &InvalidRow) -> Self {
        Self {
            name: invalid.name.clone(),
            state: invalid.state.clone(),
            version: None,
            pending: None,
            created_at: invalid.created_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            problem: Some("invalid-row"),
            labels: Labels::new(),
            created: invalid.created_at,
        }
    }

    /// The first cells of the row.
    fn cells(self, columns: usize) -> Vec<String> {
        let dash = || "-".to_owned();
        let labels = if self.labels.is_empty() { dash() } else { in_a_line(&self.labels) };
        let mut cells = vec![
            self.name,
            self.state.unwrap_or_else(dash),
            self.problem.map(str::to_owned).or(self.version).unwrap_or_else(dash),
            self.pending.map_or_else(dash, |pending| pending.to_string()),
            self.created.map_or_else(dash, |created| created.format("%Y-%m-%d %H:%M").to_string()),
            labels,
        ];
        cells.truncate(columns);
        cells
    }
}
