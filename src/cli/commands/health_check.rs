//! `health-check`

mod check_report;
mod junit;

use anyhow::Result;
use serde::Serialize;

use super::diff::DifferenceDocument;
use crate::cli::codes::{self, FailOn};
use crate::cli::compare::{CompareOptions, report_unused};
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::junit::{JunitOption, TableOutput};
use crate::cli::output::count;
use crate::cli::selection::{Matching, NothingMatches, Selected};
use crate::cli::settings::{Jobs, ReadOptions};
use crate::database::Database;
use crate::error::Error;
use crate::health::{self, Finding, FindingKind, Health, Unchecked};
use crate::model::TenantName;
use crate::schema::drift::Stamps;
use crate::tenants::{not_tracked, tracker};
use check_report::{CheckReport, Item, OnUnchecked, ReportedGroup, Shown, codes_of};

/// Check tenants for problems and drift
///
/// The exit code is 1 if a finding fails the check (see --fail-on), or if a tenant is unchecked.
///
/// Checks the schema, migration ledger, tracker state and structure of each tenant. The structure is compared with the
/// reference, which is the result of the tenant migrations. Also checks the tracker, orphaned schemas, migrations that have
/// changed since they were applied, and tenant migrations that were applied to public. Changes nothing without --remember.
///
/// A tenant whose structure is not compared is unchecked, for example if its ledger cannot be read, if there is no
/// reference, or if it changes during the check.
///
/// If tenants share tables, their isolation is checked instead of the structure: roles, privileges, policies, keys,
/// functions and references between rows.
///
/// If tenants with schemas of their own have roles, the roles and their privileges are checked, too.
///
/// A finding has a code, such as missing-migrations or column.type, which --fail-on and --ignore take, and a level. The level
/// of a difference from the reference is structural, security, privilege, tuning or cosmetic. The level of table-in-public and
/// ledger-in-public is warning, of findings about isolation security or warning, of findings about roles security, of other findings
/// structural.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = codes::help())]
pub(crate) struct Args {
    /// Check only these tenants; findings of the database are reported too
    #[arg(value_name = "NAME", conflicts_with_all = ["matching", "labels"])]
    names: Vec<TenantName>,

    #[command(flatten)]
    matching: Matching,

    #[command(flatten)]
    comparing: CompareOptions,

    /// Fail only on these codes or levels; CODE is a pattern as for --ignore [default: structural, security, privilege]
    #[arg(long, value_name = "CODE|LEVEL", value_delimiter = ',')]
    fail_on: Vec<FailOn>,

    /// Do not fail if tenants are unchecked
    #[arg(long)]
    allow_unchecked: bool,

    /// Read every tenant, even if it matched the reference at the last check and has not changed since
    #[arg(long)]
    full: bool,

    /// Remember which tenants match the reference, so that later checks skip them until they change; writes to
    /// public.schema_stamp
    #[arg(long)]
    remember: bool,

    /// Show tenants with the same drift as one row
    #[arg(long)]
    group: bool,

    #[command(flatten)]
    junit: JunitOption,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: ReadOptions,
}

