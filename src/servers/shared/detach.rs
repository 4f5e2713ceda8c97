//! The end of a replication: subscriptions, slots and publications are dropped. Rows stay.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use super::attach::{not_shared, one_by_one};
use super::link::{Endpoint, PREFIXES, ReplicationLink};
use super::tables::{self, ShareDirection, SharedTable};
use crate::error::{Error, ServersError};
use crate::postgres::ServerMessage;
use crate::servers::FleetServer;
use crate::sql::quote::Identifier;

/// How long a slot may be in use after its walsender was terminated.
const RELEASE: Duration = Duration::from_secs(20);

/// Slots and subscriptions that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replication {
    /// The names of slots.
    pub slots: Vec<String>,
    /// The names of subscriptions.
    pub subscriptions: Vec<String>,
}

impl Replication {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.subscriptions.is_empty()
    }
}

/// The slots and subscriptions for shared tables in a database.
///
/// # Errors
/// The server's error.
pub fn remains(conn: &mut PgConnection) -> Result<Replication, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Array<Text>)]
        slots: Vec<String>,
        #[diesel(sql_type = Array<Text>)]
        subscriptions: Vec<String>,
    }
    let [out, into] = PREFIXES;
    let row: Row = sql_query(
        "SELECT ARRAY(SELECT s.slot_name::pg_catalog.text FROM pg_catalog.pg_replication_slots AS s \
         WHERE s.database = pg_catalog.current_database() \
         AND (pg_catalog.starts_with(s.slot_name, $1) OR pg_catalog.starts_with(s.slot_name, $2)) ORDER BY 1) AS slots, \
         ARRAY(SELECT s.subname::pg_catalog.text FROM pg_catalog.pg_subscription AS s \
         JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database() \
         AND (pg_catalog.starts_with(s.subname, $1) OR pg_catalog.starts_with(s.subname, $2)) ORDER BY 1) AS subscriptions",
    )
    .bind::<Text, _>(out)
    .bind::<Text, _>(into)
    .get_result(conn)
    .map_err(Error::doing("read the replication slots and subscriptions"))?;
    Ok(Replication { slots: row.slots, subscriptions: row.subscriptions })
}

/// The slots and subscriptions on the registry for a server.
///
/// # Errors
/// The server's error.
pub fn remains_of(registry: &mut PgConnection, server: &FleetServer) -> Result<Replication, Error> {
    let own = ShareDirection::ALL.map(|direction| ReplicationLink::of(server, direction).name());
    let mut all = remains(registry)?;
    all.slots.retain(|name| own.contains(name));
    all.subscriptions.retain(|name| own.contains(name));
    Ok(all)
}

/// Checks that the registry has no slot and no subscription for a server.
///
/// # Errors
/// [`ServersError::StillShared`], or the server's error.
pub fn require_detached(registry: &mut PgConnection, server: &FleetServer) -> Result<(), Error> {
    let found = remains_of(registry, server)?;
    if found.is_empty() {
        return Ok(());
    }
    let slots = found.slots.iter().map(|name| format!("replication slot {name}"));
    let subscriptions = found.subscriptions.iter().map(|name| format!("subscription {name}"));
    let reasons = slots.chain(subscriptions).collect();
    Err(ServersError::StillShared { name: server.name.to_string(), reasons }.into())
}

/// Ends the replication between the registry and a server, on both.
///
/// # Errors
/// The error of either server.
pub fn detach(registry: &mut Endpoint, server: &mut Endpoint) -> Result<(), Error> {
    for direction in ShareDirection::ALL {
        detach_link(ReplicationLink::of(&server.server, direction), registry, server)?;
    }
    tables::keep_copies(&mut server.conn, &[])
}

/// Ends the replication in one direction. On the registry, the publication stays.
pub(super) fn detach_link(link: ReplicationLink, registry: &mut Endpoint, server: &mut Endpoint) -> Result<(), Error> {
    let (publisher, subscriber) = link.ends(registry, server);
    drop_subscription(&mut subscriber.conn, &link.name())?;
    drop_slot(&mut publisher.conn, &link.name(), &publisher.server)?;
    if link.direction == ShareDirection::In {
        drop_publication(&mut publisher.conn, link.publication())?;
    }
    Ok(())
}

