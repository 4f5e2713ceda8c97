//! `drop`

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::dump::BackupOptions;
use super::rows::{self, DropOptions};
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, Usage, location};
use crate::cli::exit::Exit;
use crate::cli::files::read_names;
use crate::cli::fleet::named_tenants;
use crate::cli::output::{Output, count, size, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, ErrorDocument, FailedDocument, Summary, stop_reason};
use crate::cli::request::{DropRequest, Request};
use crate::cli::resume::SHORT;
use crate::cli::settings::{Jobs, WriteOptions, keep};
use crate::model::{SchemaName, TenantName};
use crate::operations::{self, DropPlan, DropReport, Dropping, IfMissing, InSteps, Untracked};
use crate::text::shell_words;

/// Drop tenants with all their data
///
/// Drops the schema with everything in it and deletes the tracker row, in one transaction. A tenant that is too large for
/// one transaction is dropped in several, with the state dropping.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Names of the tenants
    #[arg(value_name = "NAME", required_unless_present = "from")]
    names: Vec<SchemaName>,

    /// Read names from this file, one per line; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    #[command(flatten)]
    confirmation: ConfirmOption,

    /// Show what would be dropped, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Ignore tenants that do not exist
    #[arg(long)]
    if_exists: bool,

    /// Also drop schemas that are not tracked
    #[arg(long)]
    untracked: bool,

    /// Archive the tenants, and let 'purge' drop them after this time
    #[arg(long, value_name = "TIME", value_parser = keep, conflicts_with_all = ["untracked", "backup"])]
    grace: Option<humantime::Duration>,

    #[command(flatten)]
    backup: BackupOptions,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: WriteOptions,
}

named_tenants!(Args, names, from from);

impl Args {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut names = args.names;
    if let Some(path) = &args.from {
        names.extend(read_names(path, str::parse)?);
    }
    let tenancy = context.tenancy_if_chosen(&args.options.migrations)?.with_limits(args.options.limits.limits());
    let mut db = context.database_for_run(&args.options, Some(&args.jobs))?;
    let if_missing = if args.if_exists { IfMissing::Accept } else { IfMissing::Fail };
    if let Some(layout) = rows::layout(&mut db)? {
        let names: Vec<String> = names.iter().map(SchemaName::to_string).collect();
        for (option, is_given) in [("grace", args.grace.is_some()), ("backup", args.backup.backup.is_some())] {
            if is_given {
                let message = format!("--{option} applies to tenants with schemas of their own only");
                return Err(Usage::new("unexpected-option", message).into());
            }
        }
        let options = DropOptions { dry_run: args.dry_run, confirmation: args.confirmation, if_missing };
        return rows::drop(context, &mut db, (&tenancy, &layout), &names, options);
    }
    args.backup.check(&db)?;
    let untracked = if args.untracked { Untracked::Drop } else { Untracked::Refuse };
    let plan = operations::plan_drop(&mut db, &tenancy, &names, untracked, if_missing)?;
    let output = context.output();
    warn_of_kept_roles(output, &plan);
    if args.dry_run {
        context.show_migrations(&tenancy);
        if output.is_json() {
            output.json(&PlanDocument::new(&plan, context))?;
        } else if !plan.drops.is_empty() {
            output.table(&head(&plan), plan.drops.iter().map(cells))?;
        }
        warn_of_steps(output, &plan);
        show_roles(output, &plan);
        report::failures(context, &plan.failed);
        let verb =
            args.grace.map_or_else(|| "dropped".to_owned(), |grace| format!("archived, and dropped after {grace}"));
        output.status(format_args!("{} would be {verb}", count(plan.drops.len(), "tenant")));
        return Ok(if plan.failed.is_empty() { Exit::Done } else { Exit::Found });
    }
    if !plan.drops.is_empty() {
        if args.confirmation.is_asked() {
            context.show_migrations_before_prompt(&tenancy);
            show(output, &plan);
        }
        let (what, location) = (what(&plan.drops), location(&db));
        let question = match args.grace {
            Some(grace) => format!("Archive {what} in database {location}, to be dropped after {grace}? [y/N]"),
            None => format!("Drop {what} from database {location}? [y/N]"),
        };
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    if let Some(grace) = args.grace {
        let names = plan.drops.iter().map(|it| it.name.as_str().parse()).collect::<Result<Vec<TenantName>, _>>()?;
        return super::archive::archive(context, &mut db, &tenancy, &names, Some(grace.into()), plan.failed);
    }
    let settings = context.settings_request();
    db.set_request(Request::Drop(DropRequest { untracked: args.untracked, settings }).to_json()?);
    let mut progress = Progress::new(output, "dropped")
        .leaving(left_by_abort(&plan))
        .resumed_by("repeat the command with --if-exists to resume");
    let report = args.backup.drop_tenants(context, &mut db, &tenancy, plan, &mut progress)?;
    std::mem::drop(progress);
    if output.is_json() {
        output.json(&ReportDocument::new(&report, context))?;
    }
    let exit = print_report(context, &report)?;
    let left = report.to_try_again();
    match left.len() {
        0 => {}
        1..=SHORT => {
            let untracked = if args.untracked { " --untracked" } else { "" };
            let line = format!("drop {}{untracked}{}", shell_words(&left), args.backup.as_words());
            output.hint(format_args!("to resume: {}", context.command(&line)));
        }
        _ => output.hint("to resume: repeat the command with --if-exists"),
    }
    Ok(exit)
}

/// The tenants to drop, for the confirmation prompt.
fn what(drops: &[Dropping]) -> String {
    match drops {
        [one] if one.tracked => format!("tenant {} and all its data", one.name),
        [one] => format!("untracked schema {} and all its data", one.name),
        many => format!("{} and all their data", counted(many.iter().map(|dropping| dropping.name.as_str()))),
    }
}

/// The number of tenants and the first names.
pub(super) fn counted<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const NAMED: usize = 3;
    let all = names.len();
    let first: Vec<&str> = names.take(NAMED).collect();
    let rest = if all > NAMED { ", …" } else { "" };
    format!("{} ({}{rest})", count(all, "tenant"), first.join(", "))
}

