//! `cleanup`

use anyhow::Result;
use serde::Serialize;

use super::drop::{PlanDocument, ReportDocument, cells, head, left_by_abort, print_report, warn_of_steps};
use super::rows::{self, CleanupMode};
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, ErrorDocument};
use crate::cli::request::{CleanupRequest, Request};
use crate::cli::settings::{Jobs, WriteOptions};
use crate::operations::{self, CleanupPlan, CleanupReport, Orphans};

/// Drop all tenants and the tracker
///
/// Drops every tenant, reverts the public migrations and drops the public ledger. Schemas that were never tracked are kept,
/// unless --include-orphans is given. An interrupted cleanup resumes when the command is repeated.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show what would be dropped, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Also drop untracked schemas that look like a tenant's
    #[arg(long)]
    include_orphans: bool,

    /// Drop the shared tables and the tracker, where tenants share tables, instead of deleting all rows
    #[arg(long)]
    drop_all: bool,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: WriteOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    // Orphaned schemas are recognized by the migrations in their ledgers.
    let migrations = &args.options.migrations;
    let tenancy =
        if args.include_orphans { context.tenancy(migrations)? } else { context.tenancy_if_chosen(migrations)? };
    let tenancy = tenancy.with_limits(args.options.limits.limits());
    let mut db = context.database_for_run(&args.options, Some(&args.jobs))?;
    if let (Some(layout), false) = (rows::layout(&mut db)?, args.drop_all) {
        let execution =
            if args.dry_run { CleanupMode::DryRun } else { CleanupMode::AfterConfirmation(args.confirmation) };
        return rows::cleanup(context, &mut db, (&tenancy, &layout), execution);
    }
    let orphans = if args.include_orphans { Orphans::Drop } else { Orphans::Keep };
    let plan = operations::plan_cleanup(&mut db, &tenancy, orphans)?;
    let output = context.output();
    super::drop::warn_of_kept_roles(output, &plan.tenants);
    let blocked = !plan.tenants.failed.is_empty();
    if args.dry_run {
        context.show_migrations(&tenancy);
        if output.is_json() {
            output.json(&PlanOfCleanup::new(&plan, context))?;
        } else if !plan.tenants.drops.is_empty() {
            output.table(&head(&plan.tenants), plan.tenants.drops.iter().map(cells))?;
        }
        warn_of_steps(output, &plan.tenants);
        super::drop::show_roles(output, &plan.tenants);
        report::failures(context, &plan.tenants.failed);
        output.status(would(&plan));
        return Ok(if blocked { Exit::Found } else { Exit::Done });
    }
    if plan.is_empty() {
        if output.is_json() {
            output.json(&ReportOfCleanup::new(&CleanupReport::default(), context))?;
        }
        output.status(format_args!("nothing to clean up in the database {}", plan.database));
        return Ok(Exit::Done);
    }
    if args.confirmation.is_asked() {
        context.show_migrations_before_prompt(&tenancy);
        super::drop::show(output, &plan.tenants);
        output.summary(would(&plan));
    }
    let database = plan.database.clone();
    let question = format!(
        "Drop all tenants and the tracker from database {}? Type the name of the database to confirm:",
        location(&db)
    );
    args.confirmation.ask(&question, Answer::Text(&database))?;
    let settings = context.settings_request();
    let request = Request::Cleanup(CleanupRequest { include_orphans: args.include_orphans, settings });
    db.set_request(request.to_json()?);
    let (foreign_versions, kept) = (plan.foreign_versions, plan.kept.clone());
    let mut progress = Progress::new(output, "dropped").leaving(left_by_abort(&plan.tenants));
    let report = operations::cleanup(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        output.json(&ReportOfCleanup::new(&report, context))?;
    }
    let again = context.command(if args.include_orphans { "cleanup --include-orphans" } else { "cleanup" });
    let exit = print_report(context, &report.tenants)?;
    if exit != Exit::Done {
        output.hint(format_args!("to resume: {again}"));
        return Ok(exit);
    }
    if report.spares > 0 {
        output.status(format_args!("{} dropped", count(report.spares, "spare schema")));
    }
    if let Some(group) = &report.group {
        output.status(format_args!("role {group} dropped"));
    }
    output.status(format_args!("{} reverted", count(report.reverted.len(), "public migration")));
    if let Some(error) = report.failed {
        let exit = report::show_error(context, &error.into());
        output.hint(format_args!("to resume: {again}"));
        return Ok(exit);
    }
    if !kept.is_empty() {
        output.status(format_args!("{}: {}", kept_by_diesel(&kept), kept.join(", ")));
    }
    match (report.ledger_dropped, foreign_versions) {
        (true, _) => output.status("public.schema_ledger dropped"),
        (false, 0) => {}
        (false, n) => {
            output.status(format_args!("public.schema_ledger kept: it records {}", count(n, "other migration")));
        }
    }
    let (first, then) = (context.command("migrate-public"), context.command("create NAME"));
    output.next(format_args!("to start again: {first}, then {then}"));
    Ok(exit)
}

