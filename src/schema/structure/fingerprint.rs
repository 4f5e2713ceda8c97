//! The fleet by hashes: tenants with equal fingerprints have equal structures.

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

/// What a schema's structure comes to, without the schema's name. Two schemas of one database with equal fingerprints
/// have equal structures but for their names. It says nothing in another database, nor after a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

/// How many sessions read at once. Each may take as much memory as a hash over the largest catalog, and the server keeps
/// much of what a session has looked at.
const READERS: usize = 2;

/// Scans and hashes, for a statement that reads every catalog once from end to end. What is kept in memory stays below
/// what a reader may take.
pub(crate) const SCANNING: &str = "SET LOCAL enable_nestloop TO off; SET LOCAL enable_mergejoin TO off; \
                                   SET LOCAL enable_sort TO off; SET LOCAL work_mem TO '32MB'; \
                                   SET LOCAL hash_mem_multiplier TO 1;";

/// Look-ups: a part of a section names its objects.
pub(crate) const LOOKING_UP: &str = "SET LOCAL enable_seqscan TO off; SET LOCAL enable_hashjoin TO off; \
                          SET LOCAL enable_mergejoin TO off;";

/// For both. A view that somebody alters is not waited for.
const ALWAYS: &str = "SET LOCAL jit TO off; SET LOCAL max_parallel_workers_per_gather TO 0; \
                      SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO 0;";

/// A session that has deparsed so many objects is closed: the server keeps about 5 kB for the relation of each.
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

/// A statement's worth of work.
struct Work {
    section: usize,
    /// The objects, where the section is read in parts.
    oids: Option<Vec<u32>>,
}

/// The fingerprints of schemas, in a few statements over the catalogs: each catalog is read once, whatever the number of
/// schemas. Schemas that do not exist have none.
///
/// An object that cannot be read, for somebody has it locked, leaves its schema with a fingerprint of its own.
///
/// # Errors
/// When the server cannot be reached, or what it answered.
pub fn fingerprints(db: &mut Database, schemas: &[u32]) -> Result<HashMap<u32, Fingerprint>, Error> {
    let major = db.server().version / 10_000;
    // The end is taken first: what there is to be read in parts is asked for; then follow the large catalogs, and
    // behind them the parts.
    let (apart, whole): (Vec<usize>, Vec<usize>) =
        (0..all().count()).rev().partition(|index| section(*index).apart.is_some());
    let work = whole.into_iter().chain(apart).map(|section| Work { section, oids: None }).collect();
    let queue = Queue { work: Mutex::new(work), sums: Mutex::new(HashMap::new()) };
    let readers = READERS.min(db.jobs());
    // A session that was closed may count for a moment longer than it lasts.
    match usize::try_from(db.server().free_connections).unwrap_or(0) > 2 * readers {
        true => {
            let connector = db.connector();
            thread::scope(|scope| {
                let running: Vec<_> =
                    (0..readers).map(|_| scope.spawn(|| reader(connector, major, schemas, &queue))).collect();
                running
                    .into_iter()
                    .map(|reader| reader.join().expect("a reader does not panic"))
                    .collect::<Result<Vec<()>, _>>()
            })?;
        }
        false => {
            while let Some(work) = queue.next() {
                do_work(db.connection(), major, schemas, &queue, work)?;
            }
        }
    }
    let sums = queue.sums.into_inner().expect("no reader panicked");
    Ok(sums.into_iter().map(|(schema, sum)| (schema, Fingerprint(sum))).collect())
}

/// What the readers share.
struct Queue {
    work: Mutex<Vec<Work>>,
    sums: Mutex<HashMap<u32, u64>>,
}

impl Queue {
    fn next(&self) -> Option<Work> {
        self.work.lock().expect("no reader panicked").pop()
    }

    fn add_work(&self, parts: impl Iterator<Item = Work>) {
        self.work.lock().expect("no reader panicked").splice(0..0, parts);
    }

