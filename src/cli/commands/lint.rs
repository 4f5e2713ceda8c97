//! `lint`

use anyhow::Result;
use serde::Serialize;

use crate::Version;
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, count};
use crate::error::Error;
use crate::lint::{self, Finding, Rule};

/// Tell which statements of the tenant migrations hurt live tables or reach outside the tenant
///
/// The exit code is 1 when some do. No database is needed: the migrations are parsed and read in order. A table is live unless the same migration made it.
/// Of down.sql only what reaches outside the tenant is told. Code in DO blocks is looked at, and in the bodies of functions
/// for what reaches outside; what is put together at run time, such as EXECUTE format(…), is not seen.
///
/// The comment `-- tenantry: accept RULE: reason` accepts what that rule finds in the statement that it stands before or in.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only migrations newer than this version, where it and older ones are in all tenants already
    #[arg(long, value_name = "VERSION")]
    since: Option<Version>,

    /// List the rules instead: what each finds, and what to write
    #[arg(long, conflicts_with = "since")]
    rules: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let output = context.output();
    if args.rules {
        return rules(output);
    }
    let tenancy = context.tenancy()?;
    let first = match args.since {
        None => 0,
        Some(version) => match tenancy.tenant_migrations().position(version.as_str()) {
            Some(position) => position + 1,
            None => return Err(Error::UnknownVersion { version }.into()),
        },
    };
    let read = tenancy.tenant_migrations().len() - first;
    let told = lint::lint(&tenancy).into_iter().filter(|finding| finding.migration >= first);
    let (accepted, findings): (Vec<Finding>, Vec<Finding>) = told.partition(|finding| finding.accepted.is_some());
    match output.is_json() {
        true => output.json(&Document {
            migrations: read,
            findings: findings.iter().map(FindingDocument::new).collect(),
            accepted: accepted.iter().map(AcceptedDocument::new).collect(),
        })?,
        false => {
            tell(output, &findings)?;
            for finding in &accepted {
                let reason = finding.accepted.as_deref().unwrap_or_default();
                output.detail(format_args!("{}: {} is accepted: {reason}", finding.place(), finding.rule));
            }
            let accepted = match accepted.len() {
                0 => String::new(),
                n => format!(", {n} accepted"),
            };
            output.status(format!("{}: {}{accepted}", count(read, "migration"), count(findings.len(), "finding")));
            if findings.iter().any(|finding| !finding.rule.is_about_acceptances()) {
                output.next("what is meant is accepted by a comment before it: -- tenantry: accept RULE: reason");
            }
        }
    }
    Ok(exit_of(findings.is_empty(), false))
}

/// A finding as compilers print theirs, and below the last of a rule in a row what to write instead.
fn tell(output: &Output, findings: &[Finding]) -> Result<()> {
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
    match output.is_json() {
        true => output.json(&RulesDocument { rules: Rule::ALL.iter().map(RuleDocument::new).collect() })?,
        false => output.lines(Rule::ALL.iter().flat_map(|rule| {
            [format!("{rule}: {}", rule.what()), format!("  instead: {}", rule.remedy()), String::new()]
        }))?,
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    /// How many migrations were looked at.
    migrations: usize,
    /// In the order of the migrations, and of a migration in the order of its lines, those of up.sql first.
    findings: Vec<FindingDocument<'a>>,
    accepted: Vec<AcceptedDocument<'a>>,
}

#[derive(Serialize)]
pub(super) struct FindingDocument<'a> {
    pub(super) rule: &'static str,
    /// The folder.
    migration: &'a str,
    version: &'a str,
    /// `up.sql` or `down.sql`
    pub(super) file: &'static str,
    pub(super) line: usize,
    /// For `unused-acceptance` and `malformed-acceptance`, the comment.
    statement: &'a str,
    /// Null where it is about no object.
    object: Option<&'a str>,
    pub(super) message: &'a str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct AcceptedDocument<'a> {
    #[serde(flatten)]
    finding: FindingDocument<'a>,
    reason: Option<&'a str>,
}

impl<'a> FindingDocument<'a> {
    pub(super) fn new(finding: &'a Finding) -> Self {
        Self {
            rule: finding.rule.name(),
            migration: &finding.folder,
            version: finding.version.as_str(),
            file: finding.file.as_str(),
            line: finding.line,
            statement: &finding.statement,
            object: finding.object.as_deref(),
            message: &finding.message,
            remedy: finding.rule.remedy(),
        }
    }
}

impl<'a> AcceptedDocument<'a> {
    fn new(finding: &'a Finding) -> Self {
        Self { finding: FindingDocument::new(finding), reason: finding.accepted.as_deref() }
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
