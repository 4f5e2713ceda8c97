//! Measures what `search_path` costs an application: a query on a fixed path, with the path set in each transaction, and by
//! qualified names; and what a session that visits many tenants costs.
//!
//! The schemas of the benchmark are its own, and are dropped at the end. Those of a run that was killed are dropped by the
//! next run.

mod schemas;

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use self::schemas::{BenchmarkSchemas, ROWS};
use crate::database::{Database, Stop};
use crate::error::Error;
use crate::model::SchemaName;
use crate::postgres::SchemaPath;
use crate::sql::quote::Identifier;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathBenchmarkSize {
    /// How often each operation is measured.
    pub iterations: u32,
    /// The largest number of tenants that a session visits.
    pub tenants: u32,
}

/// What is measured. Each operation is one message with one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathOperation {
    /// Reads a row. The session's path is fixed.
    FixedPath,
    /// Reads a row by the qualified name of the table.
    QualifiedName,
    /// Sets the path of the transaction, and reads a row.
    SetLocal,
    /// Sets the path of the transaction, and nothing else.
    SwitchOnly,
    /// As [`SetLocal`](Self::SetLocal), in turns for two tenants.
    TwoTenants,
    /// Sets the path of the transaction, and inserts a row.
    Insert,
}

impl PathOperation {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Self; 6] =
        [Self::FixedPath, Self::QualifiedName, Self::SetLocal, Self::SwitchOnly, Self::TwoTenants, Self::Insert];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FixedPath => "fixed-path",
            Self::QualifiedName => "qualified-name",
            Self::SetLocal => "set-local",
            Self::SwitchOnly => "switch-only",
            Self::TwoTenants => "two-tenants",
            Self::Insert => "insert",
        }
    }
}

/// How long an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The average.
    pub mean: Duration,
    /// The median.
    pub p50: Duration,
    /// The time that 95 % of the executions take at most.
    pub p95: Duration,
    /// The longest time.
    pub max: Duration,
}

/// What a session costs that visits this many tenants in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitedTenants {
    /// The number of tenants.
    pub tenants: u32,
    /// The first visits, in which the server reads the catalogs.
    pub first: Latency,
    /// Later visits.
    pub later: Latency,
    /// The memory of the server's process afterwards, in bytes. `None` if the role may not read it.
    pub session_bytes: Option<u64>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathBenchmark {
    /// The operations, in the order of [`PathOperation::ALL`].
    pub operations: Vec<(PathOperation, Latency)>,
    /// What sessions cost that visit 1, 100 and 1,000 tenants, up to the largest number.
    pub visited: Vec<VisitedTenants>,
}

/// Measures all of it. Calls `observe` when a part begins. `None` if the run was stopped; the schemas were dropped then, too.
///
/// # Errors
/// The server's error, for example because the role may not create schemas. The schemas were dropped if the server could be
/// reached.
pub fn benchmark_search_path(
    db: &mut Database,
    size: PathBenchmarkSize,
    stop: &Stop,
    observe: &mut dyn FnMut(&str),
) -> Result<Option<PathBenchmark>, Error> {
    let mut main = db.connector().connect()?;
    let doing = Error::doing("measure search_path");
    schemas::sweep(&mut main).map_err(&doing)?;
    let many = size.tenants.max(2) as usize;
    let schemas = BenchmarkSchemas::reserve(&mut main, many).map_err(&doing)?;
    let result = measure_all(db, &mut main, &schemas, size, stop, observe);
    let dropped = schemas.drop(&mut main).map_err(Error::doing("drop the schemas of the benchmark"));
    let result = result?;
    dropped.map(|()| result)
}

fn measure_all(
    db: &Database,
    main: &mut PgConnection,
    schemas: &BenchmarkSchemas,
    size: PathBenchmarkSize,
    stop: &Stop,
    observe: &mut dyn FnMut(&str),
) -> Result<Option<PathBenchmark>, Error> {
    let doing = Error::doing("measure search_path");
    observe("creating the schemas");
    let mut made = 0;
    while schemas.create_next(main, &mut made).map_err(&doing)? {
        if stop.is_requested() {
            return Ok(None);
        }
    }
    let mut result = PathBenchmark::default();
    let (mut fixed, mut other) = (db.connector().connect()?, db.connector().connect()?);
    fixed.batch_execute(&path(&schemas.names[0]).set_for_session()).map_err(&doing)?;
    observe("measuring the operations");
    // A commit that waits for the disk would make the operation after it slower.
    let (insert, reads): (Vec<_>, Vec<_>) =
        PathOperation::ALL.into_iter().partition(|operation| *operation == PathOperation::Insert);
    for operations in [reads, insert] {
        // In turns, so that what else the machine does affects all operations.
        let mut samples: Vec<_> = operations.into_iter().map(|operation| (operation, Vec::new())).collect();
        let warm_up = size.iterations.min(20);
        for turn in 0..size.iterations + warm_up {
            if stop.is_requested() {
                return Ok(None);
            }
            for (operation, times) in &mut samples {
                let schema = match operation {
                    PathOperation::TwoTenants => &schemas.names[turn as usize % 2],
                    _ => &schemas.names[0],
                };
                let conn = if *operation == PathOperation::FixedPath { &mut fixed } else { &mut other };
                let message = message(*operation, schema, turn);
                let began = Instant::now();
                conn.batch_execute(&message).map_err(&doing)?;
                if turn >= warm_up {
                    times.push(began.elapsed());
                }
            }
        }
        let measured = samples.into_iter().map(|(operation, times)| (operation, Latency::of(times)));
        result.operations.extend(measured);
    }
    for tenants in [1, 100, 1_000].into_iter().filter(|tenants| *tenants <= size.tenants.max(1)) {
        observe(&format!("visiting tenants: {tenants}"));
        match visit(db, &schemas.names[..tenants as usize], size, stop)? {
            Some(visited) => result.visited.push(visited),
            None => return Ok(None),
        }
    }
    Ok(Some(result))
}

