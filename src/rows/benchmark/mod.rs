//! Measures what isolation costs on a server.
//!
//! All of it is one transaction that is rolled back, with roles and a schema of its own: nothing remains, also if the process
//! is killed. The policies and the function that verifies contexts are those of [isolation](super::isolate).

mod objects;

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use self::objects::BenchmarkObjects;
use crate::database::Database;
use crate::error::{Error, RowTenancyError};

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchmarkSize {
    /// The rows of each tenant, and those that a scan reads.
    pub rows: u32,
    /// The tenants that share a table.
    pub tenants: u32,
    /// How often each operation is measured. Scans are measured at most [`MAX_SCANS`] times.
    pub iterations: u32,
}

/// How often scans are measured at most.
pub const MAX_SCANS: u32 = 20;

/// How a query gets the rows of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MeasuredIsolation {
    /// The tenant has tables of its own, without row-level security.
    None,
    /// The query has a condition on the tenant column.
    Where,
    /// By policies on a setting.
    Setting,
    /// By policies on a signed context.
    Signed,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MeasuredOperation {
    /// Reads a row by its key.
    Point,
    /// Joins 100 rows with the rows that refer to them.
    Join,
    /// Inserts a row.
    Insert,
    /// Reads all rows of the tenant.
    Scan,
}

/// How long an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// What was measured.
    pub operation: MeasuredOperation,
    /// How the query gets the rows of one tenant.
    pub isolation: MeasuredIsolation,
    /// The median.
    pub p50: Duration,
    /// The time that 95 % of the executions take at most.
    pub p95: Duration,
}

impl MeasuredIsolation {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::None, Self::Where, Self::Setting, Self::Signed];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Where => "where",
            Self::Setting => "setting",
            Self::Signed => "signed",
        }
    }
}

impl MeasuredOperation {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Point, Self::Join, Self::Insert, Self::Scan];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Join => "join",
            Self::Insert => "insert",
            Self::Scan => "scan",
        }
    }
}

/// Measures all operations with each kind of isolation. Calls `observe` when it begins to fill the tables and to measure.
/// Commits nothing.
///
/// # Errors
/// [`RowTenancyError::NotSuperuser`], or the server's error.
pub fn run(db: &mut Database, size: BenchmarkSize, observe: &mut dyn FnMut(&str)) -> Result<Vec<Measurement>, Error> {
    let conn = db.connection();
    let is_superuser: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "(SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) session_user)",
    ))
    .get_result(conn)
    .map_err(Error::doing("read the attributes of the connected role"))?;
    if !is_superuser {
        return Err(RowTenancyError::NotSuperuser.into());
    }
    let measured = in_transaction(conn, size, observe).map_err(Error::doing("measure isolation"));
    let ended = conn.batch_execute("ROLLBACK").map_err(Error::doing("roll back the benchmark"));
    let measured = measured?;
    ended.map(|()| measured)
}

fn in_transaction(
    conn: &mut PgConnection,
    size: BenchmarkSize,
    observe: &mut dyn FnMut(&str),
) -> QueryResult<Vec<Measurement>> {
    let objects = BenchmarkObjects::new();
    conn.batch_execute(&objects.begin())?;
    observe("filling the tables");
    conn.batch_execute(&objects.create())?;
    for tenant in 1..=size.tenants.max(1) {
        conn.batch_execute(&objects.fill(tenant, size.rows))?;
    }
    conn.batch_execute(&objects.complete())?;
    objects.set_context(conn)?;
    let mut measurements = Vec::new();
    for operation in MeasuredOperation::ALL {
        observe(operation.as_str());
        let prepared = MeasuredIsolation::ALL.map(|isolation| objects.prepare(operation, isolation));
        for (isolation, statement) in MeasuredIsolation::ALL.iter().zip(&prepared) {
            conn.batch_execute(&objects.enter(*isolation))?;
            conn.batch_execute(&statement.prepare)?;
        }
        let measured = measure(size, operation, |which, key| {
            conn.batch_execute(&objects.enter(MeasuredIsolation::ALL[which]))?;
            let started = Instant::now();
            conn.batch_execute(&prepared[which].execute(key))?;
            Ok(started.elapsed())
        })?;
        prepared.iter().try_for_each(|statement| conn.batch_execute(&statement.deallocate))?;
        for (isolation, (p50, p95)) in MeasuredIsolation::ALL.into_iter().zip(measured) {
            measurements.push(Measurement { operation, isolation, p50, p95 });
        }
    }
    Ok(measurements)
}

/// The median and the 95th percentile of an operation with each kind of isolation. They take turns, so that the load of the
/// server is the same for all of them. `execute` gets the index of the kind and the key of a row, and returns the time.
fn measure(
    size: BenchmarkSize,
    operation: MeasuredOperation,
    mut execute: impl FnMut(usize, u32) -> QueryResult<Duration>,
) -> QueryResult<[(Duration, Duration); MeasuredIsolation::ALL.len()]> {
    let iterations = size.iterations.max(1);
    let iterations = if operation == MeasuredOperation::Scan { iterations.min(MAX_SCANS) } else { iterations };
    // The first executions of a prepared statement plan it, and read what is not in memory yet.
    let warm_up = iterations.min(10);
    let mut times = MeasuredIsolation::ALL.map(|_| Vec::new());
    for i in 0..warm_up + iterations {
        // A prime number, so that consecutive keys are in different pages.
        let key = i.wrapping_mul(7_919) % size.rows.max(1) + 1;
        for (which, times) in times.iter_mut().enumerate() {
            let time = execute(which, key)?;
            if i >= warm_up {
                times.push(time);
            }
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).clamp(1, times.len()) - 1];
        (at(50), at(95))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_isolation_take_turns_on_existing_rows() {
        let size = BenchmarkSize { rows: 7, tenants: 1, iterations: 100 };
        let mut executed = Vec::new();
        measure(size, MeasuredOperation::Point, |which, key| {
            executed.push((which, key));
            Ok(Duration::from_nanos(which as u64))
        })
        .unwrap();
        assert_eq!(executed.len(), 440);
        assert!(executed.iter().all(|(_, key)| (1..=7).contains(key)));
        let turns: Vec<usize> = executed.iter().take(8).map(|(which, _)| *which).collect();
        assert_eq!(turns, [0, 1, 2, 3, 0, 1, 2, 3]);
        let mut scans = 0;
        let measured = measure(size, MeasuredOperation::Scan, |which, _| {
            scans += 1;
            Ok(Duration::from_nanos(which as u64))
        });
        assert_eq!(scans, 120);
        let nanos = |nanos| (Duration::from_nanos(nanos), Duration::from_nanos(nanos));
        assert_eq!(measured.unwrap(), [0, 1, 2, 3].map(nanos));
    }
}
