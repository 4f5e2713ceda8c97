//! `cleanup`

use anyhow::Result;
use serde::Serialize;

use super::drop::{HEAD, PlanDocument, ReportDocument, cells, told};
use crate::cli::confirm::{Answer, confirm};
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report;
use crate::lifecycle::{self, CleanupPlan};

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
            output.json(&PlanOfCleanup::new(&plan, context.program()))?;
        } else if !plan.tenants.drops.is_empty() {
            output.table(&HEAD, plan.tenants.drops.iter().map(cells))?;
        }
        report::failures(context, &plan.tenants.failed);
        output.status(would(&plan));
        return Ok(exit_of(!blocked, false));
    }
    if plan.is_empty() {
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
    let mut progress = Progress::new(output, "dropped");
    let done = lifecycle::cleanup(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        output.json(&ReportOfCleanup {
            tenants: ReportDocument::new(&done.tenants, context.program()),
            reverted: done.reverted.clone(),
            ledger_dropped: done.ledger_dropped,
        })?;
    }
    let exit = told(context, &done.tenants)?;
    let program = context.program();
    if exit != Exit::Done {
        output.hint(format_args!("to go on: {}", context.command("cleanup")));
        return Ok(exit);
    }
    output.status(format_args!("{} reverted", count(done.reverted.len(), "public migration")));
    match done.ledger_dropped {
        true => output.status("the public ledger is dropped"),
        false => output.status(format_args!(
            "the public ledger stays: it records {} of others",
            count(foreign_versions, "migration")
        )),
    }
    output.hint(format_args!("to begin anew: {program} migrate-public, then {program} create NAME"));
    Ok(exit)
}

fn would(plan: &CleanupPlan) -> String {
    let ledger = match plan.foreign_versions {
        0 => "and the public ledger would be dropped".to_owned(),
        n => format!("and the public ledger would stay, for it records {} of others", count(n, "migration")),
    };
    format!(
        "in the database {}: {} would be dropped, {} reverted, {ledger}",
        plan.database,
        count(plan.tenants.drops.len(), "tenant"),
        match plan.public.len() {
            1 => "1 public migration".to_owned(),
            n => format!("{} public migrations", thousands(n)),
        },
    )
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
    fn new(plan: &CleanupPlan, program: &str) -> Self {
        Self {
            database: plan.database.clone(),
            tenants: PlanDocument::new(&plan.tenants, program),
            revert: plan.public.clone(),
            drop_ledger: plan.foreign_versions == 0,
        }
    }
}

#[derive(Serialize)]
struct ReportOfCleanup {
    tenants: ReportDocument,
    reverted: Vec<String>,
    ledger_dropped: bool,
}
