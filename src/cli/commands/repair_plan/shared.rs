//! The plan for tenants that share tables: what fixes the findings about their isolation.

use anyhow::Result;
use serde::Serialize;

use super::suggest_psql;
use crate::cli::commands::isolate;
use crate::cli::compare::report_unused;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::settings::Connection;
use crate::database::Database;
use crate::rows::findings::{self, IsolationFinding, IsolationFindings, IsolationFix, Severity};
use crate::rows::{IsolationStep, Layout, Obstacle};
use crate::schema::drift::Accepted;
use crate::schema::drift::repair::refuse_other_database;
use crate::text;

pub(super) fn run(
    db: &mut Database,
    layout: &Layout,
    accepted: &Accepted,
    connection: &Connection,
    context: &Context,
) -> Result<Exit> {
    let mut found = findings::find(db, layout)?;
    found.findings.retain(|it| !accepted.accepts_finding(None, it.kind.as_str(), std::slice::from_ref(&it.object)));
    let output = context.output();
    report_unused(accepted, output);
    let plan = SharedPlan::new(&found);
    if output.is_json() {
        output.json(&Document::new(&plan))?;
    } else {
        output.script(plan.script(&db.server().database))?;
    }
    for unchecked in &found.unchecked {
        output.warning(format_args!("not checked: {unchecked}"));
    }
    for Obstacle { table, message, hint } in plan.obstacles {
        output.error(format_args!("{}.{table}: {message}", layout.schema));
        output.hint(hint);
    }
    for (finding, reason) in &plan.remaining {
        output.warning(format_args!("{}: {}: no statement fixes it: {reason}", finding.kind, finding.message));
    }
    let statements = plan.statements.len() + plan.isolation.len();
    output.status(match (found.findings.len(), plan.remaining.len()) {
        (0, _) => "all shared tables are isolated".to_owned(),
        (_, 0) => format!("{} to fix all findings; nothing was changed", count(statements, "statement")),
        (_, left) => {
            format!("{}; {} would remain; nothing was changed", count(statements, "statement"), count(left, "finding"))
        }
    });
    if statements > 0 && !output.is_json() {
        suggest_psql(&context.command("repair-plan"), connection.database_url.as_deref(), context);
    }
    let fails = plan.remaining.iter().any(|(finding, _)| finding.kind.severity() == Severity::Error);
    Ok(if fails { Exit::Found } else { Exit::Done })
}

/// The statements that fix findings, in the order in which they run, and the findings that none fixes.
struct SharedPlan<'a> {
    statements: Vec<(&'a IsolationFinding, &'a str)>,
    found: &'a IsolationFindings,
    /// The steps of isolation; empty if something prevents them or no finding needs them.
    isolation: &'a [IsolationStep],
    /// What prevents the isolation that findings need.
    obstacles: &'a [Obstacle],
    /// The findings that no statement fixes, and why.
    remaining: Vec<(&'a IsolationFinding, String)>,
}

impl<'a> SharedPlan<'a> {
    fn new(found: &'a IsolationFindings) -> Self {
        let mut plan = Self { statements: Vec::new(), found, isolation: &[], obstacles: &[], remaining: Vec::new() };
        for finding in &found.findings {
            match &finding.fix {
                IsolationFix::Statements(statements) => {
                    plan.statements.extend(statements.iter().map(|sql| (finding, sql.as_str())));
                }
                IsolationFix::Advice(advice) => plan.remaining.push((finding, advice.clone())),
                IsolationFix::Isolation if found.isolation.obstacles.is_empty() => {
                    plan.isolation = &found.isolation.steps
                }
                IsolationFix::Isolation => {
                    plan.obstacles = &found.isolation.obstacles;
                    plan.remaining.push((finding, "something prevents the isolation, see above".to_owned()));
                }
            }
        }
        plan
    }

    fn script(&self, database: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if self.found.findings.is_empty() {
            return lines;
        }
        lines.push(format!("-- Fixes the isolation of tenants in database {}.", text::one_line(database)));
        lines.push(refuse_other_database(database));
        let (alone, together): (Vec<_>, Vec<_>) = self.statements.iter().partition(|(_, sql)| runs_alone(sql));
        if !together.is_empty() {
            lines.push("BEGIN;".to_owned());
            lines.extend(together.iter().flat_map(commented));
            lines.push("COMMIT;".to_owned());
        }
        if !self.isolation.is_empty() {
            lines.extend(isolate::script(&self.found.isolation));
        }
        lines.extend(alone.iter().flat_map(commented));
        for Obstacle { table, message, hint } in self.obstacles {
            let obstacle = format!("table {table} {message}; {hint}");
            lines.push(format!("-- prevents the isolation: {}", text::one_line(&obstacle)));
        }
        for (finding, reason) in &self.remaining {
            lines.push(comment(finding));
            lines.push(format!("--   no statement fixes it: {}", text::one_line(reason)));
        }
        lines
    }
}

/// Whether a statement cannot run in a transaction.
fn runs_alone(sql: &str) -> bool {
    sql.starts_with("CREATE INDEX CONCURRENTLY ")
}

fn commented((finding, sql): &(&IsolationFinding, &str)) -> [String; 2] {
    [comment(finding), format!("{sql};")]
}

/// A line, whatever the names of objects contain.
fn comment(finding: &IsolationFinding) -> String {
    format!("-- {}: {}", finding.kind, text::one_line(&finding.message))
}

#[derive(Serialize)]
struct Document<'a> {
    statements: Vec<SharedStatementDocument<'a>>,
    remaining: Vec<RemainingDocument<'a>>,
}

#[derive(Serialize)]
struct SharedStatementDocument<'a> {
    /// The code of the finding that it fixes; null for a step of isolation.
    code: Option<&'static str>,
    /// The object of the finding, or the table; null for roles and schemas.
    object: Option<&'a str>,
    sql: &'a str,
}

#[derive(Serialize)]
struct RemainingDocument<'a> {
    code: &'static str,
    object: &'a str,
    message: &'a str,
    /// Why no statement fixes it, or what to do.
    reason: &'a str,
}

impl<'a> Document<'a> {
    fn new(plan: &'a SharedPlan<'_>) -> Self {
        let direct = plan.statements.iter().map(|(finding, sql)| SharedStatementDocument {
            code: Some(finding.kind.as_str()),
            object: Some(&finding.object),
            sql,
        });
        let isolation = plan.isolation.iter().map(|step| SharedStatementDocument {
            code: None,
            object: step.table.as_deref(),
            sql: &step.sql,
        });
        let remaining = plan.remaining.iter().map(|(finding, reason)| RemainingDocument {
            code: finding.kind.as_str(),
            object: &finding.object,
            message: &finding.message,
            reason,
        });
        Self { statements: direct.chain(isolation).collect(), remaining: remaining.collect() }
    }
}