named_tenants!(Args, names);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let accepted = args.comparing.accepted()?;
    let reference = args.comparing.source(context)?;
    args.junit.check(context)?;
    let (tenancy, mut db) = context.comparing(&args.options, Some(&args.jobs))?;
    if args.remember {
        db.require_writable(&tenancy)?;
    }
    if db.server().has_row_tenancy {
        args.require_no_reference()?;
    }
    let stamps = match (args.full, args.remember) {
        (false, false) => Stamps::Trust,
        (true, false) => Stamps::Ignore,
        (false, true) => Stamps::Remember,
        (true, true) => Stamps::Renew,
    };
    args.require_tracked(&mut db)?;
    let selected = args.matching.read(&mut db, &tenancy)?;
    let mut health = health::check(&mut db, &tenancy, &health::CheckOptions { reference, stamps }, |name| {
        args.picks(&selected, name)
    })?;
    for finding in context.server_findings(&mut db)? {
        if finding.tenant.as_deref().is_none_or(|name| args.picks(&selected, name)) {
            health.findings.push(Finding::server(finding));
        }
    }
    let unmatched = args.unmatched(&selected, context, &mut db, &health)?;
    let on_unchecked = if args.allow_unchecked { OnUnchecked::Allow } else { OnUnchecked::Fail };
    let report = CheckReport::new(&health, &accepted, &args.comparing, &args.fail_on, on_unchecked);
    let exit = if report.passes() && unmatched.is_none() { Exit::Done } else { Exit::Found };
    let output = context.output();
    if let Some(nothing) = &unmatched {
        output.error(nothing);
        output.hint(nothing.hint(context));
    }
    args.junit.write(context.output(), || junit::suite(&report))?;
    if output.is_json() {
        output.json(&Document::new(&report, context))?;
        return Ok(exit);
    }
    let shown = if output.is_quiet() { Shown::Failing } else { Shown::All };
    let rows: Vec<Vec<String>> = if args.group { report.grouped(context, shown) } else { report.rows(context, shown) };
    if !rows.is_empty() && args.junit.table() == TableOutput::Print {
        let first = if args.group { "tenants" } else { "tenant" };
        output.table(&[first, "code", "level", "finding", "fix"], rows)?;
    }
    if shown == Shown::All || report.fails_on_unchecked() {
        for unchecked in &health.unchecked {
            output.warning(format_args!("not checked: {}", in_a_line(unchecked)));
        }
        if let Some(reason) = &health.reference_error {
            output.hint(reason.hint());
        }
    }
    report_unused(&accepted, output);
    output.status(report.summary());
    if report.fails_only_for_unchecked() {
        output.next(format_args!("to accept this, add --allow-unchecked"));
    }
    Ok(exit)
}

impl Args {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Checks that the tracker has each of the names.
    ///
    /// # Errors
    /// [`Error::Tenant`] with the first name that it does not have.
    fn require_tracked(&self, db: &mut Database) -> Result<()> {
        if self.names.is_empty() || !db.server().has_tracker {
            return Ok(());
        }
        let tracked = tracker::names(db.connection())?;
        let is_tracked = |name: &TenantName| tracked.iter().any(|tracked| tracked == name.as_str());
        match self.names.iter().find(|name| !is_tracked(name)) {
            Some(name) => {
                let error = Box::new(not_tracked(db.connection(), name)?);
                Err(Error::Tenant { name: name.clone(), error }.into())
            }
            None => Ok(()),
        }
    }

    /// Checks that no option is given that only compares tenants with the reference.
    fn require_no_reference(&self) -> Result<(), Usage> {
        let given = [
            ("NAME", !self.names.is_empty()),
            ("--label", self.matching.has_labels()),
            ("--reference", self.comparing.has_reference()),
            ("--remember", self.remember),
            ("--full", self.full),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => {
                let message = format!("the tenants of this database share tables: {option} does not apply");
                Err(Usage::with_hint(
                    "unexpected-option",
                    message,
                    "without it, the isolation of the tenants is checked",
                ))
            }
            None => Ok(()),
        }
    }

    fn picks(&self, selected: &Selected, name: &str) -> bool {
        selected.picks(name) && (self.names.is_empty() || self.names.iter().any(|one| one.as_str() == name))
    }

    /// The error of a `--match` or `--label` that selects nothing, if the check has findings to report besides. `--match` also selects
    /// orphaned schemas.
    ///
    /// # Errors
    /// The same error if there is nothing to report.
    fn unmatched(
        &self,
        selected: &Selected,
        context: &Context,
        db: &mut Database,
        health: &Health,
    ) -> Result<Option<NothingMatches>> {
        let orphans = health.findings.iter().filter(|finding| finding.kind == FindingKind::OrphanedSchema);
        let orphans: Vec<&str> = orphans.flat_map(|finding| &finding.items).map(String::as_str).collect();
        let Err(error) = self.matching.require_any(selected, context, db, &orphans) else { return Ok(None) };
        if health.findings.is_empty() {
            return Err(error);
        }
        if context.output().gathered().is_some() {
            // Another server may have the tenant.
            return Ok(None);
        }
        error.downcast().map(Some)
    }
}

