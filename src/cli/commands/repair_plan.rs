//! `repair-plan`

mod shared;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::diff::DifferenceDocument;
use crate::cli::compare::{CompareOptions, report_unused};
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::output::count;
use crate::cli::settings::{ReadOptions, StatementTimeout};
use crate::error::Error;
use crate::model::TenantName;
use crate::rows::Layout;
use crate::schema::drift::repair::{Options, Plan, ScriptContext, Trial, Verification, plan, verify};
use crate::schema::drift::{self, Diff, Difference};
use crate::schema::reference::Source;
use crate::tenants::Limits;

/// Print SQL that repairs drift or the isolation of tenants
///
/// The plan creates missing objects, changes those that differ, and drops unexpected ones if that loses no data. Statements
/// that would lose data are comments, unless --allow-data-loss is given. The differences that would remain are listed. The
/// exit code is 1 if one of them makes 'diff' fail by default.
///
/// Before the plan is printed, it runs in a transaction that is rolled back. The transaction takes the locks that the
/// repair needs. It waits at most 2 seconds for each lock. Each statement may take 30 seconds, or --statement-timeout. To
/// repair the tenant: repair-plan NAME | psql -v ON_ERROR_STOP=1 "$DATABASE_URL".
///
/// If tenants share tables, there is no NAME, and the plan fixes the findings of 'health-check' about their isolation. It is
/// not run first. What no statement can fix is a comment; the exit code is then 1, unless it is only a warning.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant; omitted if tenants share tables
    name: Option<TenantName>,

    #[command(flatten)]
    comparing: CompareOptions,

    /// Print the plan without running it in a transaction first
    #[arg(long)]
    no_verify: bool,

    /// Include statements that lose data, each after a comment that names the data
    #[arg(long, conflicts_with = "no_verify")]
    allow_data_loss: bool,

    #[command(flatten)]
    timeout: StatementTimeout,

    #[command(flatten)]
    options: ReadOptions,
}

named_tenants!(Args, one name);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let accepted = args.comparing.accepted()?;
    let source = args.comparing.source(context)?;
    let (tenancy, mut db) = context.comparing(&args.options, None)?;
    let name = match (Layout::of(&mut db)?, &args.name) {
        (Some(layout), None) => return shared::run(&mut db, &layout, &accepted, &args.options.connection, context),
        (Some(_), Some(_)) => {
            let message = "the tenants of this database share tables: there is no NAME";
            return Err(Usage::with_hint(
                "unexpected-tenant",
                message,
                format!("run '{}'", context.command("repair-plan")),
            )
            .into());
        }
        (None, Some(name)) => name,
        (None, None) => {
            return Err(Usage::with_hint(
                "missing-argument",
                "no tenant specified",
                "repair-plan NAME; 'list' shows the tenants",
            )
            .into());
        }
    };
    let statement_timeout = args.timeout.statement_timeout.map(Duration::from);
    let tenancy = tenancy.with_limits(Limits { statement_timeout, ..Limits::default() });
    db.require_tracker(&tenancy)?;
    if !args.no_verify && db.server().in_recovery {
        return Err(Error::Standby.into());
    }
    let compared = drift::against_reference(&mut db, &tenancy, name, &source)?;
    let Diff { own_name, mut differences } = compared.diff();
    let is_accepted = |difference: &Difference| accepted.accepts(name.as_str(), &own_name, difference);
    differences.retain(|difference| !is_accepted(difference));
    let output = context.output();
    let allow_data_loss = args.allow_data_loss;
    let options = Options { version: db.server().version, allow_data_loss };
    let mut planned = plan(&compared, &differences, options);
    if !args.no_verify && !planned.is_empty() {
        let trial = Trial { tenancy: &tenancy, name, compared: &compared, accepted: &is_accepted, allow_data_loss };
        planned = verify(&mut db, &trial, planned)?;
    }
    report_unused(&accepted, output);
    match (output.is_json(), &planned.verification) {
        (true, _) => output.json(&Document::new(name, &planned, &own_name))?,
        // A pipe must not run a plan that should have been verified and was not.
        (false, Verification::Blocked(_)) => {}
        (false, _) => output.script(planned.script(&ScriptContext {
            tenant: name.as_str(),
            own_name: &own_name,
            database: &db.server().database,
            reference: &reference_description(&source, compared.applied.len()),
            path: &tenancy.path(name.schema()).set_for_transaction(),
        }))?,
    }
    report(&planned, name, &args, &own_name, context);
    let fails = planned.remaining.iter().any(|difference| difference.level.fails_by_default());
    Ok(if fails || matches!(planned.verification, Verification::Blocked(_)) { Exit::Found } else { Exit::Done })
}