/// Visits tenants in turns with a new session.
fn visit(
    db: &Database,
    names: &[SchemaName],
    size: PathBenchmarkSize,
    stop: &Stop,
) -> Result<Option<VisitedTenants>, Error> {
    let doing = Error::doing("measure search_path");
    let mut conn = db.connector().connect()?;
    let (mut first, mut later) = (Vec::new(), Vec::new());
    let visits = names.len() + (size.iterations as usize).max(names.len());
    for visit in 0..visits {
        if stop.is_requested() {
            return Ok(None);
        }
        let message = message(PathOperation::SetLocal, &names[visit % names.len()], u32::try_from(visit).unwrap_or(0));
        let began = Instant::now();
        conn.batch_execute(&message).map_err(&doing)?;
        if visit < names.len() { &mut first } else { &mut later }.push(began.elapsed());
    }
    let bytes =
        sql::<BigInt>("(SELECT pg_catalog.sum(total_bytes)::bigint FROM pg_catalog.pg_backend_memory_contexts)");
    // Only superusers and members of pg_read_all_stats may read it.
    let bytes: Option<i64> = diesel::select(bytes).get_result(&mut conn).ok();
    Ok(Some(VisitedTenants {
        tenants: u32::try_from(names.len()).unwrap_or(u32::MAX),
        first: Latency::of(first),
        later: Latency::of(later),
        session_bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
    }))
}

fn path(schema: &SchemaName) -> SchemaPath<'_> {
    SchemaPath::new(schema, &[])
}

fn message(operation: PathOperation, schema: &SchemaName, turn: u32) -> String {
    // A prime number, so that consecutive keys are in different pages.
    let key = turn.wrapping_mul(7_919) % ROWS + 1;
    let set = path(schema).set_for_transaction();
    match operation {
        PathOperation::FixedPath => format!("BEGIN; SELECT label FROM items WHERE id = {key}; COMMIT"),
        PathOperation::QualifiedName => {
            format!("BEGIN; SELECT label FROM {}.items WHERE id = {key}; COMMIT", Identifier::from(schema))
        }
        PathOperation::SetLocal | PathOperation::TwoTenants => {
            format!("BEGIN; {set} SELECT label FROM items WHERE id = {key}; COMMIT")
        }
        PathOperation::SwitchOnly => format!("BEGIN; {set} COMMIT"),
        PathOperation::Insert => {
            format!("BEGIN; {set} INSERT INTO items VALUES ({}, 'item'); COMMIT", u64::from(ROWS) + 1 + u64::from(turn))
        }
    }
}

impl Latency {
    /// Of these times; zeros if there are none.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent).div_ceil(100).clamp(1, times.len().max(1)) - 1;
            times.get(index).copied().unwrap_or_default()
        };
        let many = u32::try_from(times.len()).unwrap_or(u32::MAX).max(1);
        Self { mean: times.iter().sum::<Duration>() / many, p50: at(50), p95: at(95), max: at(100) }
    }

    /// How many such operations a session executes in a second.
    pub fn per_second(&self) -> u64 {
        let nanos = self.mean.as_nanos().max(1);
        u64::try_from(1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_that_of_the_sorted_times() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(times);
        let milliseconds = [latency.p50, latency.p95, latency.max].map(|time| time.as_millis());
        assert_eq!((milliseconds, latency.mean), ([50, 95, 100], Duration::from_micros(50_500)));
        assert_eq!(latency.per_second(), 19);
        assert_eq!(Latency::of(Vec::new()).max, Duration::ZERO);
        assert_eq!(Latency::of(vec![Duration::from_millis(7)]).p95, Duration::from_millis(7));
    }
}
