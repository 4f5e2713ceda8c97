//! Compares the rows of a shared table on two servers.

use std::time::{Duration, Instant};

use diesel::connection::{Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use super::inspect::{TableShape, shapes};
use super::link::{Endpoint, ReplicationLink};
use super::rows::{AS_TEXT, list};
use super::tables::ShareDirection;
use crate::error::Error;
use crate::sql::quote::Identifier;

/// How often two servers are compared while rows change.
const ATTEMPTS: u32 = 3;

/// How long the subscriber may take to apply what the publisher had.
const CATCH_UP: Duration = Duration::from_secs(10);

/// The rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
struct Checksum {
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = Text)]
    sum: String,
}

/// The tables of which the subscriber does not have the rows of the publisher, as messages.
pub(super) fn stale(
    link: ReplicationLink,
    publisher: &mut Endpoint,
    subscriber: &mut Endpoint,
    tables: &[&str],
) -> Result<Vec<String>, Error> {
    let mut messages = Vec::new();
    for shape in shapes(&mut publisher.conn, tables)?.iter().filter(|shape| !shape.columns.is_empty()) {
        let mut difference = None;
        for _ in 0..ATTEMPTS {
            difference = differs(link, publisher, subscriber, shape)?;
            if difference.is_none() {
                break;
            }
        }
        messages.extend(difference);
    }
    Ok(messages)
}

fn differs(
    link: ReplicationLink,
    publisher: &mut Endpoint,
    subscriber: &mut Endpoint,
    shape: &TableShape,
) -> Result<Option<String>, Error> {
    let doing = Error::doing("compare the rows of shared tables");
    let (from, to) = (publisher.server.name.clone(), subscriber.server.name.clone());
    let table = format!("public.{}", shape.name);
    if link.direction == ShareDirection::In {
        let hashes = in_transaction(&mut publisher.conn, |conn| hashes(conn, shape)).map_err(&doing)?;
        catch_up(link, publisher)?;
        let absent = in_transaction(&mut subscriber.conn, |conn| absent(conn, shape, &hashes)).map_err(doing)?;
        return Ok((absent > 0).then(|| format!("{to} does not have {absent} rows of {table} as {from} has them")));
    }
    let published = in_transaction(&mut publisher.conn, |conn| checksum(conn, shape)).map_err(&doing)?;
    catch_up(link, publisher)?;
    let subscribed = in_transaction(&mut subscriber.conn, |conn| checksum(conn, shape)).map_err(doing)?;
    if published == subscribed {
        return Ok(None);
    }
    Ok(Some(if published.rows == subscribed.rows {
        format!("rows of {table} differ on {to} and {from} ({} rows)", published.rows)
    } else {
        format!("{table} has {} rows on {to}, and {} on {from}", subscribed.rows, published.rows)
    }))
}

fn in_transaction<T>(
    conn: &mut PgConnection,
    read: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    conn.transaction::<_, DieselError, _>(|conn| {
        conn.batch_execute("SET TRANSACTION READ ONLY")?;
        conn.batch_execute(AS_TEXT)?;
        read(conn)
    })
}

/// A hash for each row. The sum of the hashes does not depend on the order of the rows.
fn hash(shape: &TableShape) -> String {
    format!("pg_catalog.hashtextextended(ROW({})::pg_catalog.text, 0::pg_catalog.int8)", list(&shape.columns, "t."))
}

fn checksum(conn: &mut PgConnection, shape: &TableShape) -> QueryResult<Checksum> {
    sql_query(format!(
        "SELECT pg_catalog.count(*) AS rows, COALESCE(pg_catalog.sum({hash}), 0)::pg_catalog.text AS sum FROM public.{table} AS t",
        hash = hash(shape),
        table = Identifier::of_object(&shape.name),
    ))
    .get_result(conn)
}

fn hashes(conn: &mut PgConnection, shape: &TableShape) -> QueryResult<Vec<i64>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Array<BigInt>)]
        hashes: Vec<i64>,
    }
    let row: Row = sql_query(format!(
        "SELECT ARRAY(SELECT {hash} FROM public.{table} AS t) AS hashes",
        hash = hash(shape),
        table = Identifier::of_object(&shape.name),
    ))
    .get_result(conn)?;
    Ok(row.hashes)
}

/// The number of hashes that no row of the table has.
fn absent(conn: &mut PgConnection, shape: &TableShape, hashes: &[i64]) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        absent: i64,
    }
    let row: Row = sql_query(format!(
        "SELECT pg_catalog.count(*) AS absent FROM pg_catalog.unnest($1) AS h (hash) \
         WHERE h.hash NOT IN (SELECT {hash} FROM public.{table} AS t)",
        hash = hash(shape),
        table = Identifier::of_object(&shape.name),
    ))
    .bind::<Array<BigInt>, _>(hashes)
    .get_result(conn)?;
    Ok(row.absent)
}

/// Waits until the subscriber has applied what the publisher has now.
fn catch_up(link: ReplicationLink, publisher: &mut Endpoint) -> Result<(), Error> {
    #[derive(QueryableByName)]
    struct Position {
        #[diesel(sql_type = Text)]
        lsn: String,
    }
    #[derive(QueryableByName)]
    struct Reached {
        #[diesel(sql_type = Nullable<Bool>)]
        reached: Option<bool>,
    }
    let doing = Error::doing("wait for the subscription of shared tables");
    let now: Position = sql_query("SELECT pg_catalog.pg_current_wal_lsn()::pg_catalog.text AS lsn")
        .get_result(&mut publisher.conn)
        .map_err(&doing)?;
    let began = Instant::now();
    while began.elapsed() < CATCH_UP {
        let reached: Option<Reached> = sql_query(
            "SELECT s.confirmed_flush_lsn >= $1::pg_catalog.pg_lsn AS reached FROM pg_catalog.pg_replication_slots AS s \
             WHERE s.slot_name = $2 AND s.database = pg_catalog.current_database()",
        )
        .bind::<Text, _>(&now.lsn)
        .bind::<Text, _>(link.name())
        .get_result(&mut publisher.conn)
        .optional()
        .map_err(&doing)?;
        if reached.is_none_or(|row| row.reached == Some(true)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
