//! Fingerprints: tenants with equal fingerprints have equal structures.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid};

use super::catalog::{EXPRESSIONS, Reading, SECTIONS, Section, prelude};
use super::session::PINNED;
use crate::database::Database;
use crate::error::Error;
use crate::postgres::{Condition, Connector, path};

/// A hash over a schema's structure, without the schema's name. Two schemas of one database with equal fingerprints have
/// equal structures. Fingerprints of different databases, or from before a restore, cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

/// The number of sessions that read at the same time. Each may need memory for a hash over the largest catalog.
const READERS: usize = 2;

/// Planner settings for a statement that scans every catalog once. The limits keep a reader's memory low.
pub(crate) const SCANNING: &str = "SET LOCAL enable_nestloop TO off; SET LOCAL enable_mergejoin TO off; \
                                   SET LOCAL enable_sort TO off; SET LOCAL work_mem TO '32MB'; \
                                   SET LOCAL hash_mem_multiplier TO 1;";

/// Planner settings for a statement that looks up the objects of a part.
pub(crate) const LOOKING_UP: &str = "SET LOCAL enable_seqscan TO off; SET LOCAL enable_hashjoin TO off; \
                          SET LOCAL enable_mergejoin TO off;";

/// Settings for both. The statement does not wait for a locked view.
const ALWAYS: &str = "SET LOCAL jit TO off; SET LOCAL max_parallel_workers_per_gather TO 0; \
                      SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

/// A session is closed after this many objects. The server keeps about 5 kB for each.
const SESSION_OBJECTS: usize = 10_000;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Oid)]
    schema: u32,
    #[diesel(sql_type = BigInt)]
    hash: i64,
}

#[derive(QueryableByName)]
struct OidRow {
    #[diesel(sql_type = Oid)]
    oid: u32,
}

/// One statement to run.
struct FingerprintTask {
    section: usize,
    /// The objects of the part, if the section is read in parts.
    oids: Option<Vec<u32>>,
}

/// The fingerprints of schemas, in a few statements over the catalogs: each catalog is read once, whatever the number of
/// schemas. Schemas that do not exist have none.
///
/// A schema with an object that cannot be read, for example because it is locked, has a unique fingerprint.
///
/// # Errors
/// The server's error.
pub fn fingerprints(db: &mut Database, schemas: &[u32]) -> Result<HashMap<u32, Fingerprint>, Error> {
    let major = db.server().version / 10_000;
    // Work is taken from the end: first the queries for the parts' objects, then the large catalogs, then the parts.
    let (apart, whole): (Vec<usize>, Vec<usize>) =
        (0..all().count()).rev().partition(|index| section(*index).parts.is_some());
    let work = whole.into_iter().chain(apart).map(|section| FingerprintTask { section, oids: None }).collect();
    let queue = Queue { work: Mutex::new(work), sums: Mutex::new(HashMap::new()) };
    let readers = READERS.min(db.jobs());
    // A closed session may count as a connection for a moment.
    if usize::try_from(db.server().free_connections).unwrap_or(0) > 2 * readers {
        let connector = db.connector();
        thread::scope(|scope| {
            let running: Vec<_> =
                (0..readers).map(|_| scope.spawn(|| reader(connector, major, schemas, &queue))).collect();
            running
                .into_iter()
                .map(|reader| reader.join().expect("a reader does not panic"))
                .collect::<Result<Vec<()>, _>>()
        })?;
    } else {
        while let Some(task) = queue.next() {
            run_task(db.connection(), major, schemas, &queue, task)?;
        }
    }
    let sums = queue.sums.into_inner().expect("no reader panicked");
    Ok(sums.into_iter().map(|(schema, sum)| (schema, Fingerprint(sum))).collect())
}

/// The work that readers share.
struct Queue {
    work: Mutex<Vec<FingerprintTask>>,
    sums: Mutex<HashMap<u32, u64>>,
}

impl Queue {
    fn next(&self) -> Option<FingerprintTask> {
        self.work.lock().expect("no reader panicked").pop()
    }

    fn add_work(&self, parts: impl Iterator<Item = FingerprintTask>) {
        self.work.lock().expect("no reader panicked").splice(0..0, parts);
    }

    fn add(&self, rows: Vec<Row>) {
        let mut sums = self.sums.lock().expect("no reader panicked");
        for row in rows {
            // Rows are unique, and each hash is mixed, so that XOR detects values that move between rows.
            *sums.entry(row.schema).or_default() ^= row.hash as u64;
        }
    }
}

fn all() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().chain(&EXPRESSIONS)
}

fn section(index: usize) -> &'static Section {
    all().nth(index).expect("an index of a section")
}

/// Reads until no work is left. Each session reads up to [`SESSION_OBJECTS`].
fn reader(connector: &Connector, major: i32, schemas: &[u32], queue: &Queue) -> Result<(), Error> {
    let mut session: Option<(PgConnection, usize)> = None;
    while let Some(task) = queue.next() {
        let (mut conn, seen) = match session.take() {
            Some(session) => session,
            None => (connector.connect()?, 0),
        };
        let seen = seen + run_task(&mut conn, major, schemas, queue, task)?;
        if seen < SESSION_OBJECTS {
            session = Some((conn, seen));
        }
    }
    Ok(())
}

