//! `purge`

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::archive::connect;
use super::drop::{ReportDocument, counted, print_report, show_roles, warn_of_steps};
use super::dump::BackupOptions;
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::output::{count, size};
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument};
use crate::cli::settings::{Jobs, WriteOptions};
use crate::model::SchemaName;
use crate::operations::{self, ArchivedTenant, DropPlan, DropReport};

/// Drop archived tenants whose grace period has ended
///
/// Drops the tenants that 'drop --grace' has archived and whose purge date has passed, with all their data. Other tenants are
/// never dropped. An interrupted purge resumes when the command is repeated.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show all tenants with a purge date and whether it has passed, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    backup: BackupOptions,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: WriteOptions,
}

impl Args {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (mut db, tenancy) = connect(context, &args.options, "purge")?;
    db.require_tracker(&tenancy)?;
    args.backup.check(&db)?;
    let mut tenants = operations::archived(&mut db)?;
    tenants.retain(|tenant| tenant.purge_after.is_some());
    let due: Vec<SchemaName> = tenants.iter().filter(|it| it.is_due).map(|it| it.name.clone()).collect();
    let plan = operations::plan_purge(&mut db, &tenancy, &due)?;
    let output = context.output();
    super::drop::warn_of_kept_roles(output, &plan);
    if args.dry_run {
        if output.is_json() {
            output.json(&PurgePlanDocument::new(&tenants, &plan, context))?;
        } else if !tenants.is_empty() {
            output.table(&HEAD, tenants.iter().map(|tenant| cells(tenant, &plan)))?;
        }
        warn_of_steps(output, &plan);
        show_roles(output, &plan);
        report::failures(context, &plan.failed);
        let later = tenants.len() - due.len();
        output.status(format_args!("{} would be dropped, {later} later", count(plan.drops.len(), "tenant")));
        return Ok(if plan.failed.is_empty() { Exit::Done } else { Exit::Found });
    }
    if !plan.drops.is_empty() {
        if args.confirmation.is_asked() {
            let due = tenants.iter().filter(|tenant| tenant.is_due);
            output.table_aside(&HEAD, due.map(|tenant| cells(tenant, &plan)));
            warn_of_steps(output, &plan);
            show_roles(output, &plan);
        }
        let what = counted(plan.drops.iter().map(|dropping| dropping.name.as_str()));
        let question = format!("Drop {what} with all data from database {}? [y/N]", location(&db));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let mut progress = Progress::new(output, "dropped").resumed_by("repeat the command to resume");
    let report = args.backup.drop_tenants(context, &mut db, &tenancy, plan, &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        output.json(&ReportDocument::new(&report, context))?;
    }
    let exit = print_report(context, &report)?;
    hint(context, &report, &args.backup);
    Ok(exit)
}

fn hint(context: &Context, report: &DropReport, backup: &BackupOptions) {
    if !report.to_try_again().is_empty() {
        let line = format!("purge{}", backup.as_words());
        context.output().hint(format_args!("to resume: {}", context.command(&line)));
    }
}

const HEAD: [&str; 5] = ["tenant", "archived", "purge after", "due", "size"];

fn cells(tenant: &ArchivedTenant, plan: &DropPlan) -> Vec<String> {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M").to_string();
    let dash = || "-".to_owned();
    let contents = plan.drops.iter().find(|dropping| dropping.name == tenant.name).and_then(|it| it.schema);
    vec![
        tenant.name.to_string(),
        time(tenant.archived_at),
        tenant.purge_after.map_or_else(dash, time),
        if tenant.is_due { "yes" } else { "no" }.to_owned(),
        contents.map_or_else(dash, |contents| size(contents.bytes)),
    ]
}

#[derive(Serialize)]
struct PurgePlanDocument {
    tenants: Vec<PurgedTenantDocument>,
    /// The tenants that are due and cannot be dropped.
    failed: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct PurgedTenantDocument {
    name: String,
    archived_at: String,
    purge_after: Option<String>,
    /// Whether the date has passed, so that purge drops it.
    due: bool,
    /// The size of its tables and indexes; null if it is not due.
    bytes: Option<i64>,
}

impl PurgePlanDocument {
    fn new(tenants: &[ArchivedTenant], plan: &DropPlan, context: &Context) -> Self {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let tenant = |tenant: &ArchivedTenant| PurgedTenantDocument {
            name: tenant.name.to_string(),
            archived_at: time(tenant.archived_at),
            purge_after: tenant.purge_after.map(time),
            due: tenant.is_due,
            bytes: plan
                .drops
                .iter()
                .find(|dropping| dropping.name == tenant.name)
                .and_then(|dropping| dropping.schema)
                .map(|contents| contents.bytes),
        };
        Self { tenants: tenants.iter().map(tenant).collect(), failed: FailedDocument::all(&plan.failed, context) }
    }
}
