//! `lint`

mod code_scanning;
mod junit;

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::junit::{JunitOption, TableOutput};
use crate::cli::output::{Output, count};
use crate::cli::settings::{Format, LintFormatOption, Migrations, TenancyKind};
use crate::lint::{self, LintFinding, Rule, SharedTables};
use crate::model::ObjectName;
use code_scanning::{Files, SarifLog, workflow_commands};

/// Check tenant migrations for unsafe statements
///
/// Reports statements that block or break live tables, and statements that change objects outside the tenant. No database
/// is required. A table is live unless the same migration creates it. In down.sql, only changes outside the tenant are
/// reported. DO blocks are checked too, and function bodies for changes outside the tenant; SQL that is built at run time,
/// such as EXECUTE format(…), is not. The exit code is 1 if there are findings.
///
/// With --format sarif, prints a SARIF log for code scanning; with --format github, commands of a GitHub workflow, which
/// annotate the lines. Paths are relative to the working directory, or to GITHUB_WORKSPACE.
///
/// To suppress a finding, put the comment `-- tenantry: accept RULE: reason` before the statement or in it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Check only migrations newer than this one: a version, or a unique beginning or end of a folder name
    #[arg(long, value_name = "VERSION")]
    since: Option<String>,

    /// List the rules: what each one finds, and the safe alternative
    #[arg(long, conflicts_with = "since")]
    rules: bool,

    /// How tenants are separated; the rules that begin with row- apply to rows [default: schemas]
    #[arg(long, env = "TENANTRY_TENANCY", hide_env_values = true, value_enum, value_name = "KIND")]
    tenancy: Option<TenancyKind>,

    /// Table with a row for each tenant, for --tenancy rows
    #[arg(long, value_name = "TABLE", default_value = "tenants")]
    registry: ObjectName,

    /// Column of shared tables with the tenant's id, for --tenancy rows
    #[arg(long, value_name = "COLUMN", default_value = "tenant_id")]
    tenant_column: ObjectName,

    #[command(flatten)]
    migrations: Migrations,

    #[command(flatten)]
    junit: JunitOption,

    #[command(flatten)]
    _format: LintFormatOption,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let output = context.output();
    args.junit.check(context)?;
    if args.rules {
        return rules(output);
    }
    let tenancy = context.tenancy(&args.migrations)?;
    let since = args.since.as_deref().map(|since| tenancy.version_of(since)).transpose()?;
    let position = since.and_then(|version| tenancy.tenant_migrations().position(version.as_str()));
    let first = position.map_or(0, |position| position + 1);
    let read = tenancy.tenant_migrations().len() - first;
    let reported = match args.tenancy {
        Some(TenancyKind::Rows) => {
            let tables = SharedTables { registry: args.registry, column: args.tenant_column };
            lint::lint_shared(&tenancy, &tables)
        }
        Some(TenancyKind::Schemas) | None => lint::lint(&tenancy),
    };
    let reported = reported.into_iter().filter(|finding| finding.migration >= first);
    let (accepted, findings): (Vec<LintFinding>, Vec<LintFinding>) =
        reported.partition(|finding| finding.accepted.is_some());
    let exit = if findings.is_empty() { Exit::Done } else { Exit::Found };
    let set = tenancy.tenant_migrations();
    let checked = || set.iter().enumerate().skip(first).map(|(index, migration)| (index, migration.as_ref()));
    args.junit.write(context.output(), || junit::suite(checked(), &findings))?;
    match output.format() {
        Format::Json => output.json(&Document {
            migrations: read,
            findings: findings.iter().map(LintFindingDocument::new).collect(),
            accepted: accepted.iter().map(AcceptanceDocument::new).collect(),
        })?,
        Format::Sarif => output.json(&SarifLog::new(&findings, &Files::of(set)))?,
        Format::Github => output.lines(workflow_commands(&findings, &Files::of(set)))?,
        // It has no other format.
        Format::Table | Format::Url | Format::Pgdog | Format::Pgbouncer => match args.junit.table() {
            TableOutput::Print => print_findings(output, &findings)?,
            TableOutput::Omit => {}
        },
    }
    if output.format() != Format::Json {
        print_summary(output, read, &findings, &accepted);
    }
    Ok(exit)
}

