//! `benchmark search-path`

use std::num::NonZeroU32;

use anyhow::Result;
use serde::Serialize;

use super::{milliseconds, nanos, percent, ratio};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::settings::{Connection, positive};
use crate::operations::{self, Latency, PathBenchmark, PathBenchmarkSize, PathOperation, VisitedTenants};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct SearchPathArgs {
    /// Executions of each operation
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive::<NonZeroU32>)]
    iterations: NonZeroU32,

    /// Largest number of tenants that a session visits: 1, 100 and 1000 are measured up to it
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive::<NonZeroU32>)]
    tenants: NonZeroU32,

    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &SearchPathArgs, context: &Context) -> Result<Exit> {
    let mut db = context.database(&args.connection)?;
    let output = context.output();
    let size = PathBenchmarkSize { iterations: args.iterations.get(), tenants: args.tenants.get() };
    let mut observe = |part: &str| output.detail(format_args!("{part}"));
    let Some(measured) = operations::benchmark_search_path(&mut db, size, &context.stop(), &mut observe)? else {
        output.error("interrupted; the schemas of the benchmark were dropped");
        return Ok(Exit::Interrupted);
    };
    let document = Document::new(size, &measured);
    if output.is_json() {
        output.json(&document)?;
    } else {
        let times = |latency: &LatencyDocument| {
            [latency.mean_ns, latency.p50_ns, latency.p95_ns, latency.max_ns].map(milliseconds)
        };
        let rows = document.operations.iter().map(|one| {
            let last = [one.latency.per_second.to_string(), ratio(one.percent)];
            [one.operation.to_owned()].into_iter().chain(times(&one.latency)).chain(last).collect()
        });
        output.table(&["operation", "avg", "p50", "p95", "max", "per second", "ratio"], rows)?;
        let rows = document.visited.iter().map(|one| {
            let bytes = one.session_bytes.and_then(|bytes| i64::try_from(bytes).ok());
            let memory = bytes.map_or_else(|| "-".to_owned(), output::size);
            vec![
                one.tenants.to_string(),
                milliseconds(one.first.p50_ns),
                milliseconds(one.later.p50_ns),
                milliseconds(one.later.p95_ns),
                memory,
            ]
        });
        output.table(&["tenants", "first p50", "later p50", "later p95", "session memory"], rows)?;
    }
    output.summary(&document.verdict);
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    /// How often each operation was executed.
    iterations: u32,
    operations: Vec<OperationDocument>,
    visited: Vec<VisitedDocument>,
    verdict: String,
}

#[derive(Serialize)]
struct OperationDocument {
    /// `fixed-path`, `qualified-name`, `set-local`, `switch-only`, `two-tenants` or `insert`.
    operation: &'static str,
    latency: LatencyDocument,
    /// The median in percent of that of `fixed-path`.
    percent: u64,
}

#[derive(Serialize)]
struct LatencyDocument {
    /// The average, in nanoseconds.
    mean_ns: u64,
    /// The median, in nanoseconds.
    p50_ns: u64,
    /// The time that 95 % of the executions take at most, in nanoseconds.
    p95_ns: u64,
    /// The longest time, in nanoseconds.
    max_ns: u64,
    /// The operations that a session executes in a second.
    per_second: u64,
}

#[derive(Serialize)]
struct VisitedDocument {
    tenants: u32,
    /// The first visit of each tenant.
    first: LatencyDocument,
    /// Later visits.
    later: LatencyDocument,
    /// The memory of the server's process afterwards, or null if the role may not read it.
    session_bytes: Option<u64>,
}

impl LatencyDocument {
    fn new(latency: &Latency) -> Self {
        Self {
            mean_ns: nanos(latency.mean),
            p50_ns: nanos(latency.p50),
            p95_ns: nanos(latency.p95),
            max_ns: nanos(latency.max),
            per_second: latency.per_second(),
        }
    }
}

impl Document {
    fn new(size: PathBenchmarkSize, measured: &PathBenchmark) -> Self {
        let find = |wanted| measured.operations.iter().find(|(operation, _)| *operation == wanted);
        let p50 = |operation| find(operation).map(|(_, latency)| latency.p50).unwrap_or_default();
        let fixed = p50(PathOperation::FixedPath);
        let operations = measured.operations.iter().map(|(operation, latency)| OperationDocument {
            operation: operation.as_str(),
            latency: LatencyDocument::new(latency),
            percent: percent(latency.p50, fixed),
        });
        let visited = measured.visited.iter().map(|one| VisitedDocument {
            tenants: one.tenants,
            first: LatencyDocument::new(&one.first),
            later: LatencyDocument::new(&one.later),
            session_bytes: one.session_bytes,
        });
        Self {
            iterations: size.iterations,
            operations: operations.collect(),
            visited: visited.collect(),
            verdict: verdict(p50(PathOperation::SetLocal).saturating_sub(fixed).as_micros(), &measured.visited),
        }
    }
}

/// What an application should know: the cost of the path, and what a session that visits many tenants needs.
fn verdict(set_local_micros: u128, visited: &[VisitedTenants]) -> String {
    let cost = format!("setting search_path in each transaction adds {set_local_micros} µs");
    let (Some(one), Some(many)) = (visited.first(), visited.last()) else { return cost };
    let Some(((one_bytes, many_bytes), tenants)) = one
        .session_bytes
        .zip(many.session_bytes)
        .zip(many.tenants.checked_sub(one.tenants))
        .filter(|(_, more)| *more > 0)
    else {
        return cost;
    };
    let per_tenant = many_bytes.saturating_sub(one_bytes) / u64::from(tenants);
    let memory = output::size(i64::try_from(per_tenant).unwrap_or(i64::MAX));
    format!("{cost}; each tenant that a session visits adds {memory} of memory to it")
}
