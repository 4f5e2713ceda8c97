//! `isolate`

pub(super) mod roles;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, Usage, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::output::count;
use crate::cli::selection::Matching;
use crate::cli::settings::{Connection, Migrations, RoleChoices, Timeouts};
use crate::model::{TenantId, TenantName};
use crate::rows::{self, IsolationPhase, IsolationPlan, IsolationStep, Layout, Obstacle, UnassignedRows};

/// Isolate tenants by roles, or their rows in shared tables
///
/// If tenants have schemas of their own, gives each tenant a login role with privileges in its schema alone, or corrects it.
/// The passwords of new roles are generated and shown once.
///
/// If tenants share tables, gives each table a tenant column, row-level security, and keys that begin with the tenant column, as far as the table
/// does not have them. Exempt is a table whose comment begins with 'tenantry: exempt': all tenants read its rows. On large
/// tables, indexes are built and constraints validated without blocking writes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Tenants with schemas of their own
    #[arg(value_name = "NAME", conflicts_with_all = ["all", "matching", "labels"])]
    names: Vec<TenantName>,

    /// All active tenants with schemas of their own
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    matching: Matching,

    /// Print the statements as a script, without passwords, and do not execute them
    #[arg(long)]
    dry_run: bool,

    /// Drop the roles; for shared tables, restore the keys, remove row-level security, and revoke the application's
    /// privileges: the tenant column remains
    #[arg(long, conflicts_with = "assign")]
    undo: bool,

    /// Tenant that rows without a tenant belong to, by its id in the registry
    #[arg(long, value_name = "ID")]
    assign: Option<TenantId>,

    #[command(flatten)]
    confirmation: ConfirmOption,

    #[command(flatten)]
    roles: RoleChoices,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    migrations: Migrations,

    #[command(flatten)]
    timeouts: Timeouts,
}

named_tenants!(Args, names);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut db = context.database(&args.connection)?;
    let Some(layout) = Layout::of(&mut db)? else { return roles::run(&args, db, context) };
    if !args.names.is_empty() || args.all || args.matching.is_any_given() || args.roles.is_any_given() {
        let message = "tenants, --all and options of roles apply to tenants with schemas of their own only";
        return Err(Usage::new("unexpected-option", message).into());
    }
    let output = context.output();
    let unassigned = args.assign.map_or(UnassignedRows::Refuse, UnassignedRows::AssignTo);
    let plan = if args.undo {
        rows::plan_undo(&mut db, &layout)?
    } else {
        rows::plan_isolation(&mut db, &layout, unassigned)?
    };
    let done = if args.undo { "the isolation is undone" } else { "all shared tables are isolated" };
    for Obstacle { table, message, hint } in &plan.obstacles {
        output.error(format_args!("{}.{table}: {message}", layout.schema));
        output.hint(hint);
    }
    if args.dry_run {
        if output.is_json() {
            output.json(&Document::new(&plan, ExecutedSteps::None))?;
        } else {
            output.script(script(&plan).iter().map(String::as_str))?;
        }
        output.summary(summary(&plan, "to execute; nothing was changed"));
        return Ok(if plan.obstacles.is_empty() { Exit::Done } else { Exit::Found });
    }
    if plan.is_empty() {
        if output.is_json() {
            output.json(&Document::new(&plan, ExecutedSteps::All))?;
        }
        output.status(done);
        return Ok(Exit::Done);
    }
    if plan.obstacles.is_empty() {
        let question = format!("execute {} in database {}? [y/N]", count(plan.steps.len(), "statement"), location(&db));
        args.confirmation.ask(&question, Answer::Yes)?;
    }
    let stop = context.stop();
    db.lock_fleet(None, Duration::ZERO, &stop, &mut |_| ())?;
    let limits = args.timeouts.limits();
    let observe = |step: &IsolationStep| output.detail(format_args!("{}", step.sql.lines().next().unwrap_or_default()));
    let plan = if args.undo {
        rows::undo_isolation(&mut db, &layout, &limits, &stop, observe)?
    } else {
        rows::isolate(&mut db, &layout, unassigned, &limits, &stop, observe)?
    };
    if output.is_json() {
        output.json(&Document::new(&plan, ExecutedSteps::All))?;
    }
    output.summary(summary(&plan, &format!("executed; {done}")));
    Ok(Exit::Done)
}

fn summary(plan: &IsolationPlan, outcome: &str) -> String {
    match plan.obstacles.len() {
        0 => format!("{} {outcome}", count(plan.steps.len(), "statement")),
        obstacles => format!("{} to resolve first; nothing was changed", count(obstacles, "obstacle")),
    }
}

/// The plan as a script for psql.
pub(super) fn script(plan: &IsolationPlan) -> Vec<String> {
    let mut lines = Vec::new();
    for (phase, steps) in plan.by_phase() {
        lines.push(format!("-- {phase}"));
        let is_transaction = phase.is_transaction();
        if is_transaction {
            lines.push("BEGIN;".to_owned());
        }
        lines.extend(steps.iter().map(|step| format!("{};", step.sql)));
        if is_transaction {
            lines.push("COMMIT;".to_owned());
        }
    }
    lines
}

/// Which of the steps were executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExecutedSteps {
    None,
    All,
}

#[derive(Serialize)]
struct Document {
    executed: bool,
    statements: Vec<IsolatingStatementDocument>,
    obstacles: Vec<ObstacleDocument>,
}

#[derive(Serialize)]
struct IsolatingStatementDocument {
    /// `set-up`, `prepare`, `assign`, `build`, `switch`, `validate` or `clean-up`.
    phase: &'static str,
    /// The table; null for roles, schemas and functions.
    table: Option<String>,
    sql: String,
}

#[derive(Serialize)]
struct ObstacleDocument {
    table: String,
    message: String,
    hint: String,
}

impl Document {
    fn new(plan: &IsolationPlan, execution: ExecutedSteps) -> Self {
        let statement = |step: &IsolationStep| IsolatingStatementDocument {
            phase: match step.phase {
                IsolationPhase::SetUp => "set-up",
                IsolationPhase::Prepare => "prepare",
                IsolationPhase::Assign => "assign",
                IsolationPhase::Build => "build",
                IsolationPhase::Switch => "switch",
                IsolationPhase::Validate => "validate",
                IsolationPhase::CleanUp => "clean-up",
            },
            table: step.table.clone(),
            sql: step.sql.clone(),
        };
        let obstacle = |Obstacle { table, message, hint }: &Obstacle| ObstacleDocument {
            table: table.clone(),
            message: message.clone(),
            hint: hint.clone(),
        };
        Self {
            executed: execution == ExecutedSteps::All,
            statements: plan.steps.iter().map(statement).collect(),
            obstacles: plan.obstacles.iter().map(obstacle).collect(),
        }
    }
}
