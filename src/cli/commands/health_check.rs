//! `health-check`

mod junit;
mod told;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use serde::Serialize;

use super::diff::DifferenceDocument;
use crate::cli::arguments::Matching;
use crate::cli::comparing::{Comparing, tell_unused};
use crate::cli::context::{Context, exit_of};
use crate::cli::exit::Exit;
use crate::drift::{Level, Stamps};
use crate::health::{self, Kind};
use told::{Group, Item, Told};

/// Check whether every tenant is as it should be
///
/// The exit code is 1 when something is amiss; --fail-on tells what counts.
///
/// Checked are, for each tenant, its schema, its ledger, the migrations in it, its state in the tracker, and its
/// structure, which is held against what the tenant migrations produce; for the database, orphaned schemas, the tracker,
/// migrations that are not as they were first applied, and tenants' tables that ended up in public. Nothing is changed.
///
/// The kinds of findings: tracker-behind, migration-changed, reference-failed, table-in-public, ledger-in-public,
/// orphaned-schema, bad-name, schema-missing, unreadable, ledger-missing, stuck-creating, stuck-dropping,
/// missing-migrations, out-of-order, unknown-migrations, unfinished-migration.
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
    let told = Told::new(&health, &accepted, &args.comparing, &args.fail_on);
    let healthy = told.healthy();
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
        false => told.rows(context),
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

#[derive(Serialize)]
struct Document {
    healthy: bool,
    checked: usize,
    unhealthy: usize,
    findings: Vec<FindingDocument>,
    /// How many tenants differ in the same way, but for what is accepted.
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
        let finding = |item: &Item<'_>| FindingDocument {
            tenant: item.tenant().map(str::to_owned),
            kind: match item {
                Item::Finding(finding) => finding.kind.as_str(),
                Item::Drift(..) => "drift",
            },
            level: item.level().as_str(),
            message: item.message(),
            items: match item {
                Item::Finding(finding) => finding.items.clone(),
                Item::Drift(member, difference) => vec![difference.name(&member.own_name)],
            },
            difference: match item {
                Item::Finding(_) => None,
                Item::Drift(member, difference) => Some(DifferenceDocument::new(difference, &member.own_name)),
            },
            mended_by: told.mended_by(item, context),
            fails: told.fails(item),
        };
        let group = |Group { members, differences }: &Group<'_>| {
            let first = members.first()?;
            Some(GroupDocument {
                tenants: members.len(),
                tenant: first.name.to_string(),
                differences: differences.iter().map(|difference| difference.in_short(&first.own_name)).collect(),
            })
        };
        Self {
            healthy,
            checked: told.health.checked,
            unhealthy: told.unhealthy(),
            findings: told.items.iter().map(finding).collect(),
            groups: told.groups.iter().filter_map(group).collect(),
            unchecked: told.health.unchecked.clone(),
        }
    }
}