/// Prints to standard error what was checked.
fn print_summary(output: &Output, read: usize, findings: &[LintFinding], accepted: &[LintFinding]) {
    for finding in accepted {
        let reason = finding.accepted.as_deref().unwrap_or_default();
        output.detail(format_args!("{}: {} accepted: {reason}", finding.place(), finding.rule));
    }
    let suffix = match accepted.len() {
        0 => String::new(),
        n => format!(", {n} accepted"),
    };
    output.status(format!("{}: {}{suffix}", count(read, "migration"), count(findings.len(), "finding")));
    if findings.iter().any(|finding| !finding.rule.is_about_acceptances()) {
        output.next("to suppress a finding, add a comment before the statement: -- tenantry: accept RULE: reason");
    }
}

/// Prints findings like a compiler, and after the last of a row with the same rule the alternative.
fn print_findings(output: &Output, findings: &[LintFinding]) -> Result<()> {
    let mut lines = Vec::new();
    for (index, finding) in findings.iter().enumerate() {
        lines.push(format!("{}: {}: {}", finding.place(), finding.rule, finding.message));
        if findings.get(index + 1).is_none_or(|next| next.rule != finding.rule) {
            lines.push(format!("  instead: {}", finding.rule.remedy()));
        }
    }
    output.lines(lines)
}

fn rules(output: &Output) -> Result<Exit> {
    if output.is_json() {
        output.json(&RulesDocument { rules: Rule::ALL.iter().map(RuleDocument::new).collect() })?;
    } else {
        output.lines(Rule::ALL.iter().flat_map(|rule| {
            [format!("{rule}: {}", rule.what()), format!("  instead: {}", rule.remedy()), String::new()]
        }))?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    /// The number of migrations checked.
    migrations: usize,
    /// By migration, then up.sql before down.sql, then by line.
    findings: Vec<LintFindingDocument<'a>>,
    accepted: Vec<AcceptanceDocument<'a>>,
}

#[derive(Serialize)]
pub(super) struct LintFindingDocument<'a> {
    pub(super) rule: &'static str,
    /// The folder.
    migration: &'a str,
    version: &'a str,
    /// `up.sql` or `down.sql`
    pub(super) file: &'a str,
    pub(super) line: usize,
    /// For `unused-acceptance` and `malformed-acceptance`, the comment.
    statement: &'a str,
    /// Null if it concerns no object.
    object: Option<&'a str>,
    pub(super) message: &'a str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct AcceptanceDocument<'a> {
    #[serde(flatten)]
    finding: LintFindingDocument<'a>,
    reason: Option<&'a str>,
}

impl<'a> LintFindingDocument<'a> {
    pub(super) fn new(finding: &'a LintFinding) -> Self {
        Self {
            rule: finding.rule.name(),
            migration: finding.path().0,
            version: finding.version.as_str(),
            file: finding.path().1,
            line: finding.line,
            statement: &finding.statement,
            object: finding.object.as_deref(),
            message: &finding.message,
            remedy: finding.rule.remedy(),
        }
    }
}

impl<'a> AcceptanceDocument<'a> {
    fn new(finding: &'a LintFinding) -> Self {
        Self { finding: LintFindingDocument::new(finding), reason: finding.accepted.as_deref() }
    }
}

#[derive(Serialize)]
struct RulesDocument {
    rules: Vec<RuleDocument>,
}

#[derive(Serialize)]
struct RuleDocument {
    rule: &'static str,
    what: &'static str,
    remedy: &'static str,
}

impl RuleDocument {
    fn new(rule: &Rule) -> Self {
        Self { rule: rule.name(), what: rule.what(), remedy: rule.remedy() }
    }
}