/// Shows on standard error what would be dropped, before the confirmation.
pub(super) fn show(output: &Output, plan: &DropPlan) {
    /// The other rows are counted; a dry run shows them.
    const SHOWN: usize = 20;
    if !plan.drops.is_empty() {
        output.table_aside(&head(plan), plan.drops.iter().take(SHOWN).map(cells));
    }
    if plan.drops.len() > SHOWN {
        output.summary(format_args!("… and {} more; --dry-run shows all", thousands(plan.drops.len() - SHOWN)));
    }
    warn_of_steps(output, plan);
    show_roles(output, plan);
    if !plan.failed.is_empty() {
        let names: Vec<&str> = plan.failed.iter().map(|failed| failed.tenant.as_str()).collect();
        output.warning(format_args!("cannot be dropped: {}", names.join(", ")));
    }
}

/// Shows which roles are dropped with their tenants, and which are kept.
pub(super) fn show_roles(output: &Output, plan: &DropPlan) {
    let roles: Vec<&str> = plan.drops.iter().filter_map(Dropping::role).collect();
    if !roles.is_empty() {
        let named = if roles.len() <= SHORT { format!(": {}", roles.join(", ")) } else { String::new() };
        output.summary(format_args!("with {}{named}", count(roles.len(), "role")));
    }
}

/// Warns of roles that are kept.
pub(super) fn warn_of_kept_roles(output: &Output, plan: &DropPlan) {
    if !plan.kept_roles.is_empty() {
        let roles = plan.kept_roles.join(", ");
        output.warning(format_args!("kept, because they are not marked as the tenants' roles: {roles}"));
    }
}

/// Warns of tenants that are too large to be dropped in one transaction.
pub(super) fn warn_of_steps(output: &Output, plan: &DropPlan) {
    let large: Vec<&str> = plan
        .drops
        .iter()
        .filter(|dropping| plan.goes_in_steps(dropping))
        .map(|dropping| dropping.name.as_str())
        .collect();
    if !large.is_empty() {
        output.warning(format_args!(
            "too large for one transaction, dropped in several: {}; an interrupted drop can be resumed",
            large.join(", ")
        ));
    }
}

/// A remark on what an aborted run may leave of a tenant.
pub(super) fn left_by_abort(plan: &DropPlan) -> &'static str {
    let is_any_large = plan.drops.iter().any(|dropping| plan.goes_in_steps(dropping));
    if is_any_large { " (a large one may be partly dropped)" } else { "" }
}

pub(super) fn head(plan: &DropPlan) -> [&'static str; 5] {
    let size = if plan.sizes_estimated { "size (estimated)" } else { "size" };
    ["tenant", "tracked", "tables", "rows (estimated)", size]
}

pub(super) fn cells(dropping: &Dropping) -> Vec<String> {
    let tracked = if dropping.tracked { "yes" } else { "no" }.to_owned();
    match &dropping.schema {
        Some(schema) => vec![
            dropping.name.to_string(),
            tracked,
            thousands(schema.tables),
            thousands(schema.estimated_rows),
            size(schema.bytes),
        ],
        None => vec![dropping.name.to_string(), tracked, "no schema".to_owned(), "-".to_owned(), "-".to_owned()],
    }
}

