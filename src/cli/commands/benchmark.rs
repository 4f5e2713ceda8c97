//! `benchmark`

mod search_path;

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::thousands;
use crate::cli::settings::{Connection, positive};
use crate::rows::benchmark::{self, BenchmarkSize, MeasuredIsolation, MeasuredOperation, Measurement};

/// Measure what isolation and search_path cost
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    subject: BenchmarkSubject,
}

#[derive(Debug, Clone, Subcommand)]
enum BenchmarkSubject {
    /// Compare row-level security with explicit conditions
    ///
    /// Measures queries on tables of one tenant, and on tables that tenants share: with a condition on the tenant, with
    /// policies on a setting, and with policies on a signed context. All of it is one transaction with roles and tables of
    /// its own, which is rolled back: nothing remains, also if the command is killed. It requires a superuser.
    Isolation(IsolationArgs),
    /// Compare ways to reach the schema of a tenant
    ///
    /// Measures a query on a fixed search_path, with the path set in each transaction, and by qualified names; and sessions
    /// that visit many tenants. The schemas of the benchmark are its own and are dropped at the end; those of a killed run are
    /// dropped by the next one. It requires CREATE on the database.
    SearchPath(search_path::SearchPathArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct IsolationArgs {
    /// Rows of each tenant
    #[arg(long, value_name = "N", default_value = "100000", value_parser = positive::<NonZeroU32>)]
    rows: NonZeroU32,

    /// Tenants that share a table
    #[arg(long, value_name = "N", default_value = "5", value_parser = positive::<NonZeroU32>)]
    tenants: NonZeroU32,

    /// Executions of each operation; a scan is executed 20 times at most
    #[arg(long, value_name = "N", default_value = "500", value_parser = positive::<NonZeroU32>)]
    iterations: NonZeroU32,

    #[command(flatten)]
    connection: Connection,
}

/// What a scan with signed contexts may take at most, in percent of a scan with an explicit condition.
const MAX_SCAN_PERCENT: u64 = 110;

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.subject {
        BenchmarkSubject::Isolation(args) => isolation(&args, context),
        BenchmarkSubject::SearchPath(args) => search_path::run(&args, context),
    }
}

fn isolation(args: &IsolationArgs, context: &Context) -> Result<Exit> {
    let mut db = context.database(&args.connection)?;
    let output = context.output();
    let size = BenchmarkSize { rows: args.rows.get(), tenants: args.tenants.get(), iterations: args.iterations.get() };
    let measured = benchmark::run(&mut db, size, &mut |phase| output.detail(format_args!("{phase}")))?;
    let document = Document::new(size, &measured);
    if output.is_json() {
        output.json(&document)?;
    } else {
        let cells = |one: &MeasurementDocument| {
            let times = [one.p50_ns, one.p95_ns].map(milliseconds);
            let words = [one.operation.to_owned(), one.isolation.to_owned()];
            words.into_iter().chain(times).chain([ratio(one.percent)]).collect()
        };
        output.table(&["operation", "isolation", "p50", "p95", "ratio"], document.measurements.iter().map(cells))?;
    }
    output.summary(&document.verdict);
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    /// The rows of each tenant.
    rows: u32,
    /// The tenants that share a table.
    tenants: u32,
    /// How often each operation was executed.
    iterations: u32,
    measurements: Vec<MeasurementDocument>,
    /// A scan with signed contexts, in percent of one with an explicit condition.
    scan_percent: u64,
    /// Whether this is at most 110.
    within_limit: bool,
    verdict: String,
}

#[derive(Serialize)]
struct MeasurementDocument {
    /// `point`, `join`, `insert` or `scan`.
    operation: &'static str,
    /// `none`, `where`, `setting` or `signed`.
    isolation: &'static str,
    /// The median, in nanoseconds.
    p50_ns: u64,
    /// The time that 95 % of the executions take at most, in nanoseconds.
    p95_ns: u64,
    /// The median in percent of that without isolation.
    percent: u64,
}

impl Document {
    fn new(size: BenchmarkSize, measured: &[Measurement]) -> Self {
        let p50 = |operation, isolation| {
            let found = measured.iter().find(|one| one.operation == operation && one.isolation == isolation);
            found.map_or(Duration::ZERO, |one| one.p50)
        };
        let measurements = measured.iter().map(|one| MeasurementDocument {
            operation: one.operation.as_str(),
            isolation: one.isolation.as_str(),
            p50_ns: nanos(one.p50),
            p95_ns: nanos(one.p95),
            percent: percent(one.p50, p50(one.operation, MeasuredIsolation::None)),
        });
        let scan_percent = percent(
            p50(MeasuredOperation::Scan, MeasuredIsolation::Signed),
            p50(MeasuredOperation::Scan, MeasuredIsolation::Where),
        );
        let point = |isolation| p50(MeasuredOperation::Point, isolation);
        let point = nanos(point(MeasuredIsolation::Signed).saturating_sub(point(MeasuredIsolation::Where))) / 1_000;
        let within_limit = scan_percent <= MAX_SCAN_PERCENT;
        let verdict = format!(
            "signed contexts {} a scan of {} rows {} times as long as an explicit condition, and add {} µs to a query of one row",
            if within_limit { "are suitable here: they make" } else { "are slow here: they make" },
            thousands(usize::try_from(size.rows).unwrap_or(usize::MAX)),
            ratio(scan_percent),
            point
        );
        Self {
            rows: size.rows,
            tenants: size.tenants,
            iterations: size.iterations,
            measurements: measurements.collect(),
            scan_percent,
            within_limit,
            verdict,
        }
    }
}

/// A time in milliseconds with three decimals.
fn milliseconds(nanos: u64) -> String {
    format!("{}.{:03} ms", nanos / 1_000_000, nanos / 1_000 % 1_000)
}

/// A ratio with two decimals.
fn ratio(percent: u64) -> String {
    format!("{}.{:02}", percent / 100, percent % 100)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn percent(time: Duration, of: Duration) -> u64 {
    nanos(time).saturating_mul(100).checked_div(nanos(of)).unwrap_or_default()
}
