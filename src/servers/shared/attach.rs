//! A subscriber begins to follow a publisher.
//!
//! The slot is created first, by the replication protocol, which returns the snapshot at which it begins: `CREATE
//! SUBSCRIPTION` would wait for its own transaction where both databases are on one server. One transaction on the
//! subscriber then brings over the rows of that snapshot and creates the subscription. Killed at any moment, it leaves a
//! slot without a subscription at most, which the next attempt replaces.

use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::detach::drop_slot;
use super::inspect::TableShape;
use super::link::{Endpoint, ReplicationLink, peer_connection};
use super::rows::{LocalRows, ReplacedRows, RowsError, bring};
use super::tables::{self, ShareDirection};
use crate::error::{Error, ServersError};
use crate::postgres::ServerMessage;
use crate::postgres::raw::RawAnswer;
use crate::sql::quote::{Identifier, Literal};

/// How long the creation of a slot waits for transactions that began earlier.
const SLOT_WAIT: Duration = Duration::from_secs(30);

/// Creates the slot and the subscription of a link that has no subscription, and brings the rows over.
pub(super) fn attach(
    link: ReplicationLink,
    publisher: &mut Endpoint,
    subscriber: &mut Endpoint,
    shapes: &[TableShape],
    replaced: &ReplacedRows,
) -> Result<(), Error> {
    let connection = peer_connection(&publisher.server)?.conninfo();
    // A slot that an interrupted attempt has left: its snapshot does not exist any more.
    drop_slot(&mut publisher.conn, &link.name(), &publisher.server)?;
    create_slot(link, publisher)?;
    let followed = follow(link, publisher, subscriber, shapes, replaced, &connection);
    if followed.is_err() {
        // The next attempt does so, too.
        let _ = drop_slot(&mut publisher.conn, &link.name(), &publisher.server);
    }
    followed
}

/// Creates the slot, and begins a transaction on the publisher that reads the snapshot at which the slot begins.
fn create_slot(link: ReplicationLink, publisher: &mut Endpoint) -> Result<(), Error> {
    let mut session = publisher.connector.connect_for_replication(SLOT_WAIT)?;
    let name = link.name();
    let command = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT", Identifier::of_object(&name));
    let snapshot = match session.execute(&command, &[]) {
        RawAnswer::Done { rows, .. } => rows.into_iter().next().and_then(|row| row.into_iter().nth(2).flatten()),
        RawAnswer::CopyIn => None,
        RawAnswer::Failed(failure) => {
            let reason = if failure.sqlstate == "55P03" {
                let older = older_transactions(&mut publisher.conn)?;
                format!("the slot waits for transactions in progress: {}", older.join("; "))
            } else {
                failure.message
            };
            return Err(not_shared(&publisher.server, format!("cannot create replication slot {name}: {reason}")));
        }
    };
    let Some(snapshot) = snapshot else {
        return Err(not_shared(&publisher.server, format!("replication slot {name} has no snapshot")));
    };
    // Taken over while the session that exports it is open.
    publisher
        .conn
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            Literal(&snapshot)
        ))
        .map_err(Error::doing("read at the beginning of the replication slot"))
}

/// The transactions that the creation of a slot waits for.
fn older_transactions(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        shown: String,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT pg_catalog.concat('pid ', a.pid, ', ', a.usename, ', ', a.application_name, ', since ', \
         pg_catalog.date_trunc('second', a.xact_start)) AS shown FROM pg_catalog.pg_stat_activity AS a \
         WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() ORDER BY a.xact_start LIMIT 5",
    )
    .load(conn)
    .map_err(Error::doing("find the transactions that a replication slot waits for"))?;
    Ok(rows.into_iter().map(|row| row.shown).collect())
}

fn follow(
    link: ReplicationLink,
    publisher: &mut Endpoint,
    subscriber: &mut Endpoint,
    shapes: &[TableShape],
    replaced: &ReplacedRows,
    connection: &str,
) -> Result<(), Error> {
    let names: Vec<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
    // What is recorded as a copy may be replaced.
    let copies = match link.direction {
        ShareDirection::Out => tables::tables(&mut subscriber.conn)?,
        ShareDirection::In => Vec::new(),
    };
    let policy = |table: &str| {
        let is_copy = copies.iter().any(|copy| copy.name.as_str() == table);
        if is_copy { LocalRows::Replace } else { replaced.of(table) }
    };
    let done = subscriber.conn.transaction::<_, RowsError, _>(|conn| {
        conn.batch_execute("SET LOCAL lock_timeout TO '5s'")?;
        bring(&mut publisher.conn, conn, shapes, link.direction, policy)?;
        if link.direction == ShareDirection::Out {
            sql_query(
                "INSERT INTO public.schema_shared (table_name, direction) SELECT n.name, 'out' FROM unnest($1) AS n (name) \
                 ON CONFLICT (table_name) DO NOTHING",
            )
            .bind::<diesel::sql_types::Array<Text>, _>(&names)
            .execute(conn)?;
        }
        conn.batch_execute(&subscription(link, connection)).map_err(RowsError::Subscription)
    });
    let ended = publisher.conn.batch_execute("ROLLBACK");
    done.map_err(|error| explained(error, link, publisher, subscriber))?;
    ended.map_err(Error::doing("end the snapshot of the replication slot"))
}

/// The statement that creates the subscription. It connects to the publisher, so that an address, a password or a certificate
/// that does not fit is an error.
fn subscription(link: ReplicationLink, connection: &str) -> String {
    let name = link.name();
    format!(
        "CREATE SUBSCRIPTION {subscription} CONNECTION {connection} PUBLICATION {publication} WITH \
         (connect = true, create_slot = false, slot_name = {slot}, copy_data = false, enabled = true)",
        subscription = Identifier::of_object(&name),
        connection = Literal(connection),
        publication = Identifier::of_object(link.publication()),
        slot = Literal(&name),
    )
}

fn explained(error: RowsError, link: ReplicationLink, publisher: &Endpoint, subscriber: &Endpoint) -> Error {
    let refused = |reason: String| not_shared(&subscriber.server, reason);
    match error {
        RowsError::Differ { table, rows } => {
            ServersError::RowsDiffer { name: subscriber.server.name.to_string(), table, rows }.into()
        }
        RowsError::Cascade { table, others } => refused(format!(
            "public.{table} has rows that {} does not have, and to delete them would change {}",
            publisher.server.name,
            others.join(", ")
        )),
        RowsError::Subscription(error) => {
            refused(format!("cannot create subscription {}: {}", link.name(), ServerMessage::from(&error).message))
        }
        RowsError::Publisher(error) => Error::doing("read the rows of shared tables")(error),
        RowsError::Subscriber(error) => Error::doing("write the rows of shared tables")(error),
    }
}

pub(super) fn not_shared(server: &crate::servers::FleetServer, reason: String) -> Error {
    ServersError::NotShared { name: server.name.to_string(), reasons: vec![reason] }.into()
}

/// Sends statements that cannot be in a transaction, one at a time.
pub(super) fn one_by_one(conn: &mut PgConnection, statements: &[String]) -> Result<(), DieselError> {
    statements.iter().try_for_each(|statement| conn.batch_execute(statement))
}
