//! Brings the replication between the registry and a server to what the registry's list of shared tables says. It decides by
//! what both servers have, so that an interrupted run is resumed by the next one.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Bool;

use super::attach::{attach, not_shared};
use super::detach::{detach_link, drop_publication, drop_slot, drop_subscription};
use super::link::{Endpoint, ReplicationLink, peer_connection};
use super::preflight::require_possible;
use super::rows::{LocalRows, ReplacedRows};
use super::state::{SubscriptionState, connection_of, published, slot, subscription};
use super::tables::{self, ShareDirection, SharedTable, names};
use crate::error::Error;
use crate::postgres::ServerMessage;
use crate::sql::quote::{Identifier, Literal};

/// How long a command waits for the rows of a new table. The servers continue without it.
const COPY_WAIT: Duration = Duration::from_secs(60);

/// What a server needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Followed {
    /// Nothing: it followed already.
    Unchanged,
    /// Its tables, or its connection, were changed.
    Changed,
    /// Its tables were changed, and the rows of new ones are still being copied.
    Copying,
    /// It was attached: its rows were brought over, and a subscription was created.
    Attached,
}

/// Checks that the registry and a server can replicate the tables of each link that does not exist yet, and changes nothing.
///
/// # Errors
/// [`ServersError::NotShared`](crate::error::ServersError::NotShared), or the error of either server.
pub fn check(registry: &mut Endpoint, server: &mut Endpoint, tables: &[SharedTable]) -> Result<(), Error> {
    for direction in ShareDirection::ALL {
        let wanted = names(tables, direction);
        if wanted.is_empty() {
            continue;
        }
        let link = ReplicationLink::of(&server.server, direction);
        let (publisher, subscriber) = link.ends(registry, server);
        let existing = subscription(&mut subscriber.conn, &link.name())?;
        let is_complete =
            existing.is_some_and(|existing| wanted.iter().all(|name| existing.tables.iter().any(|own| own == name)));
        if !is_complete {
            require_possible(publisher, subscriber, &wanted)?;
        }
    }
    Ok(())
}

/// Attaches a server, or brings it up to date with the list of shared tables. Without tables, the replication ends.
///
/// # Errors
/// [`ServersError::NotShared`](crate::error::ServersError::NotShared),
/// [`ServersError::RowsDiffer`](crate::error::ServersError::RowsDiffer), or the error of either server.
pub fn follow(
    registry: &mut Endpoint,
    server: &mut Endpoint,
    tables: &[SharedTable],
    local: LocalRows,
) -> Result<Followed, Error> {
    let mut followed = Followed::Unchanged;
    for direction in ShareDirection::ALL {
        let link = ReplicationLink::of(&server.server, direction);
        let wanted = names(tables, direction);
        if wanted.is_empty() {
            detach_link(link, registry, server)?;
        } else {
            followed = followed.max(follow_link(link, registry, server, &wanted, local)?);
        }
    }
    tables::keep_copies(&mut server.conn, &names(tables, ShareDirection::Out))?;
    Ok(followed)
}

fn follow_link(
    link: ReplicationLink,
    registry: &mut Endpoint,
    server: &mut Endpoint,
    wanted: &[&str],
    local: LocalRows,
) -> Result<Followed, Error> {
    let (publisher, subscriber) = link.ends(registry, server);
    let name = link.name();
    let existing = subscription(&mut subscriber.conn, &name)?;
    let mut known = Vec::new();
    if let Some(state) = existing {
        if is_usable(&state, &name, publisher)? {
            let missing = missing(&state, wanted);
            if missing.is_empty() || are_empty(&mut subscriber.conn, &missing)? {
                if !missing.is_empty() {
                    require_possible(publisher, subscriber, wanted)?;
                }
                publish(&mut publisher.conn, link, wanted)?;
                return refresh(link, publisher, subscriber, &state, wanted);
            }
            // The first copy of a subscription adds rows and cannot replace any, so that all tables are attached again.
            require_possible(publisher, subscriber, wanted)?;
        }
        drop_subscription(&mut subscriber.conn, &name)?;
        drop_slot(&mut publisher.conn, &name, &publisher.server)?;
        known = state.tables;
    }
    let shapes = require_possible(publisher, subscriber, wanted)?;
    publish(&mut publisher.conn, link, wanted)?;
    attach(link, publisher, subscriber, &shapes, &ReplacedRows { known, local })?;
    Ok(Followed::Attached)
}