/// The first tenants, how many more, and the reason.
fn in_a_line(unchecked: &Unchecked) -> String {
    const SHOWN: usize = 3;
    let Unchecked { tenants, reason } = unchecked;
    let names = tenants.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match tenants.len() {
        0 => reason.clone(),
        n @ ..=SHOWN => format!("{}: {names}: {reason}", count(n, "tenant")),
        n => format!("{}: {names}, …: {reason}", count(n, "tenant")),
    }
}

#[derive(Serialize)]
struct Document {
    /// Whether nothing fails the check and nothing is unchecked.
    healthy: bool,
    /// The number of tenants compared with the reference, or of shared tables.
    checked: usize,
    /// The number of tenants with findings.
    tenants_with_findings: usize,
    findings: Vec<FindingDocument>,
    /// The tenants that differ in the same way, without what is ignored.
    groups: Vec<GroupDocument>,
    unchecked: Vec<UncheckedDocument>,
}

#[derive(Serialize)]
struct UncheckedDocument {
    /// Null for the database.
    tenant: Option<String>,
    reason: String,
}

#[derive(Serialize)]
struct FindingDocument {
    /// Null for the database.
    tenant: Option<String>,
    code: String,
    level: &'static str,
    message: String,
    items: Vec<String>,
    /// Null unless it is a difference from the reference.
    difference: Option<DifferenceDocument>,
    fix: String,
    /// Whether it makes the exit code 1.
    fails: bool,
}

#[derive(Serialize)]
struct GroupDocument {
    tenants: usize,
    /// The first of them.
    first_tenant: String,
    codes: Vec<String>,
    differences: Vec<String>,
}

impl UncheckedDocument {
    fn of(unchecked: &Unchecked) -> Vec<Self> {
        let document = |tenant| Self { tenant, reason: unchecked.reason.clone() };
        match unchecked.tenants.as_slice() {
            [] => vec![document(None)],
            tenants => tenants.iter().map(|tenant| document(Some(tenant.clone()))).collect(),
        }
    }
}

impl Document {
    fn new(report: &CheckReport<'_>, context: &Context) -> Self {
        let finding = |item: &Item<'_>| FindingDocument {
            tenant: item.tenant().map(str::to_owned),
            code: item.code(),
            level: item.level(),
            message: item.message(),
            items: match item {
                Item::Finding(finding) => finding.items.clone(),
                Item::Drift(member, difference) => vec![difference.name(&member.own_name)],
            },
            difference: match item {
                Item::Finding(_) => None,
                Item::Drift(member, difference) => Some(DifferenceDocument::new(difference, &member.own_name)),
            },
            fix: report.fix(item, context),
            fails: report.fails(item),
        };
        let group = |ReportedGroup { members, differences }: &ReportedGroup<'_>| {
            let first = members.first()?;
            Some(GroupDocument {
                tenants: members.len(),
                first_tenant: first.name.to_string(),
                codes: codes_of(differences),
                differences: differences.iter().map(|difference| difference.summary(&first.own_name)).collect(),
            })
        };
        Self {
            healthy: report.is_healthy(),
            checked: report.health.shared_tables.unwrap_or_else(|| report.health.checked()),
            tenants_with_findings: report.tenants_with_findings(),
            findings: report.items.iter().map(finding).collect(),
            groups: report.groups.iter().filter_map(group).collect(),
            unchecked: report.health.unchecked.iter().flat_map(UncheckedDocument::of).collect(),
        }
    }
}
