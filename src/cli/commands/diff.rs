//! `diff`

use anstyle::Style;
use anyhow::Result;
use serde::Serialize;

use crate::cli::codes::FailOn;
use crate::cli::compare::{CompareOptions, line_by_line, report_unused};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::output::{MISSING, TITLE, UNEXPECTED, count};
use crate::cli::settings::ReadOptions;
use crate::model::TenantName;
use crate::schema::drift::{self, Diff, Difference};

/// Show how a tenant differs from the reference
///
/// Compares the structure of the tenant's schema with the reference, which is the result of the tenant migrations, or with
/// another tenant. Lines with - are expected and missing, lines with + are unexpected. The exit code is 1 if there are
/// differences that --fail-on selects.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    name: TenantName,

    /// Compare with this tenant instead, even if it has other migrations
    #[arg(conflicts_with = "reference")]
    other: Option<TenantName>,

    #[command(flatten)]
    comparing: CompareOptions,

    /// Fail only on these codes or levels; CODE is a pattern as for --ignore; all differences are shown [default:
    /// structural, security, privilege]
    #[arg(long, value_name = "CODE|LEVEL", value_delimiter = ',')]
    fail_on: Vec<FailOn>,

    #[command(flatten)]
    options: ReadOptions,
}

named_tenants!(Args, one name, other);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let accepted = args.comparing.accepted()?;
    let source = args.comparing.source(context)?;
    let (tenancy, mut db) = context.comparing(&args.options, None)?;
    super::rows::require_schemas(&mut db, "diff")?;
    db.require_tracker(&tenancy)?;
    let compared = match &args.other {
        Some(other) => drift::against_tenant(&mut db, &tenancy, &args.name, other)?,
        None => drift::against_reference(&mut db, &tenancy, &args.name, &source)?,
    };
    let Diff { own_name, mut differences } = compared.diff();
    differences.retain(|difference| !accepted.accepts(args.name.as_str(), &own_name, difference));
    let output = context.output();
    report_unused(&accepted, output);
    let fails = |difference: &Difference| match args.fail_on.as_slice() {
        [] => difference.level.fails_by_default(),
        chosen => chosen.iter().any(|chosen| chosen.is_difference(&args.name, &own_name, difference)),
    };
    let failed = differences.iter().any(fails);
    if output.is_json() {
        output.json(&Document {
            tenant: args.name.as_str(),
            compared_with: args.other.as_ref().map(TenantName::as_str),
            identical: differences.is_empty(),
            differences: differences.iter().map(|difference| DifferenceDocument::new(difference, &own_name)).collect(),
        })?;
        return Ok(if failed { Exit::Found } else { Exit::Done });
    }
    output.styled_lines(differences.iter().flat_map(|difference| lines(difference, &own_name)))?;
    let against = args.other.as_ref().map_or("the reference", TenantName::as_str);
    output.status(match differences.len() {
        0 => format!("{} matches {against}", args.name),
        n => format!("{} differs from {against}: {}", args.name, count(n, "difference")),
    });
    if !differences.is_empty() && args.other.is_none() {
        let command = args.comparing.repair_plan(&args.name, context);
        output.next(format_args!("'{command}' prints SQL that repairs it"));
    }
    Ok(if failed { Exit::Found } else { Exit::Done })
}

fn lines(difference: &Difference, own_name: &str) -> Vec<(Style, String)> {
    let (code, level, kind, name) = (difference.code(), difference.level, difference.kind(), difference.name(own_name));
    let references_tenant = match &difference.references_tenant {
        Some(tenant) => format!("; refers to tenant {tenant}"),
        None => String::new(),
    };
    let style = |line: &str| match line.chars().next() {
        Some('-') => MISSING,
        Some('+') => UNEXPECTED,
        _ => Style::new(),
    };
    let changes = line_by_line(difference.expected(own_name).as_deref(), difference.actual(own_name).as_deref());
    let mut lines = vec![(TITLE, format!("{kind} {name} ({level}, {code}{references_tenant})"))];
    lines.extend(changes.into_iter().map(|line| (style(&line), line)));
    lines.push((Style::new(), String::new()));
    lines
}

#[derive(Serialize)]
struct Document<'a> {
    tenant: &'a str,
    /// Null for the reference.
    compared_with: Option<&'a str>,
    identical: bool,
    differences: Vec<DifferenceDocument>,
}

/// A difference in JSON, here and among the findings of `health-check`.
#[derive(Serialize)]
pub(super) struct DifferenceDocument {
    code: String,
    level: &'static str,
    kind: &'static str,
    name: String,
    /// Null if the reference does not have it.
    expected: Option<String>,
    /// Null if the tenant does not have it.
    actual: Option<String>,
    /// The other tenant that the found value refers to.
    references_tenant: Option<String>,
}

impl DifferenceDocument {
    pub(super) fn new(difference: &Difference, own_name: &str) -> Self {
        Self {
            code: difference.code(),
            level: difference.level.as_str(),
            kind: difference.kind().as_str(),
            name: difference.name(own_name),
            expected: difference.expected(own_name),
            actual: difference.actual(own_name),
            references_tenant: difference.references_tenant.clone(),
        }
    }
}