/// Prints what was dropped. Returns the exit status for it.
pub(super) fn print_report(context: &Context, report: &DropReport) -> Result<Exit> {
    let output = context.output();
    report::failures(context, &report.failed);
    for name in &report.missing {
        output.status(format_args!("{name} does not exist"));
    }
    report::lost(context, report.ended.as_ref());
    for (name, file) in &report.backups {
        output.status(format_args!("{name} backed up to {}", file.display()));
    }
    for InSteps { name, transactions } in &report.in_steps {
        output.status(format_args!("{name} dropped in {}", count(*transactions as usize, "transaction")));
    }
    for name in &report.unfinished {
        output.warning(format_args!("{name} is partly dropped; repeat the drop to complete it"));
    }
    let exit = report::exit(report.ended.as_ref(), &report.failed, &report.not_reached);
    let mut summary = Summary::of(report.dropped.len(), "dropped")
        .with_failed(&report.failed)
        .with(report.unfinished.len(), "partly dropped")
        .with(report.not_reached.len(), "not reached");
    if exit != Exit::Done {
        summary = summary.of_run(report.run);
    }
    summary.print(output, exit);
    Ok(exit)
}

/// The JSON of a plan.
#[derive(Serialize)]
pub(super) struct PlanDocument {
    drops: Vec<DroppingDocument>,
    /// Whether `bytes` are estimates: for more than 500 schemas, or where a session held a lock on a table.
    sizes_estimated: bool,
    missing: Vec<String>,
    failed: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct DroppingDocument {
    name: String,
    tracked: bool,
    /// Whether the schema exists, not only the tracker row.
    schema: bool,
    tables: i64,
    estimated_rows: i64,
    bytes: i64,
    /// Whether it is too large for one transaction and is dropped in several.
    in_steps: bool,
    /// The tenant's role, which is dropped, too; null if it has none.
    role: Option<String>,
}

impl PlanDocument {
    pub(super) fn new(plan: &DropPlan, context: &Context) -> Self {
        let dropping = |dropping: &Dropping| DroppingDocument {
            name: dropping.name.to_string(),
            tracked: dropping.tracked,
            schema: dropping.schema.is_some(),
            tables: dropping.schema.map_or(0, |schema| schema.tables),
            estimated_rows: dropping.schema.map_or(0, |schema| schema.estimated_rows),
            bytes: dropping.schema.map_or(0, |schema| schema.bytes),
            in_steps: plan.goes_in_steps(dropping),
            role: dropping.role().map(str::to_owned),
        };
        Self {
            drops: plan.drops.iter().map(dropping).collect(),
            sizes_estimated: plan.sizes_estimated,
            missing: plan.missing.clone(),
            failed: FailedDocument::all(&plan.failed, context),
        }
    }
}

/// The JSON of a drop.
#[derive(Serialize)]
pub(super) struct ReportDocument {
    /// The id of the run, as `runs` shows it; null if there was nothing to drop, or runs are not recorded.
    run: Option<i64>,
    dropped: Vec<String>,
    /// The archives of dropped tenants, with --backup.
    backups: Vec<BackupDocument>,
    /// The dropped tenants that were too large for one transaction.
    in_steps: Vec<InStepsDocument>,
    missing: Vec<String>,
    failed: Vec<FailedDocument>,
    /// Tenants that are partly dropped.
    unfinished: Vec<String>,
    not_reached: Vec<String>,
    stop_reason: Option<&'static str>,
    /// The error, if `stop_reason` is `lost`.
    error: Option<ErrorDocument>,
}

#[derive(Serialize)]
struct BackupDocument {
    name: String,
    file: String,
}

#[derive(Serialize)]
struct InStepsDocument {
    name: String,
    transactions: u32,
}

impl ReportDocument {
    pub(super) fn new(report: &DropReport, context: &Context) -> Self {
        Self {
            run: report.run,
            dropped: report.dropped.iter().map(SchemaName::to_string).collect(),
            backups: report
                .backups
                .iter()
                .map(|(name, file)| BackupDocument { name: name.to_string(), file: file.display().to_string() })
                .collect(),
            in_steps: report
                .in_steps
                .iter()
                .map(|it| InStepsDocument { name: it.name.to_string(), transactions: it.transactions })
                .collect(),
            missing: report.missing.clone(),
            failed: FailedDocument::all(&report.failed, context),
            unfinished: report.unfinished.iter().map(SchemaName::to_string).collect(),
            not_reached: report.not_reached.iter().map(SchemaName::to_string).collect(),
            stop_reason: report.ended.as_ref().map(stop_reason),
            error: ErrorDocument::of_run(report.ended.as_ref(), context),
        }
    }
}
