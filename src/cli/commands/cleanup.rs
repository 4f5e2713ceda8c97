//! `cleanup`

use anyhow::Result;
use serde::Serialize;

use super::drop::{HEAD, PlanDocument, ReportDocument, cells, goes_in_steps, in_steps, told};
use crate::cli::confirm::{Answer, confirm};
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::lifecycle::{self, CleanupPlan, CleanupReport};

/// Reset the database: drop every tenant, revert the public migrations, drop the public ledger
///
/// What was never tracked stays, unless --include-orphans. An interrupted cleanup is simply run again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do it without asking
    #[arg(long)]
    yes: bool,

    /// Show what would go, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Also drop schemas that look like a tenant's and that the tracker does not have
    #[arg(long)]
    include_orphans: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let plan = lifecycle::plan_cleanup(&mut db, &tenancy, args.include_orphans)?;
    let output = context.output();
    let blocked = !plan.tenants.failed.is_empty();
    if args.dry_run {
        if output.is_json() {
            output.json(&PlanOfCleanup::new(&plan, context))?;
        } else if !plan.tenants.drops.is_empty() {
            output.table(&HEAD, plan.tenants.drops.iter().map(cells))?;
        }
        in_steps(output, &plan.tenants);
        report::failures(context, &plan.tenants.failed);
        output.status(would(&plan));
        return Ok(exit_of(!blocked, false));
    }
    if plan.is_empty() {
        if output.is_json() {
            output.json(&ReportOfCleanup::new(&CleanupReport::default(), context))?;
        }
        output.status(format_args!("nothing to clean up in the database {}", plan.database));
        return Ok(Exit::Done);
    }
    if !args.yes {
        super::drop::show(output, &plan.tenants);
        anstream::eprintln!("{}", would(&plan));
    }
    let database = plan.database.clone();
    confirm(args.yes, "Type the database's name to go on:", Answer::Text(&database))?;
    let foreign_versions = plan.foreign_versions;
    let mut progress = Progress::new(output, "dropped").in_steps(goes_in_steps(&plan.tenants));
    let report = lifecycle::cleanup(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        output.json(&ReportOfCleanup::new(&report, context))?;
    }
    let again = context.command(if args.include_orphans { "cleanup --include-orphans" } else { "cleanup" });
    let exit = told(context, &report.tenants)?;
    if exit != Exit::Done {
        output.hint(format_args!("to go on: {again}"));
        return Ok(exit);
    }
    output.status(format_args!("{} reverted", count(report.reverted.len(), "public migration")));
    if let Some(error) = report.failed {
        let exit = report::error(context, &error.into());
        output.hint(format_args!("to go on: {again}"));
        return Ok(exit);
    }
    match (report.ledger_dropped, foreign_versions) {
        (true, _) => output.status("the public ledger is dropped"),
        (false, 0) => {}
        (false, n) => {
            output.status(format_args!("the public ledger stays: it records {} of others", count(n, "migration")));
        }
    }
    let (first, then) = (context.command("migrate-public"), context.command("create NAME"));
    output.next(format_args!("to begin anew: {first}, then {then}"));
    Ok(exit)
}

/// What a plan comes to, in a sentence.
fn would(plan: &CleanupPlan) -> String {
    let tenants =
        format!("in the database {}: {} would be dropped", plan.database, count(plan.tenants.drops.len(), "tenant"));
    if !plan.tenants.failed.is_empty() {
        let left = thousands(plan.tenants.failed.len());
        return format!(
            "{tenants}, and {left} cannot be; the public migrations and the public ledger would stay for them"
        );
    }
    let ledger = match (plan.has_ledger, plan.foreign_versions) {
        (false, _) => "there is no public ledger".to_owned(),
        (true, 0) => "the public ledger would be dropped".to_owned(),
        (true, n) => format!("the public ledger would stay, for it records {} of others", count(n, "migration")),
    };
    format!("{tenants}, {} reverted, and {ledger}", count(plan.public.len(), "public migration"))
}

#[derive(Serialize)]
struct PlanOfCleanup {
    database: String,
    tenants: PlanDocument,
    revert: Vec<String>,
    /// Whether the public ledger goes: it records nothing of others.
    drop_ledger: bool,
}

impl PlanOfCleanup {
    fn new(plan: &CleanupPlan, context: &Context) -> Self {
        Self {
            database: plan.database.clone(),
            tenants: PlanDocument::new(&plan.tenants, context),
            revert: plan.public.clone(),
            drop_ledger: plan.has_ledger && plan.foreign_versions == 0 && plan.tenants.failed.is_empty(),
        }
    }
}

#[derive(Serialize)]
struct ReportOfCleanup {
    tenants: ReportDocument,
    reverted: Vec<String>,
    ledger_dropped: bool,
    /// Why the public migrations are not all reverted, or null.
    error: Option<String>,
}

impl ReportOfCleanup {
    fn new(report: &CleanupReport, context: &Context) -> Self {
        Self {
            tenants: ReportDocument::new(&report.tenants, context),
            reverted: report.reverted.clone(),
            ledger_dropped: report.ledger_dropped,
            error: report.failed.as_ref().map(ToString::to_string),
        }
    }
}
