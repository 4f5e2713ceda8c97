//! `label`

use anyhow::Result;
use serde::Serialize;

use super::rows;
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::fleet::NamedTenants;
use crate::cli::output::count;
use crate::cli::selection::Selection;
use crate::cli::settings::{Connection, PublicMigrations, Timeouts};
use crate::database::Database;
use crate::model::{LabelChange, TenantName};
use crate::operations::{self, LabeledTenant};
use crate::tenants::{Labels, Tenancy, tracker};

/// Set or remove labels of tenants
///
/// KEY=VALUE sets a label, and replaces its value; KEY- removes it. Keys and values are as in Kubernetes. The labels of all
/// tenants are changed in one transaction. Commands select tenants with --label KEY=VALUE.
#[derive(Debug, Clone, clap::Args)]
#[command(override_usage = "tenantry label [OPTIONS] <NAME>... <KEY=VALUE|KEY->...\n       \
                            tenantry label [OPTIONS] --all <KEY=VALUE|KEY->...")]
pub(crate) struct Args {
    /// Names of tenants, then the changes: KEY=VALUE or KEY-
    #[arg(value_name = "NAME", required = true)]
    words: Vec<String>,

    /// All tenants
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    migrations: PublicMigrations,

    #[command(flatten)]
    timeouts: Timeouts,
}

impl NamedTenants for Args {
    fn names(&self) -> Vec<String> {
        self.words[..self.first_change()].to_vec()
    }

    fn keep(&mut self, is_kept: &dyn Fn(&str) -> bool) -> bool {
        let changes = self.words.split_off(self.first_change());
        self.words.retain(|name| is_kept(name));
        self.words.extend(changes);
        true
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (names, changes) = args.parse()?;
    let tenancy = context.tenancy_of_public(&args.migrations)?.with_limits(args.timeouts.limits());
    let mut db = context.database(&args.connection)?;
    rows::require_schemas(&mut db, "label")?;
    db.require_writable(&tenancy)?;
    let names = args.select(names, context, &mut db, &tenancy)?;
    let labeled = operations::label(&mut db, &tenancy, &names, &changes)?;
    let output = context.output();
    if output.is_json() {
        output.json(&Document { tenants: labeled.iter().map(LabeledTenantDocument::of).collect() })?;
    } else {
        let cells = |tenant: &LabeledTenant| vec![tenant.name.to_string(), in_a_line(&tenant.after)];
        output.table(&["tenant", "labels"], labeled.iter().map(cells))?;
    }
    let changed = labeled.iter().filter(|tenant| tenant.before != tenant.after).count();
    let unchanged = match labeled.len() - changed {
        0 => String::new(),
        unchanged => format!(", {unchanged} unchanged"),
    };
    output.status(format_args!("{} labeled{unchanged}", count(changed, "tenant")));
    Ok(Exit::Done)
}

impl Args {
    /// The place of the first change: the words before it are names.
    fn first_change(&self) -> usize {
        let first = self.words.iter().position(|word| LabelChange::is_change(word)).unwrap_or(self.words.len());
        if self.all { 0 } else { first }
    }

    /// The words before the first change, and the changes.
    fn parse(&self) -> Result<(Vec<TenantName>, Vec<LabelChange>)> {
        let (names, changes) = self.words.split_at(self.first_change());
        let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<TenantName>, _>>()?;
        let mut parsed: Vec<LabelChange> = Vec::new();
        for word in changes {
            let change: LabelChange =
                word.parse().map_err(|error: crate::model::LabelError| Usage::new(error.code(), error.to_string()))?;
            if parsed.iter().any(|other| other.key == change.key) {
                return Err(Usage::new("invalid-label", format!("label {} is given twice", change.key)).into());
            }
            parsed.push(change);
        }
        let hint = "label NAME KEY=VALUE, or label --all KEY=VALUE";
        if names.is_empty() && !self.all {
            return Err(Usage::with_hint("missing-argument", "no tenant specified", hint).into());
        }
        if parsed.is_empty() {
            return Err(Usage::with_hint("missing-argument", "no label specified", hint).into());
        }
        Ok((names, parsed))
    }

    /// The tenants to label: those of the names, or of the fleet, that are selected.
    fn select(
        &self,
        names: Vec<TenantName>,
        context: &Context,
        db: &mut Database,
        tenancy: &Tenancy,
    ) -> Result<Vec<TenantName>> {
        let selected = self.selection.resolve(context, db, tenancy)?;
        let mut names = if self.all {
            // Other names are reported by health-check.
            tracker::names(db.connection())?.iter().filter_map(|name| name.parse().ok()).collect()
        } else {
            names
        };
        names.retain(|name: &TenantName| selected.picks(name.as_str()));
        Ok(names)
    }
}

/// `plan=pro,ring=canary`, as Kubernetes prints labels.
pub(super) fn in_a_line(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[derive(Serialize)]
struct Document {
    tenants: Vec<LabeledTenantDocument>,
}

#[derive(Serialize)]
struct LabeledTenantDocument {
    name: String,
    /// The labels that it has now, values by key.
    labels: Labels,
    /// Whether they were changed.
    changed: bool,
}

impl LabeledTenantDocument {
    fn of(tenant: &LabeledTenant) -> Self {
        Self { name: tenant.name.to_string(), labels: tenant.after.clone(), changed: tenant.before != tenant.after }
    }
}
