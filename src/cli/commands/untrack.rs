//! `untrack`

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::drop::counted;
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::files::read_names;
use crate::cli::fleet::named_tenants;
use crate::cli::output::count;
use crate::cli::report::{self, FailedDocument, Summary};
use crate::cli::settings::WriteOptions;
use crate::model::{State, TenantName};
use crate::operations::{self, UntrackPlan, UntrackReport};
use crate::text::shell_words;

/// Remove tenants from the tracker, keeping their schemas
///
/// The schema and its migration ledger are not touched, so that adopt takes the tenant back. What is recorded about the
/// structure of the tenant and about an unfinished migration is deleted. A tenant that a run is working on is refused.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Names of the tenants
    #[arg(value_name = "NAME", required_unless_present = "from")]
    names: Vec<TenantName>,

    /// Read names from this file, one per line; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show which tenants would be removed from the tracker, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, names, from from);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut names = args.names;
    if let Some(path) = &args.from {
        names.extend(read_names(path, str::parse)?);
    }
    let tenancy = context.tenancy_if_chosen(&args.options.migrations)?.with_limits(args.options.limits.limits());
    let mut db = context.database_for_run(&args.options, None)?;
    let plan = operations::plan_untrack(&mut db, &tenancy, &names)?;
    let output = context.output();
    if args.dry_run {
        return show(context, &plan);
    }
    if !plan.untrack.is_empty() {
        let what = match plan.untrack.as_slice() {
            [(one, _)] => format!("tenant {one}"),
            many => counted(many.iter().map(|(name, _)| name.as_str())),
        };
        let question = format!("Remove {what} from the tracker of database {}? Schemas are kept. [y/N]", location(&db));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let report = db.untrack(&tenancy, plan, &context.stop())?;
    if output.is_json() {
        output.json(&Document::new(&report, context))?;
    }
    report::failures(context, &report.failed);
    if !report.kept_roles.is_empty() {
        let roles = report.kept_roles.join(", ");
        output.summary(format_args!("{} kept: {roles}", count(report.kept_roles.len(), "role")));
    }
    let exit = report::exit(report.ended.as_ref(), &report.failed, &report.not_reached);
    let mut summary = Summary::of(report.untracked.len(), "untracked")
        .with_failed(&report.failed)
        .with(report.not_reached.len(), "not reached");
    if exit != Exit::Done {
        summary = summary.of_run(report.run);
    }
    summary.print(output, exit);
    if !report.untracked.is_empty() {
        output.next(format_args!("'{}' takes a tenant back", context.command("adopt NAME")));
    }
    if !report.not_reached.is_empty() {
        let left: Vec<&str> = report.not_reached.iter().map(TenantName::as_str).collect();
        output.hint(format_args!("to resume: {}", context.command(&format!("untrack {}", shell_words(&left)))));
    }
    Ok(exit)
}

/// Shows a plan.
fn show(context: &Context, plan: &UntrackPlan) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&UntrackPlanDocument::new(plan, context))?;
    } else if !plan.untrack.is_empty() {
        let cells = |(name, state): &(TenantName, State)| vec![name.to_string(), state.to_string()];
        output.table(&["tenant", "state"], plan.untrack.iter().map(cells))?;
    }
    report::failures(context, &plan.failed);
    output.status(format_args!("{} would be untracked", count(plan.untrack.len(), "tenant")));
    Ok(if plan.failed.is_empty() { Exit::Done } else { Exit::Found })
}

/// The JSON of a dry run.
#[derive(Serialize)]
struct UntrackPlanDocument {
    untrack: Vec<String>,
    failed: Vec<FailedDocument>,
}

impl UntrackPlanDocument {
    fn new(plan: &UntrackPlan, context: &Context) -> Self {
        Self {
            untrack: plan.untrack.iter().map(|(name, _)| name.to_string()).collect(),
            failed: FailedDocument::all(&plan.failed, context),
        }
    }
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it; null if there was nothing to do.
    run: Option<i64>,
    untracked: Vec<String>,
    /// The roles of these tenants.
    kept_roles: Vec<String>,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
}

impl Document {
    fn new(report: &UntrackReport, context: &Context) -> Self {
        let names = |names: &[TenantName]| names.iter().map(TenantName::to_string).collect();
        Self {
            run: report.run,
            untracked: names(&report.untracked),
            kept_roles: report.kept_roles.clone(),
            failed: FailedDocument::all(&report.failed, context),
            not_reached: names(&report.not_reached),
        }
    }
}
