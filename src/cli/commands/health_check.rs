//! `health-check`

use anyhow::Result;
use serde::Serialize;

use crate::cli::arguments::Matching;
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::health::{self, Finding, Health, Kind};

/// Check whether every tenant is as it should be; exit code 1 tells that something is amiss
///
/// Checked are, for each tenant, its schema, its ledger, the migrations in it, the tables of the reference and the state
/// in the tracker; for the database, orphaned schemas, the tracker, and tenants' tables that ended up in public. Nothing
/// is changed.
///
/// The kinds of findings: tracker-behind, reference-failed, table-in-public, ledger-in-public, orphaned-schema, bad-name,
/// schema-missing, unreadable, ledger-missing, stuck-creating, stuck-dropping, missing-migrations, out-of-order,
/// unknown-migrations, missing-tables.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    matching: Matching,

    /// Only findings of these kinds make the exit code 1; the others are told all the same [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    fail_on: Vec<Kind>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    let health = health::check(&mut db, &tenancy, |name| args.matching.picks(name))?;
    let fails = |finding: &Finding| args.fail_on.is_empty() || args.fail_on.contains(&finding.kind);
    let healthy = !health.findings.iter().any(fails);
    let output = context.output();
    if output.is_json() {
        output.json(&Document::new(&health, healthy, fails, context))?;
        return Ok(exit_of(healthy, false));
    }
    if !health.findings.is_empty() {
        let rows = health.findings.iter().map(|finding| {
            vec![
                finding.tenant.clone().unwrap_or_else(|| "(database)".to_owned()),
                finding.kind.to_string(),
                finding.message.clone(),
                finding.mend(&|line| context.command(line)),
            ]
        });
        output.table(&["tenant", "kind", "finding", "mended by"], rows)?;
    }
    for unchecked in &health.unchecked {
        output.warning(format_args!("not checked: {unchecked}"));
    }
    output.status(summary(&health));
    Ok(exit_of(healthy, false))
}

fn summary(health: &Health) -> String {
    let checked = count(health.checked, "tenant");
    match (health.findings.len(), health.unhealthy()) {
        (0, _) if health.unchecked.is_empty() => format!("{checked} checked, all healthy"),
        (0, _) => format!("{checked} checked, nothing amiss in what was checked"),
        (findings, unhealthy) => format!(
            "{checked} checked, {} healthy, {}",
            thousands(health.checked.saturating_sub(unhealthy)),
            count(findings, "finding")
        ),
    }
}

#[derive(Serialize)]
struct Document {
    healthy: bool,
    checked: usize,
    unhealthy: usize,
    findings: Vec<FindingDocument>,
    unchecked: Vec<String>,
}

#[derive(Serialize)]
struct FindingDocument {
    /// Null for the database as a whole.
    tenant: Option<String>,
    kind: &'static str,
    message: String,
    items: Vec<String>,
    mended_by: String,
    /// Whether it makes the exit code 1.
    fails: bool,
}

impl Document {
    fn new(health: &Health, healthy: bool, fails: impl Fn(&Finding) -> bool, context: &Context) -> Self {
        let finding = |finding: &Finding| FindingDocument {
            tenant: finding.tenant.clone(),
            kind: finding.kind.as_str(),
            message: finding.message.clone(),
            items: finding.items.clone(),
            mended_by: finding.mend(&|line| context.command(line)),
            fails: fails(finding),
        };
        Self {
            healthy,
            checked: health.checked,
            unhealthy: health.unhealthy(),
            findings: health.findings.iter().map(finding).collect(),
            unchecked: health.unchecked.clone(),
        }
    }
}