/// Summarizes a plan in one sentence.
fn would(plan: &CleanupPlan) -> String {
    let tenants =
        format!("in the database {}: {} would be dropped", plan.database, count(plan.tenants.drops.len(), "tenant"));
    if !plan.tenants.failed.is_empty() {
        let left = thousands(plan.tenants.failed.len());
        return format!(
            "{tenants}, {left} cannot be dropped; the public migrations and public.schema_ledger would be kept"
        );
    }
    let tenants = match plan.spares.len() {
        0 => tenants,
        n => format!("{tenants}, {} dropped", count(n, "spare schema")),
    };
    let ledger = match (plan.has_ledger, plan.foreign_versions) {
        (false, _) => "there is no public ledger".to_owned(),
        (true, 0) => "public.schema_ledger would be dropped".to_owned(),
        (true, n) => format!("public.schema_ledger would be kept, as it records {}", count(n, "other migration")),
    };
    let kept = match plan.kept.as_slice() {
        [] => String::new(),
        kept => format!(" ({})", kept_by_diesel(kept)),
    };
    format!("{tenants}, {} reverted{kept}, and {ledger}", count(plan.public.len(), "public migration"))
}

/// How many public migrations are not reverted, and why.
fn kept_by_diesel(kept: &[String]) -> String {
    format!(
        "{} kept, recorded by diesel_cli in public.__diesel_schema_migrations",
        count(kept.len(), "public migration")
    )
}

#[derive(Serialize)]
struct PlanOfCleanup {
    database: String,
    tenants: PlanDocument,
    spare_schemas: Vec<String>,
    revert: Vec<String>,
    /// Whether the public ledger is dropped: it records nothing that is not reverted or kept.
    drop_ledger: bool,
    /// The versions that are not reverted because Diesel's ledger records them too.
    kept: Vec<String>,
}

impl PlanOfCleanup {
    fn new(plan: &CleanupPlan, context: &Context) -> Self {
        Self {
            database: plan.database.clone(),
            tenants: PlanDocument::new(&plan.tenants, context),
            spare_schemas: plan.spares.iter().map(|spare| spare.as_str().to_owned()).collect(),
            revert: plan.public.clone(),
            kept: plan.kept.clone(),
            drop_ledger: plan.has_ledger && plan.foreign_versions == 0 && plan.tenants.failed.is_empty(),
        }
    }
}

#[derive(Serialize)]
struct ReportOfCleanup {
    tenants: ReportDocument,
    spare_schemas: usize,
    reverted: Vec<String>,
    ledger_dropped: bool,
    /// The error that stopped the public migrations from being reverted, or null.
    error: Option<ErrorDocument>,
}

impl ReportOfCleanup {
    fn new(report: &CleanupReport, context: &Context) -> Self {
        Self {
            tenants: ReportDocument::new(&report.tenants, context),
            spare_schemas: report.spares,
            reverted: report.reverted.clone(),
            ledger_dropped: report.ledger_dropped,
            error: report.failed.as_ref().map(|error| ErrorDocument::of_library(error, context)),
        }
    }
}
