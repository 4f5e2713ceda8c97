//! The server of each new tenant.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use clap::ValueEnum;
use uuid::Uuid;

use super::directory::connect;
use super::route::FoundServers;
use crate::cli::context::Context;
use crate::cli::output::count;
use crate::error::{Error, ServersError};
use crate::servers::{FleetServer, ServerFacts, placements};

/// By what a server is chosen for a new tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlacementRule {
    /// The server with the fewest tenants.
    LeastTenants,
    /// The server with the smallest database.
    LeastBytes,
}

/// Assigns a server to each name: the one that it is on or is reserved on already, or else one of `candidates` that takes
/// tenants.
///
/// # Errors
/// [`ServersError::NotOpen`] if a single candidate takes no tenants; [`ServersError::NoRoom`]; or a server's error.
pub(super) fn assign(
    found: &mut FoundServers,
    candidates: &[FleetServer],
    names: &[String],
    by: PlacementRule,
    context: &Context,
) -> Result<BTreeMap<Uuid, Vec<String>>> {
    let placed: Vec<&str> = names.iter().map(String::as_str).collect();
    let placed: HashMap<String, Uuid> = placements::of(found.db.connection(), &placed)?
        .into_iter()
        .map(|placement| (placement.tenant.to_ascii_lowercase(), placement.server))
        .collect();
    let mut assigned: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    let mut new = Vec::new();
    for name in names {
        match placed.get(&name.to_ascii_lowercase()) {
            Some(server) => assigned.entry(*server).or_default().push(name.clone()),
            None => new.push(name.clone()),
        }
    }
    if let ([server], false) = (candidates, new.is_empty())
        && !server.is_open()
    {
        return Err(
            Error::from(ServersError::NotOpen { name: server.name.to_string(), state: server.state.as_str() }).into()
        );
    }
    let tenants = placements::counts(found.db.connection())?;
    let mut rooms = Vec::new();
    let mut reasons = Vec::new();
    for server in candidates {
        let tenants = tenants.get(&server.id).copied().unwrap_or(0);
        match Room::of(server, tenants, by, found, context) {
            Ok(room) => rooms.push(room),
            Err(reason) => reasons.push(format!("{} {reason}", server.name)),
        }
    }
    for (index, name) in new.iter().enumerate() {
        let Some(room) = rooms.iter_mut().filter(|room| room.left > 0).min_by_key(|room| room.load) else {
            let full = rooms.iter().map(|room| format!("{} is full", room.name));
            let tenants = count(new.len() - index, "tenant");
            return Err(Error::from(ServersError::NoRoom {
                tenants,
                reasons: reasons.into_iter().chain(full).collect(),
            })
            .into());
        };
        room.take();
        assigned.entry(room.server).or_default().push(name.clone());
    }
    Ok(assigned)
}

/// A server that takes tenants.
struct Room {
    server: Uuid,
    name: String,
    left: i64,
    /// What is to be as small as possible: the number of tenants, or the size in bytes.
    load: i64,
    /// What a tenant adds to it.
    each: i64,
}

impl Room {
    /// The room on a server with that many tenants. The error is why there is none.
    fn of(
        server: &FleetServer,
        tenants: i64,
        by: PlacementRule,
        found: &mut FoundServers,
        context: &Context,
    ) -> Result<Self, String> {
        if !server.is_open() {
            return Err(format!("is {}", server.state));
        }
        let left = server.capacity.map_or(i64::MAX, |capacity| capacity - tenants);
        let (load, each) = match by {
            PlacementRule::LeastTenants => (tenants, 1),
            PlacementRule::LeastBytes => {
                let bytes = bytes(server, found, context).map_err(|error| format!("was not reached: {error}"))?;
                // So that several new tenants do not all go to the same server.
                (bytes, bytes / tenants.max(1))
            }
        };
        Ok(Self { server: server.id, name: server.name.to_string(), left, load, each })
    }

    fn take(&mut self) {
        self.left -= 1;
        self.load += self.each;
    }
}

/// The size of the database of a server.
fn bytes(server: &FleetServer, found: &mut FoundServers, context: &Context) -> Result<i64, Error> {
    if server.id == found.directory.identity {
        return Ok(ServerFacts::read(found.db.connection())?.bytes);
    }
    let mut db = connect(context.connector_of(server, &found.connection)?, server, &found.directory)?;
    Ok(ServerFacts::read(db.connection())?.bytes)
}
