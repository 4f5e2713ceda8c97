//! `probe`

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::key;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::named_tenants;
use crate::cli::output::{Output, count};
use crate::cli::settings::Connection;
use crate::database::Database;
use crate::error::{Error, ProbeError};
use crate::model::ObjectName;
use crate::postgres::{Connector, DatabaseUrl};
use crate::probe::{self, ProbeKind, ProbeOptions, ProbeOutcome, ProbeReport, ProbeResult};
use crate::rows::{ContextKind, Layout};
use crate::text::shell_word;

/// Try to reach other tenants as an application's role
///
/// Connects as the role of the application, or as the role of a tenant that has a schema of its own, and tries to read, write,
/// refer to, count and guess what belongs to other tenants, and to get more rights. The exit code is 1 if something succeeds
/// that should fail. Each attempt is rolled back, and takes no lock that blocks reads or writes for longer than the attempt.
///
/// docs/isolation.md lists the probes. Use --as or --as-role for the role; its password comes from the URL, from
/// TENANTRY_PROBE_PASSWORD or from ~/.pgpass. --database-url is the operator's connection, which reads what to aim at.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Tenants to aim at [default: one with rows for each table, or 10 of the tenants with schemas]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// URL with the role to probe
    #[arg(long = "as", value_name = "URL", env = "TENANTRY_PROBE_URL", hide_env_values = true)]
    as_url: Option<String>,

    /// Role to probe, on the server of --database-url [default: the application's role of shared tables]
    #[arg(long, value_name = "ROLE", conflicts_with = "as_url")]
    as_role: Option<ObjectName>,

    /// Tenant that the role belongs to, or works for [default: by the role's search path or name, or one with rows]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// Only these probes
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = probe_kind(), hide_possible_values = true)]
    only: Vec<ProbeKind>,

    /// All probes but these
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = probe_kind(), hide_possible_values = true)]
    except: Vec<ProbeKind>,

    /// File with the application's context key; '-' is standard input [default: the variable TENANTRY_CONTEXT_KEY]
    #[arg(long, value_name = "FILE", env = "TENANTRY_CONTEXT_KEY_FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,

    /// Fail also if something could not be tried
    #[arg(long)]
    require_all: bool,

    #[command(flatten)]
    connection: Connection,
}

/// The variable with the password of the role.
const PASSWORD: &str = "TENANTRY_PROBE_PASSWORD";

fn probe_kind() -> impl TypedValueParser<Value = ProbeKind> {
    PossibleValuesParser::new(ProbeKind::ALL.iter().map(|kind| kind.as_str())).try_map(|name| name.parse::<ProbeKind>())
}

named_tenants!(Args, names);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut db = context.database(&args.connection)?;
    let layout = Layout::of(&mut db)?;
    let signed = layout.as_ref().is_some_and(|layout| layout.context == ContextKind::Signed);
    let options = ProbeOptions {
        connector: args.connector(&db, layout.as_ref())?,
        own: args.tenant.clone(),
        others: args.names.clone(),
        key: if signed { key::read_key_if_given(args.key_file.as_deref())? } else { None },
        probes: args.probes(),
    };
    let has_key = options.key.is_some();
    let report = probe::probe(&mut db, &options)?;
    let output = context.output();
    let fix = |result: &ProbeResult| report.fix(result, &|line| context.command(line));
    if output.is_json() {
        output.json(&Document::new(&report, &fix))?;
    } else {
        let lines = table(&report, output);
        if !lines.is_empty() {
            output.table(&["probe", "outcome", "object", "detail"], lines)?;
        }
    }
    for result in report.breaches() {
        let ProbeOutcome::Breach(observed) = &result.outcome else { continue };
        output.error(format_args!("breach: {}: {}: {observed}", result.probe, result.object));
        output.more("statement", &result.statement);
        output.more("role", &report.role);
        output.hint(fix(result));
    }
    let untried = report.untried().count();
    output.status(summary(&report));
    if untried > 0 && signed && !has_key {
        output.next("set TENANTRY_CONTEXT_KEY or --key-file to the application's context key");
    }
    let fails = report.breaches().next().is_some() || (args.require_all && untried > 0);
    Ok(if fails { Exit::Found } else { Exit::Done })
}

impl Args {
    fn probes(&self) -> BTreeSet<ProbeKind> {
        let only = if self.only.is_empty() { ProbeKind::ALL } else { &self.only };
        only.iter().copied().filter(|kind| !self.except.contains(kind)).collect()
    }