/// Whether a subscription has its slot, and the slot has its WAL.
fn is_usable(state: &SubscriptionState, name: &str, publisher: &mut Endpoint) -> Result<bool, Error> {
    if state.slot.as_deref() != Some(name) {
        return Ok(false);
    }
    Ok(slot(&mut publisher.conn, name)?.is_some_and(|slot| !slot.is_lost))
}

/// The tables that a subscription does not follow.
fn missing<'a>(state: &SubscriptionState, wanted: &[&'a str]) -> Vec<&'a str> {
    wanted.iter().copied().filter(|name| !state.tables.iter().any(|own| own == name)).collect()
}

/// Whether none of the tables has a row.
fn are_empty(conn: &mut PgConnection, tables: &[&str]) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        has_rows: bool,
    }
    for table in tables {
        let row: Row =
            sql_query(format!("SELECT EXISTS (SELECT FROM public.{}) AS has_rows", Identifier::of_object(table)))
                .get_result(conn)
                .map_err(Error::doing("read the shared tables"))?;
        if row.has_rows {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Brings the registry's publication to the list of shared tables, also if no server was reached. Without tables, it is
/// dropped.
///
/// # Errors
/// The registry's error.
pub fn settle(registry: &mut Endpoint, tables: &[SharedTable]) -> Result<(), Error> {
    let link = ReplicationLink::of(&registry.server, ShareDirection::Out);
    let wanted = names(tables, ShareDirection::Out);
    if wanted.is_empty() {
        return drop_publication(&mut registry.conn, link.publication());
    }
    match published(&mut registry.conn, link.publication())? {
        Some(_) => publish(&mut registry.conn, link, &wanted),
        None => Ok(()),
    }
}

/// Creates the publication of a link, or changes its tables.
fn publish(conn: &mut PgConnection, link: ReplicationLink, wanted: &[&str]) -> Result<(), Error> {
    let name = link.publication();
    let quoted: Vec<String> = wanted.iter().map(|table| format!("public.{}", Identifier::of_object(table))).collect();
    let (publication, list) = (Identifier::of_object(name), quoted.join(", "));
    let statement = match published(conn, name)? {
        None => format!("CREATE PUBLICATION {publication} FOR TABLE {list}"),
        Some(own) if own.len() == wanted.len() && wanted.iter().all(|table| own.iter().any(|own| own == table)) => {
            return Ok(());
        }
        Some(_) => format!("ALTER PUBLICATION {publication} SET TABLE {list}"),
    };
    conn.batch_execute(&statement).map_err(Error::doing("change the publication of shared tables"))
}

/// Brings the connection, the state and the tables of a subscription up to date. New tables are empty on the subscriber: the
/// subscription copies their rows itself.
fn refresh(
    link: ReplicationLink,
    publisher: &mut Endpoint,
    subscriber: &mut Endpoint,
    state: &SubscriptionState,
    wanted: &[&str],
) -> Result<Followed, Error> {
    let name = link.name();
    let quoted = Identifier::of_object(&name);
    let connection = peer_connection(&publisher.server)?.conninfo();
    let new = missing(state, wanted);
    let mut statements = Vec::new();
    if connection_of(&mut subscriber.conn, &name)?.is_some_and(|own| own != connection) {
        statements.push(format!("ALTER SUBSCRIPTION {quoted} CONNECTION {}", Literal(&connection)));
    }
    if !state.is_enabled {
        statements.push(format!("ALTER SUBSCRIPTION {quoted} ENABLE"));
    }
    if !new.is_empty() || state.tables.len() != wanted.len() {
        statements.push(format!("ALTER SUBSCRIPTION {quoted} REFRESH PUBLICATION WITH (copy_data = true)"));
    }
    if link.direction == ShareDirection::Out {
        tables::record(&mut subscriber.conn, wanted, link.direction)?;
    }
    for statement in &statements {
        subscriber.conn.batch_execute(statement).map_err(|error| {
            let message = ServerMessage::from(&error).message;
            not_shared(&subscriber.server, format!("cannot change subscription {name}: {message}"))
        })?;
    }
    if statements.is_empty() && state.copying.is_empty() {
        return Ok(Followed::Unchanged);
    }
    let began = Instant::now();
    while began.elapsed() < COPY_WAIT {
        let state = subscription(&mut subscriber.conn, &name)?;
        if state.is_none_or(|state| state.copying.is_empty()) {
            return Ok(Followed::Changed);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Followed::Copying)
}