    fn add(&self, rows: Vec<Row>) {
        let mut sums = self.sums.lock().expect("no reader panicked");
        for row in rows {
            // Rows are different, for objects are; and each hash is mixed: what is moved from one to another shows.
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

/// One session after another, each until it has looked at much.
fn reader(connector: &Connector, major: i32, schemas: &[u32], queue: &Queue) -> Result<(), Error> {
    let mut session: Option<(PgConnection, usize)> = None;
    while let Some(work) = queue.next() {
        let (mut conn, seen) = match session.take() {
            Some(session) => session,
            None => (connector.connect()?, 0),
        };
        let seen = seen + do_work(&mut conn, major, schemas, queue, work)?;
        if seen < SESSION_OBJECTS {
            session = Some((conn, seen));
        }
    }
    Ok(())
}

/// Returns how many objects the session has looked at.
fn do_work(conn: &mut PgConnection, major: i32, schemas: &[u32], queue: &Queue, work: Work) -> Result<usize, Error> {
    let doing = Error::doing("read the structures of the fleet");
    match (&section(work.section).apart, work.oids) {
        (None, _) => {
            queue.add(whole(conn, major, work.section, schemas).map_err(&doing)?);
            // The server remembers each sequence that a default names.
            Ok(if section(work.section).name == "column" { SESSION_OBJECTS } else { SESSION_OBJECTS / 4 })
        }
        (Some(parts), None) => {
            conn.batch_execute(&begin("")).map_err(&doing)?;
            let found: Vec<OidRow> = sql_query(parts.oids).bind::<Array<Oid>, _>(schemas).load(conn).map_err(&doing)?;
            conn.batch_execute("COMMIT").map_err(&doing)?;
            let oids: Vec<u32> = found.into_iter().map(|row| row.oid).collect();
            queue.add_work(
                oids.chunks(parts.at_once).map(|part| Work { section: work.section, oids: Some(part.to_vec()) }),
            );
            Ok(0)
        }
        (Some(_), Some(oids)) => {
            queue.add(apart(conn, major, work.section, schemas, &oids).map_err(&doing)?);
            Ok(oids.len())
        }
    }
}

/// The hashes of a section of schemas. An object that is dropped while it is deparsed makes the statement fail ("cache
/// lookup failed"): then each half of the schemas is read in a new snapshot, in which a dropped schema does not exist any
/// more. A schema that fails by itself gets a hash of its own, so that it is read in full.
fn whole(conn: &mut PgConnection, major: i32, index: usize, schemas: &[u32]) -> QueryResult<Vec<Row>> {
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
            let mut rows = whole(conn, major, index, left)?;
            rows.extend(whole(conn, major, index, right)?);
            Ok(rows)
        }
    }
}

/// A hash that no other object or schema has.
fn unique(oid: u32, index: usize) -> i64 {
    (u64::from(oid) << 32 | index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64
}

/// The hashes of some objects. What cannot be read is halved until it is found, and then has a hash of its own.
fn apart(conn: &mut PgConnection, major: i32, index: usize, schemas: &[u32], oids: &[u32]) -> QueryResult<Vec<Row>> {
    match hashes(conn, major, index, schemas, Some(oids)) {
        Ok(rows) => Ok(rows),
        Err(error) if crate::postgres::ServerMessage::is_connection_lost(&error) => Err(error),
        Err(error) => {
            conn.batch_execute("ROLLBACK")?;
            match oids {
                [] => Err(error),
                [one] => locked(conn, index, *one),
                _ => {
                    let (left, right) = oids.split_at(oids.len() / 2);
                    let mut rows = apart(conn, major, index, schemas, left)?;
                    rows.extend(apart(conn, major, index, schemas, right)?);
                    Ok(rows)
                }
            }
        }
    }
}

/// The schema of an object that could not be read, with a hash that no other has.
fn locked(conn: &mut PgConnection, index: usize, oid: u32) -> QueryResult<Vec<Row>> {
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

/// SQL that begins a transaction that reads the catalogs. `settings` guide the planner for what is read.
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
        Some(oids) => (Reading::Part, LOOKING_UP, oids),
        None => (Reading::Fleet, SCANNING, schemas),
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
