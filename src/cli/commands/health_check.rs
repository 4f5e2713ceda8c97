//! `health-check`

mod junit;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use serde::Serialize;

use super::diff::DifferenceDocument;
use crate::cli::arguments::Matching;
use crate::cli::comparing::{Comparing, tell_unused};
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::drift::{Accepted, Aspect, Difference, Level, Member, Stamps};
use crate::health::{self, Finding, Health, Kind};

/// Check whether every tenant is as it should be; exit code 1 tells that something is amiss
///
/// Checked are, for each tenant, its schema, its ledger, the migrations in it, its state in the tracker, and its
/// structure, which is held against what the tenant migrations produce; for the database, orphaned schemas, the tracker,
/// and tenants' tables that ended up in public. Nothing is changed.
///
/// The kinds of findings: tracker-behind, reference-failed, table-in-public, ledger-in-public, orphaned-schema, bad-name,
/// schema-missing, unreadable, ledger-missing, stuck-creating, stuck-dropping, missing-migrations, out-of-order,
/// unknown-migrations.
///
/// Differences from the reference have a code, such as column.type or index.missing, and a level: structural, security,
/// privilege, tuning or cosmetic. The other findings are structural.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    matching: Matching,

    #[command(flatten)]
    comparing: Comparing,

    /// Only these kinds of findings, and differences of these levels, make the exit code 1; the others are told all the
    /// same [default: all kinds, and the levels structural, security and privilege]
    #[arg(long, value_name = "KIND|LEVEL", value_delimiter = ',')]
    fail_on: Vec<FailOn>,

    /// Read every tenant, also those that were as the reference when they were last checked and are unchanged since
    #[arg(long)]
    full: bool,

    /// Keep for each tenant that is as the reference what it looks like, so that the next check need not read it unless
    /// it was changed; this writes to public.schema_stamp
    #[arg(long)]
    remember: bool,

    /// Tell tenants that drifted in the same way together
    #[arg(long)]
    group: bool,

    /// Also write what was found to a file that CI systems read
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailOn {
    Kind(Kind),
    Level(Level),
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(level) = text.parse() {
            return Ok(Self::Level(level));
        }
        text.parse().map(Self::Kind).map_err(|_| format!("{text:?} is no kind of finding and no level"))
    }
}

/// What was found, with what was asked for.
struct Told<'a> {
    health: &'a Health,
    fail_on: &'a [FailOn],
    accepted: &'a Accepted,
}

/// Something that was found.
enum Item<'a> {
    Finding(&'a Finding),
    Drift(&'a Member, &'a Difference),
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let accepted = args.comparing.accepted()?;
    let reference = args.comparing.source()?;
    let tenancy = context.tenancy()?;
    let mut db = context.database()?;
    if args.remember {
        db.require_writable(&tenancy)?;
    }
    let stamps = match (args.full, args.remember) {
        (false, false) => Stamps::Believe,
        (true, false) => Stamps::Ignore,
        (false, true) => Stamps::Remember,
        (true, true) => Stamps::Renew,
    };
    let health =
        health::check(&mut db, &tenancy, &health::Options { reference, stamps }, |name| args.matching.picks(name))?;
    let told = Told { health: &health, fail_on: &args.fail_on, accepted: &accepted };
    let healthy = !told.items().any(|item| told.fails(&item));
    let output = context.output();
    if let Some(path) = &args.junit {
        junit::write(path, &told)?;
    }
    if output.is_json() {
        output.json(&Document::new(&told, healthy, context))?;
        return Ok(exit_of(healthy, false));
    }
    let rows: Vec<Vec<String>> = match args.group {
        true => told.grouped(context),
        false => told.items().map(|item| item.row(context)).collect(),
    };
    if !rows.is_empty() {
        let first = if args.group { "tenants" } else { "tenant" };
        output.table(&[first, "kind", "level", "finding", "mended by"], rows)?;
    }
    for unchecked in &health.unchecked {
        output.warning(format_args!("not checked: {unchecked}"));
    }
    tell_unused(&accepted, output);
    output.status(told.summary());
    Ok(exit_of(healthy, false))
}

