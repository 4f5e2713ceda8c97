//! A publication, its slot and its subscription, between the registry and another server.

use diesel::pg::PgConnection;

use super::tables::ShareDirection;
use crate::error::{Error, ServersError};
use crate::postgres::{Connector, DatabaseUrl};
use crate::servers::{FleetServer, require_identity};

/// A server of the fleet that is connected to.
pub struct Endpoint {
    /// The server.
    pub server: FleetServer,
    /// Opens connections to it.
    pub(super) connector: Connector,
    /// A connection.
    pub(super) conn: PgConnection,
}

impl Endpoint {
    /// Connects to a server, and checks that it is the one that was registered.
    ///
    /// # Errors
    /// [`ServersError::Unreachable`], [`ServersError::WrongDatabase`], or the server's error.
    pub fn connect(server: &FleetServer, connector: Connector, registry: uuid::Uuid) -> Result<Self, Error> {
        let unreachable = |error| ServersError::Unreachable { name: server.name.to_string(), error: Box::new(error) };
        let mut conn = connector.connect().map_err(unreachable)?;
        require_identity(&mut conn, &connector, server, registry)?;
        Ok(Self { server: server.clone(), connector, conn })
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}

/// The replication in one direction between the registry and another server. Its slot, on the publisher, and its
/// subscription have the same name.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplicationLink {
    /// The server that is not the registry.
    pub(super) server: uuid::Uuid,
    pub(super) direction: ShareDirection,
}

/// The beginnings of the names of slots and subscriptions.
pub(super) const PREFIXES: [&str; 2] = ["tenantry_out_", "tenantry_in_"];

impl ReplicationLink {
    pub(super) fn of(server: &FleetServer, direction: ShareDirection) -> Self {
        Self { server: server.id, direction }
    }

    /// The name of the slot and of the subscription.
    pub(super) fn name(self) -> String {
        format!("tenantry_{}_{}", self.direction.as_str(), self.server.simple())
    }

    /// The name of the publication, which the links of the same direction share on the registry.
    pub(super) fn publication(self) -> &'static str {
        match self.direction {
            ShareDirection::Out => "tenantry_out",
            ShareDirection::In => "tenantry_in",
        }
    }

    /// The publisher and the subscriber.
    pub(super) fn ends<'a, T>(self, registry: &'a mut T, server: &'a mut T) -> (&'a mut T, &'a mut T) {
        match self.direction {
            ShareDirection::Out => (registry, server),
            ShareDirection::In => (server, registry),
        }
    }
}

/// The connection string with which a subscriber connects to the server. It has no password: the server of the subscriber
/// finds one in a password file, or needs none.
///
/// # Errors
/// [`ServersError::InvalidConnection`].
pub(super) fn peer_connection(publisher: &FleetServer) -> Result<DatabaseUrl, Error> {
    let invalid =
        |reason: &str| ServersError::InvalidConnection { name: publisher.name.to_string(), reason: reason.to_owned() };
    let url = publisher.peer_connection.as_ref().or(publisher.connection.as_ref());
    let url = url.ok_or_else(|| invalid("it is not known, and the other servers connect to it"))?;
    if url.has_secrets() {
        return Err(invalid("it has a password, which the other servers would store").into());
    }
    Ok(url.clone().with_default("connect_timeout", "10"))
}