/// Runs a statement. Returns the number of objects that the session has read for it.
fn run_task(
    conn: &mut PgConnection,
    major: i32,
    schemas: &[u32],
    queue: &Queue,
    task: FingerprintTask,
) -> Result<usize, Error> {
    let doing = Error::doing("read the structures of the fleet");
    match (&section(task.section).parts, task.oids) {
        (None, _) => {
            queue.add(hash_section(conn, major, task.section, schemas).map_err(&doing)?);
            // The server caches each sequence that a default uses.
            Ok(if section(task.section).name == "column" { SESSION_OBJECTS } else { SESSION_OBJECTS / 4 })
        }
        (Some(parts), None) => {
            conn.batch_execute(&begin("")).map_err(&doing)?;
            let found: Vec<OidRow> = sql_query(parts.oids).bind::<Array<Oid>, _>(schemas).load(conn).map_err(&doing)?;
            conn.batch_execute("COMMIT").map_err(&doing)?;
            let oids: Vec<u32> = found.into_iter().map(|row| row.oid).collect();
            queue.add_work(
                oids.chunks(parts.at_once)
                    .map(|part| FingerprintTask { section: task.section, oids: Some(part.to_vec()) }),
            );
            Ok(0)
        }
        (Some(_), Some(oids)) => {
            queue.add(hash_part(conn, major, task.section, schemas, &oids).map_err(&doing)?);
            Ok(oids.len())
        }
    }
}

/// The hashes of a section of schemas. If an object is dropped while it is deparsed, the statement fails ("cache lookup
/// failed"). Then each half of the schemas is read in a new snapshot, in which the dropped object no longer exists. A
/// schema that fails alone gets a unique hash, so that it is read in full.
fn hash_section(conn: &mut PgConnection, major: i32, index: usize, schemas: &[u32]) -> QueryResult<Vec<Row>> {
    let error = match hashes(conn, major, index, schemas, None) {
        Ok(rows) => return Ok(rows),
        Err(error) => error,
    };
    if matches!(Condition::of(&error), Some(Condition::ConnectionLost | Condition::Canceled)) {
        return Err(error);
    }
    conn.batch_execute("ROLLBACK")?;
    match schemas {
        [] => Err(error),
        [one] => Ok(vec![Row { schema: *one, hash: unique(*one, index) }]),
        _ => {
            let (left, right) = schemas.split_at(schemas.len() / 2);
            let mut rows = hash_section(conn, major, index, left)?;
            rows.extend(hash_section(conn, major, index, right)?);
            Ok(rows)
        }
    }
}

/// A unique hash for an object or schema.
fn unique(oid: u32, index: usize) -> i64 {
    (u64::from(oid) << 32 | index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64
}

/// The hashes of some objects. If the statement fails, each half is read separately. An object that fails alone gets a
/// unique hash.
fn hash_part(
    conn: &mut PgConnection,
    major: i32,
    index: usize,
    schemas: &[u32],
    oids: &[u32],
) -> QueryResult<Vec<Row>> {
    match hashes(conn, major, index, schemas, Some(oids)) {
        Ok(rows) => Ok(rows),
        Err(error) if crate::postgres::ServerMessage::is_connection_lost(&error) => Err(error),
        Err(error) => {
            conn.batch_execute("ROLLBACK")?;
            match oids {
                [] => Err(error),
                [one] => unreadable(conn, index, *one),
                _ => {
                    let (left, right) = oids.split_at(oids.len() / 2);
                    let mut rows = hash_part(conn, major, index, schemas, left)?;
                    rows.extend(hash_part(conn, major, index, schemas, right)?);
                    Ok(rows)
                }
            }
        }
    }
}

/// The schema of an object that cannot be read, with a unique hash.
fn unreadable(conn: &mut PgConnection, index: usize, oid: u32) -> QueryResult<Vec<Row>> {
    let column = match section(index).name {
        "view" => "SELECT relnamespace AS oid FROM pg_class WHERE oid = $1",
        "rule" => {
            "SELECT c.relnamespace AS oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE r.oid = $1"
        }
        "policy" => {
            "SELECT c.relnamespace AS oid FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE p.oid = $1"
        }
        "constraint_expression" => "SELECT connamespace AS oid FROM pg_constraint WHERE oid = $1",
        "index_expression" => "SELECT relnamespace AS oid FROM pg_class WHERE oid = $1",
        _ => "SELECT pronamespace AS oid FROM pg_proc WHERE oid = $1",
    };
    let schemas: Vec<OidRow> = sql_query(column).bind::<Oid, _>(oid).load(conn)?;
    Ok(schemas.into_iter().map(|row| Row { schema: row.oid, hash: unique(oid, index) }).collect())
}

/// SQL that begins a transaction for reading the catalogs. `settings` are planner settings.
pub(crate) fn begin(settings: &str) -> String {
    format!("BEGIN; {} {PINNED} {ALWAYS} {settings}", path::CATALOG_FOR_TRANSACTION)
}

fn hashes(
    conn: &mut PgConnection,
    major: i32,
    index: usize,
    schemas: &[u32],
    oids: Option<&[u32]>,
) -> QueryResult<Vec<Row>> {
    let (reading, settings, named) = match oids {
        Some(oids) => (Reading::HashPart, LOOKING_UP, oids),
        None => (Reading::HashFleet, SCANNING, schemas),
    };
    conn.batch_execute(&begin(settings))?;
    // A row's hash is linear in those of its columns. It is mixed again with the section; otherwise values that two rows
    // exchange would cancel out.
    let sql = format!(
        "{} SELECT section.schema, bit_xor(hashint8extended(hash_record_extended(section.line, 0), {index})) AS hash \
         FROM ({}) section GROUP BY section.schema",
        prelude(reading, major),
        section(index).sql(reading, major),
    );
    let rows = sql_query(sql).bind::<Array<Oid>, _>(named).load(conn)?;
    conn.batch_execute("COMMIT")?;
    Ok(rows)
}
