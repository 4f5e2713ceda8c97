//! `repair-plan`

use anyhow::Result;
use serde::Serialize;

use super::diff::DifferenceDocument;
use crate::cli::comparing::{Comparing, tell_unused};
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::error::Error;
use crate::model::TenantName;
use crate::schema::drift::repair::{About, Options, Plan, Trial, Tried, plan, verify};
use crate::schema::drift::{self, Diff, Difference};
use crate::schema::reference::Source;

/// Print SQL that brings a tenant's structure back to the reference
///
/// Missing objects are added, different ones are changed, and extra ones are dropped if no data is lost. Statements that
/// would lose data are printed as comments, unless --allow-data-loss is given. What cannot be repaired is listed. The exit
/// code is 1 if the plan does not repair everything that 'diff' fails for by default.
///
/// The plan is tried before it is printed, in a transaction that is rolled back. Until then it holds the locks that the
/// repair needs; it waits at most 2 seconds for each, and a statement may take 30 seconds, or as long as
/// --statement-timeout allows. To repair the tenant: repair-plan NAME | psql -v ON_ERROR_STOP=1 "$DATABASE_URL".
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tenant
    name: TenantName,

    #[command(flatten)]
    comparing: Comparing,

    /// Print the plan without trying it
    #[arg(long)]
    no_verify: bool,

    /// Plan statements that lose data, too, each after a comment that says what is lost
    #[arg(long, conflicts_with = "no_verify")]
    allow_data_loss: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let accepted = args.comparing.accepted()?;
    let source = args.comparing.source()?;
    let (tenancy, mut db) = context.comparing()?;
    db.require_tracker(&tenancy)?;
    if !args.no_verify && db.server().in_recovery {
        return Err(Error::Standby.into());
    }
    let compared = drift::against_reference(&mut db, &tenancy, &args.name, &source)?;
    let Diff { own_name, mut differences } = compared.diff();
    let is_accepted = |difference: &Difference| accepted.accepts(args.name.as_str(), &own_name, difference);
    differences.retain(|difference| !is_accepted(difference));
    let output = context.output();
    let allow_data_loss = args.allow_data_loss;
    let options = Options { version: db.server().version, allow_data_loss };
    let mut planned = plan(&compared, &differences, options);
    if !args.no_verify && !planned.is_empty() {
        let trial =
            Trial { tenancy: &tenancy, name: &args.name, compared: &compared, accepted: &is_accepted, allow_data_loss };
        planned = verify(&mut db, &trial, planned)?;
    }
    tell_unused(&accepted, output);
    match (output.is_json(), &planned.tried) {
        (true, _) => output.json(&Document::new(&args.name, &planned, &own_name))?,
        // Nothing that a pipe would run without its having been tried.
        (false, Tried::Locked(_)) => {}
        (false, _) => output.script(planned.script(&About {
            tenant: args.name.as_str(),
            own_name: &own_name,
            database: &db.server().database,
            reference: &in_words(&source, compared.applied.len()),
            path: &tenancy.path(args.name.schema()).set_for_transaction(),
        }))?,
    }
    tell(&planned, &args, &own_name, context);
    let fails = planned.left.iter().any(|difference| difference.level.fails_by_default());
    Ok(exit_of(!fails && !matches!(planned.tried, Tried::Locked(_)), false))
}

fn in_words(source: &Source, migrations: usize) -> String {
    match source {
        Source::Migrations => format!("what its {} produce", count(migrations, "migration")),
        Source::Tenant(name) => format!("the structure of the tenant {name}"),
        Source::File(path) => format!("the reference in {}", path.display()),
    }
}

fn tell(plan: &Plan, args: &Args, own_name: &str, context: &Context) {
    let (name, output) = (&args.name, context.output());
    let mut command = args.comparing.repair_plan(name, context);
    if args.allow_data_loss {
        command += " --allow-data-loss";
    }
    let without: Vec<&Difference> = plan.left_without_statement().collect();
    for difference in &plan.left {
        let short = difference.in_short(own_name);
        match without.contains(&difference) {
            true => output.warning(format_args!("{name} {short}: not mended")),
            false => output.warning(format_args!("{name} {short}: left as a comment")),
        }
    }
    let (statements, left) = (plan.running().count(), plan.left.len());
    match &plan.tried {
        Tried::Locked(sql) => {
            let first = sql.lines().next().unwrap_or_default();
            output.error(format_args!("{name}: the plan was not tried, for another session has a lock: {first}"));
            output.hint(format_args!("run '{command}' again when that session has ended; --no-verify does not try it"));
        }
        _ if plan.is_empty() => output.status(format_args!("{name} is as the reference")),
        Tried::Yes if left == 0 => {
            output
                .status(format_args!("{name}: {} would mend it; nothing was changed", count(statements, "statement")));
        }
        Tried::Yes => output.status(format_args!(
            "{name}: {} would mend it but for {}; nothing was changed",
            count(statements, "statement"),
            count(left, "difference")
        )),
        Tried::No if statements == 0 => {
            output.status(format_args!("{name}: nothing can be mended without a decision; see the comments"));
        }
        Tried::No => output.status(format_args!("{name}: {}, not tried", count(statements, "statement"))),
    }
    if statements > 0 && plan.tried == Tried::Yes && !output.is_json() {
        // psql does not read the variable by itself.
        let url = match std::env::var("DATABASE_URL") {
            Ok(url) if context.settings().database_url.as_ref() == Some(&url) => " \"$DATABASE_URL\"",
            _ if context.settings().database_url.is_some() => " URL",
            _ => "",
        };
        output.next(format_args!("'{command} | psql -v ON_ERROR_STOP=1{url}' runs it"));
    }
}

#[derive(Serialize)]
struct Document<'a> {
    tenant: &'a str,
    /// Whether all of it was tried, together.
    verified: bool,
    statements: Vec<StatementDocument<'a>>,
    /// The differences that are left when the statements have run.
    left: Vec<DifferenceDocument>,
}

#[derive(Serialize)]
struct StatementDocument<'a> {
    sql: &'a str,
    runs: bool,
    /// Why it does not run.
    why: Option<&'a str>,
    /// The data that it loses.
    data_loss: Option<&'a str>,
    /// What it assumes.
    assumption: Option<&'a str>,
}

impl<'a> Document<'a> {
    fn new(name: &'a TenantName, plan: &'a Plan, own_name: &str) -> Self {
        let statements = plan.statements.iter().map(|statement| StatementDocument {
            sql: &statement.sql,
            runs: statement.runs(),
            why: statement.why.as_deref(),
            data_loss: statement.data_loss.as_deref(),
            assumption: statement.assumption.as_deref(),
        });
        Self {
            tenant: name.as_str(),
            verified: plan.tried == Tried::Yes || plan.is_empty(),
            statements: statements.collect(),
            left: plan.left.iter().map(|difference| DifferenceDocument::new(difference, own_name)).collect(),
        }
    }
}
