//! `adopt`

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::rows;
use crate::cli::compare::accepted_by_file;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::files::read_names;
use crate::cli::fleet::named_tenants;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, ErrorDocument, FailedDocument, Summary, stop_reason};
use crate::cli::resume::SHORT;
use crate::cli::settings::{Jobs, WriteOptions};
use crate::migration::Version;
use crate::model::TenantName;
use crate::operations::{self, AdoptOptions, AdoptPreview, Adopted, SchemaContents};
use crate::text::{shell_word, shell_words};

/// Add existing schemas to the tracker, unchanged
///
/// With --baseline, the migrations up to it are recorded as applied in the schema's migration ledger, and are not run. A
/// schema that has objects but no ledger requires a baseline. The command can be repeated: it reports tenants that are
/// adopted already as unchanged.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Schemas to adopt
    #[arg(value_name = "NAME", required_unless_present = "from")]
    names: Vec<TenantName>,

    /// Read names from this file, one per line; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The newest migration that the schemas already contain: a version, or a unique beginning or end of a folder name
    #[arg(long, value_name = "VERSION")]
    baseline: Option<String>,

    /// Replace the baseline that an earlier adopt recorded, unless a run has changed the tenant's migrations since
    #[arg(long, requires = "baseline")]
    rebaseline: bool,

    /// Refuse a schema whose structure differs from what the migrations up to the baseline produce
    #[arg(long)]
    verify: bool,

    /// Show what would be recorded and what prevents it, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, names, from from);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut names = args.names.clone();
    if let Some(path) = &args.from {
        names.extend(read_names(path, str::parse)?);
    }
    let verify = if args.verify { Some(accepted_by_file()?) } else { None };
    let tenancy = context.tenancy(&args.options.migrations)?.with_limits(args.options.limits.limits());
    let baseline = args.baseline.as_deref().map(|baseline| tenancy.version_of(baseline)).transpose()?;
    let options = AdoptOptions { baseline: baseline.clone(), replace_baseline: args.rebaseline, verify };
    let mut db = context.database_for_run(&args.options, Some(&args.jobs))?;
    rows::require_schemas(&mut db, "adopt")?;
    let plan = operations::plan_adopt(&mut db, &tenancy, &names, &options)?;
    if args.dry_run {
        context.show_migrations(&tenancy);
        return show(context, &plan.preview(&mut db, &tenancy)?);
    }
    let output = context.output();
    let mut progress = Progress::new(output, "adopted");
    let report = operations::adopt(&mut db, &tenancy, plan, &context.stop(), &mut progress)?;
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
    if let Some(again) = args.again(&report, baseline.as_ref()) {
        output.hint(format_args!("to retry: {}", context.command(&again)));
    }
    Ok(exit)
}

impl Args {
    /// The command that adopts the remaining schemas, if repeating it may help.
    fn again(&self, report: &Adopted, baseline: Option<&Version>) -> Option<String> {
        let left = report.to_try_again();
        let names = match &self.from {
            _ if left.is_empty() => return None,
            Some(path) if left.len() > SHORT && path != Path::new("-") => {
                format!("--from {}", shell_word(&path.display().to_string()))
            }
            _ => shell_words(&left),
        };
        let baseline = baseline.map_or(String::new(), |baseline| format!(" --baseline {baseline}"));
        let rebaseline = if self.rebaseline { " --rebaseline" } else { "" };
        let verify = if self.verify { " --verify" } else { "" };
        Some(format!("adopt {names}{baseline}{rebaseline}{verify}"))
    }
}

/// Shows what would be done.
fn show(context: &Context, preview: &AdoptPreview) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&PreviewDocument::new(preview, context))?;
    } else if !preview.adopt.is_empty() {
        let cells = |schema: &SchemaContents| {
            let SchemaContents { name, tables, views, sequences, functions } = schema;
            let numbers = [tables, views, sequences, functions].map(|number| thousands(*number));
            [name.to_string()].into_iter().chain(numbers).chain([thousands(preview.recorded)]).collect()
        };
        let head = ["tenant", "tables", "views", "sequences", "functions", "recorded"];
        output.table(&head, preview.adopt.iter().map(cells))?;
    }
    report::failures(context, &preview.failed);
    let mut summary = format!("{} would be adopted", count(preview.adopt.len(), "schema"));
    for (number, what) in [(preview.unchanged.len(), "unchanged"), (preview.failed.len(), "refused")] {
        if number > 0 {
            summary.push_str(&format!(", {} {what}", thousands(number)));
        }
    }
    output.status(summary);
    Ok(if preview.failed.is_empty() { Exit::Done } else { Exit::Found })
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
    /// The error, if `stop_reason` is `lost`.
    error: Option<ErrorDocument>,
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
            error: ErrorDocument::of_run(report.ended.as_ref(), context),
        }
    }
}

/// The JSON of a dry run.
#[derive(Serialize)]
struct PreviewDocument {
    adopt: Vec<SchemaDocument>,
    unchanged: Vec<String>,
    failed: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct SchemaDocument {
    name: String,
    /// Without the ledger.
    tables: i64,
    views: i64,
    sequences: i64,
    functions: i64,
    /// The number of migrations that would be recorded in the ledger.
    recorded: usize,
}

impl PreviewDocument {
    fn new(preview: &AdoptPreview, context: &Context) -> Self {
        let schema = |schema: &SchemaContents| SchemaDocument {
            name: schema.name.to_string(),
            tables: schema.tables,
            views: schema.views,
            sequences: schema.sequences,
            functions: schema.functions,
            recorded: preview.recorded,
        };
        Self {
            adopt: preview.adopt.iter().map(schema).collect(),
            unchanged: preview.unchanged.iter().map(TenantName::to_string).collect(),
            failed: FailedDocument::all(&preview.failed, context),
        }
    }
}