impl<'a> Told<'a> {
    /// First what is amiss with the database, then tenant by tenant in the order of names, and of each first what its
    /// ledger and the tracker say.
    fn items(&self) -> impl Iterator<Item = Item<'a>> {
        let of_database = self.health.findings.iter().filter(|finding| finding.tenant.is_none());
        let mut of_tenants: Vec<(&str, Item<'a>)> = Vec::new();
        for finding in &self.health.findings {
            if let Some(tenant) = &finding.tenant {
                of_tenants.push((tenant, Item::Finding(finding)));
            }
        }
        for group in &self.health.drift.groups {
            for member in &group.members {
                let told = group
                    .differences
                    .iter()
                    .filter(|difference| !self.accepted.accepts(member.name.as_str(), &member.own_name, difference));
                of_tenants.extend(told.map(|difference| (member.name.as_str(), Item::Drift(member, difference))));
            }
        }
        of_tenants.sort_by_key(|(tenant, _)| *tenant);
        of_database.map(Item::Finding).chain(of_tenants.into_iter().map(|(_, item)| item))
    }

    fn fails(&self, item: &Item<'_>) -> bool {
        match (self.fail_on, item) {
            ([], Item::Finding(_)) => true,
            ([], Item::Drift(_, difference)) => difference.level.fails_by_default(),
            (chosen, Item::Finding(finding)) => {
                chosen.contains(&FailOn::Kind(finding.kind)) || chosen.contains(&FailOn::Level(Level::Structural))
            }
            (chosen, Item::Drift(_, difference)) => chosen.contains(&FailOn::Level(difference.level)),
        }
    }

    /// A row for each finding, and for all tenants with the same drift one.
    fn grouped(&self, context: &Context) -> Vec<Vec<String>> {
        let findings = self.items().filter(|item| matches!(item, Item::Finding(_)));
        let mut rows: Vec<Vec<String>> = findings.map(|item| item.row(context)).collect();
        for group in &self.health.drift.groups {
            let Some(first) = group.members.first() else { continue };
            let told: Vec<&Difference> = group
                .differences
                .iter()
                .filter(|difference| !self.accepted.accepts(first.name.as_str(), &first.own_name, difference))
                .collect();
            let tenants = match group.members.as_slice() {
                [one] => one.name.to_string(),
                [first, ..] => format!("{} such as {}", thousands(group.members.len()), first.name),
                [] => continue,
            };
            match told.as_slice() {
                [] => {
                    rows.push(vec![tenants, String::new(), String::new(), "as the reference".to_owned(), String::new()])
                }
                told => {
                    let level = told.iter().map(|difference| difference.level).min().map_or("", Level::as_str);
                    let short: Vec<String> =
                        told.iter().map(|difference| difference.in_short(&first.own_name)).collect();
                    let mend = context.command(&format!("repair-plan {}", first.name));
                    rows.push(vec![tenants, "drift".to_owned(), level.to_owned(), short.join("; "), mend]);
                }
            }
        }
        rows
    }

    fn unhealthy(&self) -> usize {
        self.items().filter_map(|item| item.tenant().map(str::to_owned)).collect::<BTreeSet<_>>().len()
    }

    fn summary(&self) -> String {
        let checked = count(self.health.checked, "tenant");
        match (self.items().count(), self.unhealthy()) {
            (0, _) if self.health.unchecked.is_empty() => format!("{checked} checked, all healthy"),
            (0, _) => format!("{checked} checked, nothing amiss in what was checked"),
            (findings, unhealthy) => format!(
                "{checked} checked, {} healthy, {}",
                thousands(self.health.checked.saturating_sub(unhealthy)),
                count(findings, "finding")
            ),
        }
    }
}