fn reference_description(source: &Source, migrations: usize) -> String {
    match source {
        Source::Migrations => format!("the result of its {}", count(migrations, "migration")),
        Source::Tenant(name) => format!("tenant {name}"),
        Source::File(path) => format!("the reference in {}", path.display()),
    }
}

fn report(plan: &Plan, name: &TenantName, args: &Args, own_name: &str, context: &Context) {
    let output = context.output();
    let mut command = args.comparing.repair_plan(name, context);
    if args.allow_data_loss {
        command += " --allow-data-loss";
    }
    let without: Vec<&Difference> = plan.remaining_without_statement().collect();
    for difference in &plan.remaining {
        let summary = difference.summary(own_name);
        let outcome = if without.contains(&difference) { "not repaired" } else { "left as a comment" };
        output.warning(format_args!("{name}: {summary}: {outcome}"));
    }
    let (statements, left) = (plan.running().count(), plan.remaining.len());
    match &plan.verification {
        Verification::Blocked(sql) => {
            let first = sql.lines().next().unwrap_or_default();
            output.error(format_args!(
                "{name}: plan not verified: another session holds a lock that this statement needs: {first}"
            ));
            output.hint(format_args!("run '{command}' again when that session has ended, or add --no-verify"));
        }
        _ if plan.is_empty() => output.status(format_args!("{name} matches the reference")),
        Verification::Done if left == 0 => {
            output.status(format_args!(
                "{name}: {} to repair all differences; nothing was changed",
                count(statements, "statement")
            ));
        }
        Verification::Done => output.status(format_args!(
            "{name}: {}; {} would remain; nothing was changed",
            count(statements, "statement"),
            count(left, "difference")
        )),
        Verification::Skipped if statements == 0 => {
            output.status(format_args!("{name}: every statement needs a decision; see the comments"));
        }
        Verification::Skipped => {
            output.status(format_args!("{name}: {}, not verified", count(statements, "statement")))
        }
    }
    if statements > 0 && plan.verification == Verification::Done && !output.is_json() {
        suggest_psql(&command, args.options.connection.database_url.as_deref(), context);
    }
}

/// Suggests how to apply the plan that a command prints.
fn suggest_psql(command: &str, database_url: Option<&str>, context: &Context) {
    // psql does not read the variable.
    let url = match std::env::var("DATABASE_URL") {
        Ok(url) if database_url == Some(url.as_str()) => " \"$DATABASE_URL\"",
        _ if database_url.is_some() => " URL",
        _ => "",
    };
    context.output().next(format_args!("'{command} | psql -v ON_ERROR_STOP=1{url}' applies the plan"));
}

#[derive(Serialize)]
struct Document<'a> {
    tenant: &'a str,
    /// Whether the statements ran in a transaction that was rolled back.
    verified: bool,
    statements: Vec<StatementDocument<'a>>,
    /// The differences that remain after the statements have run.
    remaining: Vec<DifferenceDocument>,
}

#[derive(Serialize)]
struct StatementDocument<'a> {
    sql: &'a str,
    /// Whether the script runs it. A statement that does not run is a comment.
    runs: bool,
    /// Why it does not run; null if it runs.
    reason: Option<&'a str>,
    /// The data that it loses; null if it loses none.
    data_loss: Option<&'a str>,
    /// What it assumes, such as that a column was renamed; null if nothing.
    assumption: Option<&'a str>,
}

impl<'a> Document<'a> {
    fn new(name: &'a TenantName, plan: &'a Plan, own_name: &str) -> Self {
        let statements = plan.statements.iter().map(|statement| StatementDocument {
            sql: &statement.sql,
            runs: statement.runs(),
            reason: statement.reason.as_deref(),
            data_loss: statement.data_loss.as_deref(),
            assumption: statement.assumption.as_deref(),
        });
        Self {
            tenant: name.as_str(),
            verified: plan.verification == Verification::Done || plan.is_empty(),
            statements: statements.collect(),
            remaining: plan.remaining.iter().map(|difference| DifferenceDocument::new(difference, own_name)).collect(),
        }
    }
}
