//! `move NAME… --to SERVER`

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::{FailedMove, MoveSetting};
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::output::{count, size};
use crate::cli::settings::{WriteOptions, duration};
use crate::model::TenantName;
use crate::moves::{MoveMethod, MoveOptions, MovePlan, MovedTenant, VerifyRows};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct StartArgs {
    /// Names of the tenants
    #[arg(value_name = "NAME", required = true)]
    names: Vec<TenantName>,

    /// Server to move them to
    #[arg(long, value_name = "SERVER", required = true)]
    to: Option<String>,

    /// How rows are moved; auto replicates where the servers allow it, and else copies
    #[arg(long, value_name = "METHOD", default_value = "auto")]
    method: MethodOption,

    #[command(flatten)]
    pause: PauseOption,

    /// When rows are compared: while writes are blocked, or after the switch
    #[arg(long, value_name = "WHEN", default_value = "after")]
    verify: VerifyOption,

    #[command(flatten)]
    keep: KeepOption,

    /// Check whether the tenants can be moved, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    options: WriteOptions,
}

/// How long writes may be blocked.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PauseOption {
    /// Longest time that writes are blocked [default: 2s for a replication, no limit for a copy]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) max_pause: Option<humantime::Duration>,
}

/// How long the old schema is kept.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct KeepOption {
    /// How long 'move finish' without names keeps the old schema
    #[arg(long, value_name = "TIME", default_value = "7days", value_parser = duration)]
    pub(super) keep_source: humantime::Duration,
}

impl PauseOption {
    pub(super) fn duration(&self) -> Option<std::time::Duration> {
        self.max_pause.map(Into::into)
    }
}

impl KeepOption {
    /// In seconds.
    pub(super) fn seconds(&self) -> i64 {
        i64::try_from(self.keep_source.as_secs()).unwrap_or(i64::MAX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodOption {
    Auto,
    Copy,
    Replicate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerifyOption {
    Before,
    After,
}

impl StartArgs {
    fn options(&self) -> MoveOptions {
        let method = match self.method {
            MethodOption::Auto => None,
            MethodOption::Copy => Some(MoveMethod::Copy),
            MethodOption::Replicate => Some(MoveMethod::Replicate),
        };
        let verify = match self.verify {
            VerifyOption::Before => VerifyRows::Before,
            VerifyOption::After => VerifyRows::After,
        };
        MoveOptions { method, verify, keep_source: self.keep.seconds() }
    }
}

pub(super) fn run(args: &StartArgs, context: &Context) -> Result<Exit> {
    let to = args.to.as_deref().ok_or_else(|| Usage::new("usage", "--to is missing"))?;
    let mut setting = MoveSetting::new(context, &args.options)?;
    let target = setting.directory.server(to)?.clone();
    let options = args.options();
    if args.dry_run {
        let mut plans = Vec::new();
        for name in &args.names {
            plans.push(setting.with_mover(None, |mover| mover.plan(name, &target, &options))?);
        }
        return show_plans(context, &plans);
    }
    let mut moved = Vec::new();
    let outcome = setting.each(
        &args.names,
        args.pause.duration(),
        |mover, name| {
            let plan = mover.plan(name, &target, &options)?;
            let done = mover.start(&plan, &options)?;
            Ok((plan.source.name.to_string(), done))
        },
        |context, _, (from, done)| {
            show(context, &done, target.name.as_str());
            moved.push(MovedDocument::new(&done, &from, target.name.as_str()));
        },
    )?;
    if context.output().is_json() {
        context.output().json(&Document { moved, failed: &outcome.failed, not_reached: &outcome.not_reached })?;
    }
    Ok(outcome.exit())
}

/// Shows a tenant that was moved.
pub(super) fn show(context: &Context, done: &MovedTenant, to: &str) {
    let output = context.output();
    let blocked = done.blocked.map(|blocked| format!(", writes blocked for {} ms", blocked.as_millis()));
    let verified = if done.verified { "rows compared" } else { "rows not compared" };
    let method = done.method.as_str();
    output.status(format_args!(
        "{} moved to server {to} ({method}{}, {verified})",
        done.tenant,
        blocked.unwrap_or_default()
    ));
    done.remarks.iter().for_each(|remark| output.warning(remark));
}

fn show_plans(context: &Context, plans: &[MovePlan]) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&MovePlanDocument { plans: plans.iter().map(PlannedMove::new).collect() })?;
    } else {
        let rows = plans.iter().map(|plan| {
            vec![
                plan.tenant.to_string(),
                plan.source.name.to_string(),
                plan.target.name.to_string(),
                plan.method.as_str().to_owned(),
                plan.tables.to_string(),
                size(plan.bytes),
            ]
        });
        output.table(&["tenant", "from", "to", "method", "tables", "size"], rows)?;
    }
    for plan in plans {
        plan.problems.iter().for_each(|problem| output.error(format_args!("tenant {}: {problem}", plan.tenant)));
        if plan.method == MoveMethod::Copy {
            let missing = plan.missing.iter();
            missing.for_each(|missing| output.status(format_args!("{}: not replicated: {missing}", plan.tenant)));
        }
    }
    let failed = plans.iter().filter(|plan| !plan.problems.is_empty()).count();
    let movable = plans.len() - failed;
    output.status(format_args!("{} would be moved, {failed} cannot be moved", count(movable, "tenant")));
    Ok(if failed == 0 { Exit::Done } else { Exit::Found })
}

#[derive(Serialize)]
struct Document<'a> {
    moved: Vec<MovedDocument>,
    failed: &'a [FailedMove],
    /// The tenants that an interrupted command did not reach.
    not_reached: &'a [String],
}

/// The JSON of a tenant that was moved.
#[derive(Serialize)]
pub(super) struct MovedDocument {
    tenant: String,
    from: String,
    to: String,
    /// `copy`, `replicate` or `back`.
    method: &'static str,
    /// How long writes were blocked; null if an earlier command blocked them.
    blocked_ms: Option<u64>,
    /// Whether the rows of both servers were compared.
    verified: bool,
    /// What is to be done besides.
    remarks: Vec<String>,
}

impl MovedDocument {
    pub(super) fn new(done: &MovedTenant, from: &str, to: &str) -> Self {
        Self {
            tenant: done.tenant.to_string(),
            from: from.to_owned(),
            to: to.to_owned(),
            method: done.method.as_str(),
            blocked_ms: done.blocked.map(|blocked| u64::try_from(blocked.as_millis()).unwrap_or(u64::MAX)),
            verified: done.verified,
            remarks: done.remarks.clone(),
        }
    }
}

#[derive(Serialize)]
struct MovePlanDocument {
    plans: Vec<PlannedMove>,
}

#[derive(Serialize)]
struct PlannedMove {
    tenant: String,
    from: String,
    to: String,
    /// The method that would be used.
    method: &'static str,
    tables: usize,
    bytes: i64,
    /// Why it cannot be moved.
    problems: Vec<String>,
    /// What is missing for a replication.
    missing: Vec<String>,
}

impl PlannedMove {
    fn new(plan: &MovePlan) -> Self {
        Self {
            tenant: plan.tenant.to_string(),
            from: plan.source.name.to_string(),
            to: plan.target.name.to_string(),
            method: plan.method.as_str(),
            tables: plan.tables,
            bytes: plan.bytes,
            problems: plan.problems.clone(),
            missing: plan.missing.clone(),
        }
    }
}
