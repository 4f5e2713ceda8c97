//! `migrate-all`

use anyhow::Result;
use regex::Regex;
use serde::Serialize;

use crate::cli::arguments::Matching;
use crate::cli::context::{Context, exit_of, shell_word};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::Progress;
use crate::cli::report::{self, FailedDocument, failures, only};
use crate::fleet::Fleet;
use crate::migration::MigrationSet;
use crate::migrator::{self, OnFailure, Plan};
use crate::name::TenantName;

/// Bring all tenants up to date; those that are, are not touched
///
/// It goes on after a failure, and ends with what failed and the command that tries again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    matching: Matching,

    /// Not the tenants whose names match, anywhere in the name
    #[arg(long, value_name = "REGEX")]
    except: Option<Regex>,

    /// Show what would be done, tenant by tenant, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Begin no other tenant once one has failed
    #[arg(long)]
    fail_fast: bool,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let (tenancy, mut db) = context.fleet(args.dry_run)?;
    let set = tenancy.tenant_migrations();
    let picks =
        |name: &str| args.matching.picks(name) && !args.except.as_ref().is_some_and(|except| except.is_match(name));
    let plan = Plan::of(Fleet::read(db.connection(), set)?, set, picks);
    if args.dry_run {
        return show(context, &plan, set);
    }
    let on_failure = if args.fail_fast { OnFailure::Stop } else { OnFailure::Continue };
    let mut progress = Progress::new(context.output(), "migrated");
    let report = migrator::migrate(&mut db, &tenancy, plan, on_failure, &context.stop(), &mut progress)?;
    std::mem::drop(progress);
    let left = report.to_try_again();
    let again = match only(&left) {
        Some(regex) => format!("migrate-all --match {regex}"),
        None => {
            let mut again = "migrate-all".to_owned();
            for (flag, regex) in [("match", &args.matching.matching), ("except", &args.except)] {
                if let Some(regex) = regex {
                    again.push_str(&format!(" --{flag} {}", shell_word(regex.as_str())));
                }
            }
            again
        }
    };
    report::run(context, &report, "migrated", &again)
}

/// Shows a plan.
pub(super) fn show(context: &Context, plan: &Plan, set: &MigrationSet) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&Document::new(plan, set, context))?;
    } else if !plan.migrate.is_empty() {
        let rows = plan.migrate.iter().map(|planned| {
            let pending = planned.pending(set);
            let folders: Vec<&str> = pending.iter().map(|index| set.at(*index).folder()).collect();
            vec![planned.tenant.name.to_string(), from(planned).unwrap_or("-").to_owned(), folders.join(", ")]
        });
        output.table(&["tenant", "version", "pending"], rows)?;
    }
    failures(context, &plan.blocked);
    let mut summary = format!(
        "{} would be migrated, {} up to date",
        count(plan.migrate.len(), "tenant"),
        thousands(plan.up_to_date.len())
    );
    if !plan.blocked.is_empty() {
        summary.push_str(&format!(", {} cannot be", thousands(plan.blocked.len())));
    }
    output.status(summary);
    Ok(exit_of(plan.blocked.is_empty(), false))
}

fn from(planned: &migrator::Planned) -> Option<&str> {
    planned.tenant.ledger().and_then(|ledger| ledger.version())
}

#[derive(Serialize)]
struct Document {
    migrate: Vec<PlannedDocument>,
    up_to_date: Vec<String>,
    blocked: Vec<FailedDocument>,
}

#[derive(Serialize)]
struct PlannedDocument {
    tenant: String,
    version: Option<String>,
    pending: Vec<String>,
}

impl Document {
    fn new(plan: &Plan, set: &MigrationSet, context: &Context) -> Self {
        let planned = |planned: &migrator::Planned| PlannedDocument {
            tenant: planned.tenant.name.to_string(),
            version: from(planned).map(str::to_owned),
            pending: planned.pending(set).iter().map(|index| set.at(*index).version().to_string()).collect(),
        };
        Self {
            migrate: plan.migrate.iter().map(planned).collect(),
            up_to_date: plan.up_to_date.iter().map(TenantName::to_string).collect(),
            blocked: FailedDocument::all(&plan.blocked, context),
        }
    }
}
