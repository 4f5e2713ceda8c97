//! Which database a command works on, if the fleet is on several servers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::cli::settings::Connection;
use crate::database::Database;
use crate::operations::migrate::SharedFailures;
use crate::postgres::Connector;
use crate::servers::placements::Placement;
use crate::servers::{Directory, FleetServer};

/// Which database a command works on.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// That of the options. If it has a directory of servers, the command ends with [`SeveralServers`] as soon as that is known,
    /// and is run again on each server.
    Open,
    /// That of the options, also if it has a directory.
    Here,
    /// One of several servers.
    Server(Box<ServerTarget>),
}

impl Route {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// One of several servers.
#[derive(Debug, Clone)]
pub(crate) struct ServerTarget {
    pub(crate) server: FleetServer,
    /// The identity of the registry that it belongs to.
    pub(crate) registry: Uuid,
    pub(crate) connector: Connector,
    /// The number of connections that the command may open on it.
    pub(crate) jobs: Option<usize>,
    /// The placements of all tenants, for a command that compares them with the server.
    pub(crate) placed: Arc<[Placement]>,
    /// The tenants that failed on all servers.
    pub(crate) failures: SharedFailures,
}

/// The first connection of a command has shown that the fleet is on several servers. Nothing was done.
pub(crate) struct SeveralServers(Mutex<Option<Box<FoundServers>>>);

/// The database with the directory, and the options by which it was found.
pub(crate) struct FoundServers {
    pub(crate) db: Database,
    pub(crate) directory: Directory,
    pub(crate) connection: Connection,
}

impl SeveralServers {
    pub(crate) fn new(db: Database, directory: Directory, connection: Connection) -> Self {
        Self(Mutex::new(Some(Box::new(FoundServers { db, directory, connection }))))
    }

    /// What was found; `None` if it was taken before.
    pub(super) fn take(&self) -> Option<Box<FoundServers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for SeveralServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeveralServers")
    }
}

impl fmt::Display for SeveralServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fleet is on several servers")
    }
}

impl std::error::Error for SeveralServers {}