impl Item<'_> {
    fn tenant(&self) -> Option<&str> {
        match self {
            Self::Finding(finding) => finding.tenant.as_deref(),
            Self::Drift(member, _) => Some(member.name.as_str()),
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::Finding(finding) => finding.kind.to_string(),
            Self::Drift(_, difference) => difference.code(),
        }
    }

    fn level(&self) -> Level {
        match self {
            Self::Finding(_) => Level::Structural,
            Self::Drift(_, difference) => difference.level,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Finding(finding) => finding.message.clone(),
            Self::Drift(member, difference) => in_a_line(difference, &member.own_name),
        }
    }

    fn mended_by(&self, context: &Context) -> String {
        match self {
            Self::Finding(finding) => finding.mend(&|line| context.command(line)),
            Self::Drift(member, _) => context.command(&format!("repair-plan {}", member.name)),
        }
    }

    fn row(&self, context: &Context) -> Vec<String> {
        vec![
            self.tenant().unwrap_or("(database)").to_owned(),
            self.kind(),
            self.level().to_string(),
            self.message(),
            self.mended_by(context),
        ]
    }
}

/// What differs, in one line of a table. Of what is long the beginnings would be alike; all of it is told by `diff`.
fn in_a_line(difference: &Difference, own_name: &str) -> String {
    const LONGEST: usize = 60;
    let mut message = difference.in_short(own_name);
    if let Aspect::Fact(_) = difference.aspect {
        let words = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let (expected, actual) = (words(difference.expected(own_name)), words(difference.actual(own_name)));
        if [&expected, &actual].iter().all(|text| text.len() <= LONGEST && !text.contains('\n')) {
            message.push_str(&format!(": expected {expected}, is {actual}"));
        }
    }
    if let Some(tenant) = &difference.leads_to {
        message.push_str(&format!("; it leads to the tenant {tenant}"));
    }
    message
}

#[derive(Serialize)]
struct Document {
    healthy: bool,
    checked: usize,
    unhealthy: usize,
    findings: Vec<FindingDocument>,
    /// How many tenants have the same structure, and in what it differs.
    groups: Vec<GroupDocument>,
    unchecked: Vec<String>,
}

#[derive(Serialize)]
struct FindingDocument {
    /// Null for the database as a whole.
    tenant: Option<String>,
    kind: &'static str,
    level: &'static str,
    message: String,
    items: Vec<String>,
    /// Null unless the kind is drift.
    difference: Option<DifferenceDocument>,
    mended_by: String,
    /// Whether it makes the exit code 1.
    fails: bool,
}

#[derive(Serialize)]
struct GroupDocument {
    tenants: usize,
    /// The first of them.
    tenant: String,
    differences: Vec<String>,
}

impl Document {
    fn new(told: &Told<'_>, healthy: bool, context: &Context) -> Self {
        let finding = |item: Item<'_>| FindingDocument {
            tenant: item.tenant().map(str::to_owned),
            kind: match &item {
                Item::Finding(finding) => finding.kind.as_str(),
                Item::Drift(..) => "drift",
            },
            level: item.level().as_str(),
            message: item.message(),
            items: match &item {
                Item::Finding(finding) => finding.items.clone(),
                Item::Drift(member, difference) => vec![difference.name(&member.own_name)],
            },
            difference: match &item {
                Item::Finding(_) => None,
                Item::Drift(member, difference) => Some(DifferenceDocument::new(difference, &member.own_name)),
            },
            mended_by: item.mended_by(context),
            fails: told.fails(&item),
        };
        let groups = told.health.drift.groups.iter().filter_map(|group| {
            let first = group.members.first()?;
            Some(GroupDocument {
                tenants: group.members.len(),
                tenant: first.name.to_string(),
                differences: group.differences.iter().map(|difference| difference.in_short(&first.own_name)).collect(),
            })
        });
        Self {
            healthy,
            checked: told.health.checked,
            unhealthy: told.unhealthy(),
            findings: told.items().map(finding).collect(),
            groups: groups.collect(),
            unchecked: told.health.unchecked.clone(),
        }
    }
}
