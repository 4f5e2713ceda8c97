//! `metrics`

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::files::require_writable;
use crate::cli::output::to_stdout;
use crate::cli::settings::{Jobs, ReadOptions};
use crate::database::Database;
use crate::health::{self, Health};
use crate::migration::MigrationSet;
use crate::model::State;
use crate::record::runs;
use crate::rows::{Layout, registry};
use crate::schema::drift::Stamps;
use crate::schema::reference::Source;
use crate::tenants::Fleet;

/// Print metrics of the fleet for Prometheus
///
/// Compares the tenants as health-check does. Findings do not change the exit code.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Replace this file instead of printing, for the textfile collector of node_exporter
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    options: ReadOptions,
}

impl Args {
    /// The number of connections.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    if let Some(file) = &args.output {
        require_writable(file)?;
    }
    let (tenancy, mut db) = context.comparing(&args.options, Some(&args.jobs))?;
    let options = health::CheckOptions { reference: Source::default(), stamps: Stamps::Trust };
    let health = health::check(&mut db, &tenancy, &options, |_| true)?;
    let metrics = Metrics::new(context)?;
    metrics.add_tenants(&mut db, tenancy.tenant_migrations())?;
    metrics.add_health(&health)?;
    metrics.add_runs(&mut db)?;
    let families = metrics.registry.gather();
    match context.output().gathered() {
        Some(gathered) => gathered.push_metrics(families, args.output),
        None => write(&families, args.output.as_deref())?,
    }
    Ok(Exit::Done)
}

/// Writes metrics to a file, or prints them.
pub(crate) fn write(families: &[MetricFamily], file: Option<&Path>) -> Result<()> {
    let text = TextEncoder::new().encode_to_string(families)?;
    match file {
        Some(file) => replace(file, &text),
        None => to_stdout(|out| out.write_all(text.as_bytes())),
    }
}

/// Replaces a file atomically, so that a collector never reads a part of it.
fn replace(file: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
        let mut temporary =
            tempfile::Builder::new().prefix(".tenantry-").tempfile_in(directory.unwrap_or(Path::new(".")))?;
        temporary.write_all(text.as_bytes())?;
        set_readable(temporary.as_file())?;
        temporary.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Lets others read the file, which is temporary and therefore private: the collector runs as another user.
#[cfg(unix)]
fn set_readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_readable(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}

struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics of a command on one of several servers have the label `server`.
    fn new(context: &Context) -> Result<Self> {
        let server = context.output().gathered().map(|gathered| gathered.server.to_string());
        let labels = server.map(|server| HashMap::from([("server".to_owned(), server)]));
        Ok(Self { registry: Registry::new_custom(None, labels)? })
    }

    fn gauge(&self, name: &str, help: &str, value: usize) -> Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.registry.register(Box::new(gauge))?;
        Ok(())
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    /// The tenants by state, and how many are behind. Each state has a value, also if no tenant is in it.
    fn add_tenants(&self, db: &mut Database, set: &MigrationSet) -> Result<()> {
        let tenants = self.gauges("tenantry_tenants", "Tenants by state.", &["state"])?;
        for state in State::ALL {
            tenants.with_label_values(&[state.as_str()]).set(0);
        }
        if let Some(layout) = Layout::of(db)? {
            let registered = registry::tenants(db, &layout)?.len();
            tenants.with_label_values(&[State::Active.as_str()]).set(i64::try_from(registered)?);
            return Ok(());
        }
        let fleet = Fleet::read(db.connection(), set)?;
        let states = fleet.tenants.iter().map(|tenant| tenant.state.as_str());
        let misnamed = fleet.misnamed.iter().map(|misnamed| misnamed.state.as_str());
        for state in states.chain(misnamed) {
            tenants.with_label_values(&[state]).inc();
        }
        tenants.with_label_values(&["invalid"]).set(i64::try_from(fleet.invalid.len())?);
        let is_behind = |ledger: &crate::tenants::ledger::Ledger| !ledger.pending.is_empty();
        let behind = fleet.tenants.iter().filter(|tenant| tenant.ledger().is_none_or(is_behind)).count();
        self.gauge("tenantry_tenants_behind", "Tenants with pending migrations, or without a ledger.", behind)
    }

    /// The findings by kind. Each kind has a value, also if there is no such finding.
    fn add_health(&self, health: &Health) -> Result<()> {
        let findings = self.gauges("tenantry_findings", "Findings of the health check by kind.", &["kind"])?;
        let mut kinds: BTreeMap<&str, i64> =
            health::FindingKind::ALL.into_iter().map(|kind| (kind.as_str(), 0)).collect();
        for finding in &health.findings {
            *kinds.entry(finding.kind.as_str()).or_default() += 1;
        }
        for (kind, number) in kinds {
            findings.with_label_values(&[kind]).set(number);
        }
        let is_drifted = |differences: &[_]| !differences.is_empty();
        let groups = health.drift.groups.iter().filter(|group| is_drifted(&group.differences));
        let drifted = groups.map(|group| group.members.len()).sum();
        self.gauge("tenantry_tenants_drifted", "Tenants that differ from the reference.", drifted)?;
        self.gauge("tenantry_tenants_checked", "Tenants compared with the reference.", health.checked())?;
        let unchecked = health.unchecked_tenants();
        self.gauge("tenantry_tenants_unchecked", "Tenants that were not compared with the reference.", unchecked)
    }

    /// The newest run, and the tenants that the last run that reached them did not complete.
    fn add_runs(&self, db: &mut Database) -> Result<()> {
        if !db.server().has_runs {
            return Ok(());
        }
        let failed = runs::last_failed(db.connection())?.len();
        self.gauge("tenantry_tenants_failed", "Tenants whose last run failed or was deferred.", failed)?;
        let newest = runs::newest(db.connection(), 1)?;
        let Some(run) = newest.first() else { return Ok(()) };
        let started = self.gauges(
            "tenantry_last_run_started_seconds",
            "Start of the newest run, in seconds since 1970.",
            &["command", "outcome"],
        )?;
        let outcome = run.outcome.as_deref().unwrap_or("none");
        started.with_label_values(&[run.command.as_str(), outcome]).set(run.started_at.timestamp());
        let tenants =
            self.gauges("tenantry_last_run_tenants", "Tenants of the newest run by outcome.", &["outcome"])?;
        let outcomes = [
            ("done", run.done),
            ("unchanged", run.unchanged),
            ("failed", run.failed),
            ("deferred", run.deferred),
            ("not-reached", run.not_reached),
        ];
        for (outcome, number) in outcomes {
            tenants.with_label_values(&[outcome]).set(i64::from(number));
        }
        Ok(())
    }
}
