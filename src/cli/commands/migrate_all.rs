//! `migrate-all`

use anyhow::Result;
use serde::Serialize;

use super::lint::FindingDocument;
use crate::cli::arguments::Selection;
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{Verbosity, count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument, failures};
use crate::cli::resume::Resume;
use crate::cli::steps::Steps;
use crate::lint::{File, Finding, lint};
use crate::migration::{MigrationSet, Version};
use crate::model::TenantName;
use crate::operations::migrate::{self, Plan, Report, Rollout};
use crate::record::runs::RetryCommand;
use crate::tenants::{Fleet, Tenancy};

/// Bring all tenants up to date; those that are, are not touched
///
/// It goes on after a failure, and ends with what failed and the command that tries again. It stops by itself when the
/// first tenants all fail in the same way. One such run works on a fleet at a time, or one for each shard.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    /// Show what would be done, tenant by tenant, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    steps: Steps,

    /// Only the migrations up to this version, itself included
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,

    /// Hold the structure of each tenant against the reference before it counts as done
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (mut tenancy, mut db) = context.fleet(args.dry_run)?;
    if let Some(to) = &args.to {
        tenancy = tenancy.up_to(to)?;
    }
    let set = tenancy.tenant_migrations();
    let stop = context.stop();
    if !args.dry_run {
        args.steps.lock_fleet(context, &mut db)?;
    }
    let steps = args.steps.picks(context, &mut db, RetryCommand::MigrateAll)?;
    let picks = |name: &str| steps(name) && args.selection.picks(name);
    let mut plan = Plan::of(Fleet::read(db.connection(), set)?, set, picks);
    args.steps.sort(&mut db, &mut plan.migrate, |planned| &planned.tenant)?;
    args.steps.require_canary(plan.migrate.iter().map(|planned| &planned.tenant.name).chain(&plan.up_to_date))?;
    context.warn_of_other_owners(plan.migrate.iter().map(|planned| &planned.tenant));
    if args.dry_run {
        return show(context, &plan, &tenancy);
    }
    let rollout = Rollout { verify: args.verify, ..args.steps.rollout()? };
    let mut progress = Progress::new(context.output(), "migrated");
    let report = migrate::migrate(&mut db, &tenancy, plan, &rollout, &stop, &mut progress)?;
    std::mem::drop(progress);
    report::run(context, &report, "migrated", &args.again(&report))
}

impl Args {
    /// The command that tries again what was not done.
    fn again(&self, report: &Report) -> String {
        let what = what(self.to.as_ref(), self.verify);
        Resume { command: "migrate-all", selection: &self.selection, steps: &self.steps, what }.after(report)
    }
}

/// The flags that say what is done to each tenant.
pub(super) fn what(to: Option<&Version>, verify: bool) -> String {
    let to = to.map_or_else(String::new, |to| format!(" --to {to}"));
    to + if verify { " --verify" } else { "" }
}

/// Shows a plan.
pub(super) fn show(context: &Context, plan: &Plan, tenancy: &Tenancy) -> Result<Exit> {
    let output = context.output();
    let set = tenancy.tenant_migrations();
    context.show_migrations(tenancy);
    let findings: Vec<Finding> =
        lint(tenancy).into_iter().filter(|finding| finding.file == File::Up && finding.accepted.is_none()).collect();
    if output.is_json() {
        output.json(&Document::new(plan, set, &findings, context))?;
    } else if !plan.migrate.is_empty() {
        let rows = plan.migrate.iter().map(|planned| {
            let pending = planned.pending(set);
            let folders: Vec<&str> = pending.iter().map(|index| set.at(*index).folder()).collect();
            vec![planned.tenant.name.to_string(), from(planned).unwrap_or("-").to_owned(), folders.join(", ")]
        });
        output.table(&["tenant", "version", "pending"], rows)?;
    }
    failures(context, &plan.blocked);
    for version in Behind::of(plan, set, &findings) {
        output.status(format_args!("{}: {} behind", version.folder, count(version.tenants, "tenant")));
        for finding in version.findings.iter().filter(|_| output.verbosity() >= Verbosity::Normal) {
            output.warning(format_args!("{}:{}: {}: {}", finding.file, finding.line, finding.rule, finding.message));
        }
    }
    let mut summary = format!(
        "{} would be migrated, {} up to date",
        count(plan.migrate.len(), "tenant"),
        thousands(plan.up_to_date.len())
    );
    if !plan.blocked.is_empty() {
        summary.push_str(&format!(", {} cannot be", thousands(plan.blocked.len())));
    }
    output.status(summary);
    Ok(exit_of(plan.blocked.is_empty(), false))
}

fn from(planned: &migrate::Planned) -> Option<&str> {
    planned.tenant.ledger().and_then(|ledger| ledger.version())
}

/// How many tenants a version is pending for.
#[derive(Serialize)]
struct Behind<'a> {
    version: String,
    folder: String,
    tenants: usize,
    /// What of it is known to hurt live tables, or reaches outside the tenant.
    findings: Vec<FindingDocument<'a>>,
}

impl<'a> Behind<'a> {
    /// Of each version that is pending, oldest first.
    fn of(plan: &Plan, set: &MigrationSet, findings: &'a [Finding]) -> Vec<Self> {
        let mut tenants = vec![0; set.len()];
        plan.migrate.iter().flat_map(|planned| planned.pending(set)).for_each(|index| tenants[index] += 1);
        let behind = |(index, tenants)| {
            let migration = set.at(index);
            let findings = findings.iter().filter(|finding| finding.migration == index);
            Self {
                version: migration.version().to_string(),
                folder: migration.folder().to_owned(),
                tenants,
                findings: findings.map(FindingDocument::new).collect(),
            }
        };
        tenants.into_iter().enumerate().filter(|(_, tenants)| *tenants > 0).map(behind).collect()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    /// What is pending, oldest first.
    versions: Vec<Behind<'a>>,
    migrate: Vec<PlannedDocument>,
    up_to_date: Vec<String>,
    blocked: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct PlannedDocument {
    tenant: String,
    version: Option<String>,
    pending: Vec<String>,
}

impl<'a> Document<'a> {
    fn new(plan: &Plan, set: &MigrationSet, findings: &'a [Finding], context: &Context) -> Self {
        let planned = |planned: &migrate::Planned| PlannedDocument {
            tenant: planned.tenant.name.to_string(),
            version: from(planned).map(str::to_owned),
            pending: planned.pending(set).iter().map(|index| set.at(*index).version().to_string()).collect(),
        };
        Self {
            versions: Behind::of(plan, set, findings),
            migrate: plan.migrate.iter().map(planned).collect(),
            up_to_date: plan.up_to_date.iter().map(TenantName::to_string).collect(),
            blocked: FailedDocument::all(&plan.blocked, context),
        }
    }
}
