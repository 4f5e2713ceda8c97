//! `adopt`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument, Summary, stop_reason};
use crate::cli::settings::{Jobs, WriteOptions};
use crate::migration::Version;
use crate::model::TenantName;
use crate::operations::{self, Adopted};

/// Add existing schemas to the tracker, unchanged
///
/// With --baseline, the migrations up to it are recorded as applied in the schema's migration ledger, and are not run. A
/// schema that has objects but no ledger requires a baseline. The command can be repeated: it reports tenants that are
/// adopted already as unchanged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Schemas to adopt
    #[arg(value_name = "NAME", required = true)]
    names: Vec<TenantName>,

    /// The newest migration that the schemas already contain: a version, or a unique beginning or end of a folder name
    #[arg(long, value_name = "VERSION")]
    baseline: Option<String>,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: WriteOptions,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy(&args.options.migrations)?.with_limits(args.options.limits.limits());
    let mut db = context.database_for_run(&args.options, Some(&args.jobs))?;
    let output = context.output();
    let mut progress = Progress::new(output, "adopted");
    let baseline = args.baseline.as_deref().map(|baseline| tenancy.version_of(baseline)).transpose()?;
    let baseline = baseline.as_ref();
    let report = operations::adopt(&mut db, &tenancy, &args.names, baseline, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        output.json(&Document::new(&report, context))?;
    }
    report::failures(context, &report.failed);
    report::lost(context, report.ended.as_ref());
    let recorded = match report.recorded {
        0 => String::new(),
        n => format!(" (with {} recorded as applied)", count(n, "migration")),
    };
    let mut summary = Summary::of(report.adopted.len(), "adopted")
        .remark(&recorded)
        .with_failed(&report.failed)
        .with(report.unchanged.len(), "unchanged")
        .with(report.not_reached.len(), "not reached");
    let exit = report::exit(report.ended.as_ref(), &report.failed, &report.not_reached);
    if exit != Exit::Done {
        summary = summary.of_run(report.run);
    }
    summary.print(output, exit);
    if !report.adopted.is_empty() {
        output.next(format_args!("'{}' shows pending migrations and drift", context.command("health-check")));
    }
    if let Some(again) = again(&report, baseline) {
        output.hint(format_args!("to retry: {}", context.command(&again)));
    }
    Ok(exit)
}

/// The command that adopts the remaining schemas, if repeating it may help.
fn again(report: &Adopted, baseline: Option<&Version>) -> Option<String> {
    let left = report.to_try_again();
    if left.is_empty() {
        return None;
    }
    let baseline = baseline.map_or(String::new(), |baseline| format!(" --baseline {baseline}"));
    Some(format!("adopt {}{baseline}", left.join(" ")))
}

#[derive(Serialize)]
struct Document {
    /// The id of the run, as `runs` shows it; null if there was nothing to do.
    run: Option<i64>,
    adopted: Vec<String>,
    /// Active tenants whose ledger agrees with the baseline.
    unchanged: Vec<String>,
    /// How many migrations each ledger was given.
    recorded: usize,
    failed: Vec<FailedDocument>,
    not_reached: Vec<String>,
    /// Why the run stopped early: `interrupted`, `lost`, or null.
    stop_reason: Option<&'static str>,
}

impl Document {
    fn new(report: &Adopted, context: &Context) -> Self {
        Self {
            run: report.run,
            adopted: report.adopted.iter().map(TenantName::to_string).collect(),
            unchanged: report.unchanged.iter().map(TenantName::to_string).collect(),
            recorded: report.recorded,
            failed: FailedDocument::all(&report.failed, context),
            not_reached: report.not_reached.iter().map(TenantName::to_string).collect(),
            stop_reason: report.ended.as_ref().map(stop_reason),
        }
    }
}