    /// Connects as the role to probe.
    fn connector(&self, db: &Database, layout: Option<&Layout>) -> Result<Connector> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let password = env(PASSWORD);
        let url: DatabaseUrl = match self.as_url.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
            Some(url) => {
                let url: DatabaseUrl = url.parse().context("invalid URL of --as")?;
                match password {
                    Some(password) => url.with_default("password", &password),
                    None => url,
                }
            }
            None => {
                let role = self.as_role.as_ref().or(layout.map(|layout| &layout.roles.app));
                let role = role.ok_or_else(|| Error::from(ProbeError::NoRole))?;
                let operator = self.connection.database_url.as_deref().map(str::trim).unwrap_or_default();
                let url: DatabaseUrl = operator.parse().context("invalid database URL")?;
                // Without a password of its own, the operator's must not be sent.
                let url = url.with("user", role.as_str()).with("password", password.as_deref().unwrap_or_default());
                url.with("dbname", &db.server().database)
            }
        };
        Ok(Connector::new(url, self.connection.connect_timeout.into(), env))
    }
}

/// A row for each probe and outcome; breaches have a row each.
fn table(report: &ProbeReport, output: &Output) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for kind in ProbeKind::ALL {
        let of_kind = || report.results.iter().filter(|result| result.probe == *kind);
        let mut line = |outcome: &str, objects: &[&str], detail: &str| {
            let objects = match objects {
                [one] => (*one).to_owned(),
                [] => String::new(),
                many => count(many.len(), "object"),
            };
            lines.push(vec![kind.to_string(), outcome.to_owned(), objects, detail.to_owned()]);
        };
        for result in of_kind() {
            if let ProbeOutcome::Breach(observed) = &result.outcome {
                line("breach", &[&result.object], observed);
            }
        }
        if output.is_quiet() {
            continue;
        }
        let held: Vec<&str> =
            of_kind().filter(|it| it.outcome == ProbeOutcome::Held).map(|it| it.object.as_str()).collect();
        if !held.is_empty() {
            line("held", &held, "");
        }
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for result in of_kind() {
            let ProbeOutcome::NotTried(reason) = &result.outcome else { continue };
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, objects)) => objects.push(&result.object),
                None => reasons.push((reason, vec![&result.object])),
            }
        }
        for (reason, objects) in reasons {
            line("not tried", &objects, reason);
        }
        if report.absent.contains(kind) {
            line("no object", &[], "");
        }
    }
    lines
}

fn summary(report: &ProbeReport) -> String {
    let (breaches, untried) = (report.breaches().count(), report.untried().count());
    let mut parts = vec![format!("{} held", report.results.len() - breaches - untried)];
    if breaches > 0 {
        parts.push(if breaches == 1 { "1 breach".to_owned() } else { format!("{breaches} breaches") });
    }
    if untried > 0 {
        parts.push(format!("{untried} not tried"));
    }
    let aim = match report.aimed_at.as_slice() {
        [] => String::new(),
        schemas => format!(" against {}", schemas.iter().map(|it| shell_word(it)).collect::<Vec<_>>().join(", ")),
    };
    format!("role {}{aim}: {}", report.role, parts.join(", "))
}

#[derive(Serialize)]
struct Document<'a> {
    /// The role.
    role: &'a str,
    /// Whether there is no breach.
    held: bool,
    results: Vec<ResultDocument<'a>>,
    /// The probes for which the database has no object.
    absent: Vec<&'static str>,
    /// The tenants whose schemas were aimed at.
    aimed_at: &'a [String],
}

#[derive(Serialize)]
struct ResultDocument<'a> {
    probe: &'static str,
    object: &'a str,
    outcome: &'static str,
    /// What was observed, or why it was not tried.
    detail: Option<&'a str>,
    /// Null if there was none.
    statement: Option<&'a str>,
    /// The findings that can explain a breach.
    causes: Vec<&'static str>,
    /// Null unless it is a breach.
    fix: Option<String>,
}

impl<'a> Document<'a> {
    fn new(report: &'a ProbeReport, fix: &dyn Fn(&ProbeResult) -> String) -> Self {
        let document = |result: &'a ProbeResult| {
            let (outcome, detail, is_breach) = match &result.outcome {
                ProbeOutcome::Held => ("held", None, false),
                ProbeOutcome::Breach(observed) => ("breach", Some(observed.as_str()), true),
                ProbeOutcome::NotTried(reason) => ("not-tried", Some(reason.as_str()), false),
            };
            ResultDocument {
                probe: result.probe.as_str(),
                object: &result.object,
                outcome,
                detail,
                statement: (!result.statement.is_empty()).then_some(result.statement.as_str()),
                causes: if is_breach { report.causes(result) } else { Vec::new() },
                fix: is_breach.then(|| fix(result)),
            }
        };
        Self {
            role: &report.role,
            held: report.breaches().next().is_none(),
            results: report.results.iter().map(document).collect(),
            absent: report.absent.iter().map(|probe| probe.as_str()).collect(),
            aimed_at: &report.aimed_at,
        }
    }
}
