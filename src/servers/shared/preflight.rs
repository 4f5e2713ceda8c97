//! What is missing before a server can follow another one.

use super::inspect::{ReplicationFacts, TableShape, shapes};
use super::link::{Endpoint, peer_connection};
use crate::error::{Error, ServersError};
use crate::servers::FleetServer;

/// The tables as the publisher has them, if both servers can replicate them.
///
/// # Errors
/// [`ServersError::NotShared`] with all reasons.
pub(super) fn require_possible(
    publisher: &mut Endpoint,
    subscriber: &mut Endpoint,
    tables: &[&str],
) -> Result<Vec<TableShape>, Error> {
    let mut reasons = Vec::new();
    if let Err(error) = peer_connection(&publisher.server) {
        reasons.push(error.to_string());
    }
    let facts = ReplicationFacts::read(&mut publisher.conn)?;
    of_publisher(&publisher.server, &facts, &mut reasons);
    of_subscriber(&subscriber.server, &ReplicationFacts::read(&mut subscriber.conn)?, &mut reasons);
    let published = shapes(&mut publisher.conn, tables)?;
    let subscribed = shapes(&mut subscriber.conn, tables)?;
    for table in &published {
        let other = subscribed.iter().find(|other| other.name == table.name);
        of_table((&publisher.server, table), other.map(|other| (&subscriber.server, other)), &mut reasons);
    }
    if reasons.is_empty() {
        return Ok(published);
    }
    let name = [publisher, subscriber].into_iter().find(|end| !end.server.is_registry);
    let name = name.map(|end| end.server.name.to_string()).unwrap_or_default();
    Err(ServersError::NotShared { name, reasons }.into())
}

fn of_publisher(server: &FleetServer, facts: &ReplicationFacts, reasons: &mut Vec<String>) {
    let name = &server.name;
    if facts.wal_level != "logical" {
        reasons.push(format!("wal_level of {name} is {}, and must be logical", facts.wal_level));
    }
    if facts.free_slots < 1 {
        reasons.push(format!("{name} has no free replication slot (max_replication_slots)"));
    }
    if facts.free_senders < 1 {
        reasons.push(format!("{name} has no free walsender (max_wal_senders)"));
    }
    if !facts.may_replicate {
        reasons.push(format!("role {} of {name} has no REPLICATION attribute", facts.role));
    }
    if !facts.may_create {
        reasons.push(format!("role {} of {name} may not create publications (GRANT CREATE ON DATABASE)", facts.role));
    }
}

fn of_subscriber(server: &FleetServer, facts: &ReplicationFacts, reasons: &mut Vec<String>) {
    let (name, role) = (&server.name, &facts.role);
    if facts.free_workers < 1 {
        reasons.push(format!("{name} has no free worker for a subscription (max_logical_replication_workers)"));
    }
    if facts.free_origins < 1 {
        let setting = if facts.version >= 180_000 { "max_active_replication_origins" } else { "max_replication_slots" };
        reasons.push(format!("{name} has no free replication origin ({setting})"));
    }
    if facts.is_superuser {
        return;
    }
    if facts.version < 160_000 {
        let major = facts.version / 10_000;
        reasons.push(format!(
            "role {role} of {name} is not a superuser, which PostgreSQL {major} requires for subscriptions"
        ));
    } else if facts.may_subscribe {
        reasons.push(format!(
            "role {role} of {name} is not a superuser: its subscription must have a password, which the server stores"
        ));
    } else {
        reasons.push(format!("role {role} of {name} is neither a superuser nor a member of pg_create_subscription"));
    }
    if facts.has_aiven_extras {
        reasons.push(format!(
            "{name} has aiven_extras: aiven_extras.pg_create_subscription creates a subscription, and stores its password"
        ));
    }
}

fn of_table(
    (server, table): (&FleetServer, &TableShape),
    other: Option<(&FleetServer, &TableShape)>,
    reasons: &mut Vec<String>,
) {
    let name = format!("public.{}", table.name);
    match table.kind.as_str() {
        "r" => {}
        "" => return reasons.push(format!("{name} does not exist on {}", server.name)),
        _ => return reasons.push(format!("{name} is not a plain table on {}", server.name)),
    }
    if !table.is_owner {
        reasons.push(format!("{name} belongs to another role on {}", server.name));
    }
    if table.key.is_empty() {
        reasons.push(format!("{name} has no primary key on {}", server.name));
    } else if table.replica_identity == "n" {
        reasons.push(format!("{name} has REPLICA IDENTITY NOTHING on {}", server.name));
    }
    let Some((there, other)) = other else { return };
    match other.kind.as_str() {
        "r" => {}
        "" => return reasons.push(format!("{name} does not exist on {}", there.name)),
        _ => return reasons.push(format!("{name} is not a plain table on {}", there.name)),
    }
    if !other.is_owner {
        reasons.push(format!("{name} belongs to another role on {}", there.name));
    }
    let only = |one: &TableShape, two: &TableShape| {
        let own = one.definitions.iter().filter(|column| !two.definitions.contains(column));
        own.cloned().collect::<Vec<_>>().join(", ")
    };
    let (here, beyond) = (only(table, other), only(other, table));
    if !here.is_empty() {
        reasons.push(format!("{name} has other columns: {here} only on {}", server.name));
    }
    if !beyond.is_empty() {
        reasons.push(format!("{name} has other columns: {beyond} only on {}", there.name));
    }
    if here.is_empty() && beyond.is_empty() && table.key != other.key {
        let keys = |table: &TableShape| table.key.join(", ");
        reasons.push(format!(
            "{name} has other primary keys: ({}) on {}, ({}) on {}",
            keys(table),
            server.name,
            keys(other),
            there.name
        ));
    }
}