/// Ends the replication with a server that cannot be reached, on the registry only: its slot would keep the WAL for ever.
/// [`detach_here`] does the rest when the server is back.
///
/// # Errors
/// The registry's error.
pub fn detach_from_main(registry: &mut Endpoint, server: &FleetServer) -> Result<(), Error> {
    let here = registry.server.clone();
    for direction in ShareDirection::ALL {
        let name = ReplicationLink::of(server, direction).name();
        drop_subscription(&mut registry.conn, &name)?;
        drop_slot(&mut registry.conn, &name, &here)?;
    }
    Ok(())
}

/// Ends, on the registry only, the replication in each direction without shared tables with a server that cannot be reached.
///
/// # Errors
/// The registry's error.
pub fn leave(registry: &mut Endpoint, server: &FleetServer, tables: &[SharedTable]) -> Result<(), Error> {
    let here = registry.server.clone();
    for direction in ShareDirection::ALL {
        if tables::names(tables, direction).is_empty() {
            let name = ReplicationLink::of(server, direction).name();
            drop_subscription(&mut registry.conn, &name)?;
            drop_slot(&mut registry.conn, &name, &here)?;
        }
    }
    Ok(())
}

/// Ends every replication of shared tables in a database that is not the registry, without the registry. Returns what was
/// dropped. The tables stay, and the record which of them are copies: if the server is added again, they are replaced.
///
/// # Errors
/// The server's error.
pub fn detach_here(conn: &mut PgConnection, server: &FleetServer) -> Result<Replication, Error> {
    let found = remains(conn)?;
    for name in &found.subscriptions {
        drop_subscription(conn, name)?;
    }
    for name in &found.slots {
        drop_slot(conn, name, server)?;
    }
    drop_publication(conn, ReplicationLink::of(server, ShareDirection::In).publication())?;
    Ok(found)
}

pub(super) fn drop_publication(conn: &mut PgConnection, name: &str) -> Result<(), Error> {
    conn.batch_execute(&format!("DROP PUBLICATION IF EXISTS {}", Identifier::of_object(name)))
        .map_err(Error::doing("drop the publication of shared tables"))
}

/// Drops a subscription, if it exists, without its slot: the publisher may be unreachable.
pub(super) fn drop_subscription(conn: &mut PgConnection, name: &str) -> Result<(), Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        #[expect(dead_code, reason = "a row shows that it exists")]
        name: String,
    }
    let doing = Error::doing("drop the subscription of shared tables");
    let found: Option<Row> = sql_query(
        "SELECT s.subname::pg_catalog.text AS name FROM pg_catalog.pg_subscription AS s \
         JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid \
         WHERE d.datname = pg_catalog.current_database() AND s.subname = $1",
    )
    .bind::<Text, _>(name)
    .get_result(conn)
    .optional()
    .map_err(&doing)?;
    if found.is_none() {
        return Ok(());
    }
    let quoted = Identifier::of_object(name);
    let statements = [
        format!("ALTER SUBSCRIPTION {quoted} DISABLE"),
        format!("ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE)"),
        format!("DROP SUBSCRIPTION {quoted}"),
    ];
    one_by_one(conn, &statements).map_err(doing)
}

/// Drops a slot, if it exists. A walsender that uses it is terminated: its subscriber does not exist any more, or is about
/// to notice that it is not replicated to.
pub(super) fn drop_slot(conn: &mut PgConnection, name: &str, server: &FleetServer) -> Result<(), Error> {
    let doing = Error::doing("drop the replication slot of shared tables");
    let began = Instant::now();
    loop {
        sql_query(
            "SELECT pg_catalog.pg_terminate_backend(s.active_pid) FROM pg_catalog.pg_replication_slots AS s \
             WHERE s.slot_name = $1 AND s.database = pg_catalog.current_database() AND s.active_pid IS NOT NULL",
        )
        .bind::<Text, _>(name)
        .execute(conn)
        .map_err(&doing)?;
        let dropped = sql_query(
            "SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) FROM pg_catalog.pg_replication_slots AS s \
             WHERE s.slot_name = $1 AND s.database = pg_catalog.current_database()",
        )
        .bind::<Text, _>(name)
        .execute(conn);
        match dropped {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() < RELEASE && !is_lost(conn) => {
                let _ = error;
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => {
                let message = ServerMessage::from(&error).message;
                return Err(not_shared(server, format!("cannot drop replication slot {name}: {message}")));
            }
        }
    }
}

fn is_lost(conn: &mut PgConnection) -> bool {
    conn.batch_execute("SELECT").is_err()
}
