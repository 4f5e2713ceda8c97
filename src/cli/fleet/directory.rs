//! The directory of servers, and its copies.

use anyhow::Result;
use uuid::Uuid;

use super::route::FoundServers;
use crate::cli::commands::Command;
use crate::cli::context::Context;
use crate::cli::settings::Connection;
use crate::database::Database;
use crate::error::{Error, ServersError};
use crate::postgres::{self, Connector};
use crate::servers::{Directory, FleetServer, copy_directory, placements, require_identity};
use crate::tenants::tracker;

/// Connects to a server.
///
/// # Errors
/// [`ServersError::Unreachable`], or the server's error.
pub(crate) fn reach(connector: Connector, server: &FleetServer) -> Result<Database, Error> {
    Database::connect(connector, 1).map_err(|error| unreached(error, server))
}

/// Names the server in the error of a connection.
pub(crate) fn unreached(error: Error, server: &FleetServer) -> Error {
    match error {
        Error::Postgres(error @ postgres::Error::Unreachable { .. }) => {
            ServersError::Unreachable { name: server.name.to_string(), error: Box::new(error) }.into()
        }
        other => other,
    }
}

/// Connects to a server, and checks that it is the one that was registered.
///
/// # Errors
/// [`ServersError::WrongDatabase`], [`ServersError::Unreachable`], or the server's error.
pub(crate) fn connect(connector: Connector, server: &FleetServer, directory: &Directory) -> Result<Database, Error> {
    let mut db = reach(connector, server)?;
    let connector = db.connector().clone();
    require_identity(db.connection(), &connector, server, directory.registry)?;
    Ok(db)
}

/// Copies the directory to each server that can be reached. The others get it from a later command.
pub(crate) fn copy_to_all(context: &Context, connection: &Connection, registry: &mut Database) -> Result<()> {
    copy_to_others(context, connection, registry, &[])
}

/// Copies the directory to each server but those of `lost`, which could not be reached a moment ago.
pub(super) fn copy_to_others(
    context: &Context,
    connection: &Connection,
    registry: &mut Database,
    lost: &[Uuid],
) -> Result<()> {
    let server = registry.server().clone();
    let directory = Directory::require(registry.connection(), &server)?;
    let outdated = |server: &&FleetServer| !server.is_registry && server.copied < directory.version;
    for server in directory.servers.iter().filter(outdated).filter(|server| !lost.contains(&server.id)) {
        let copied = context.connector_of(server, connection).and_then(|connector| {
            let mut db = connect(connector, server, &directory)?;
            copy_directory(registry.connection(), &directory, db.connection(), server)
        });
        if let Err(error) = copied {
            context.output().warning(format_args!("server {} has an earlier directory: {error}", server.name));
        }
    }
    Ok(())
}

/// Goes from a copy of the directory to the registry. If that cannot be reached, continues with the copy.
///
/// # Errors
/// [`ServersError::RegistryDown`] if the command changes the directory.
pub(super) fn to_registry(found: &mut FoundServers, command: &Command, context: &Context) -> Result<(), Error> {
    if found.directory.is_registry() {
        return Ok(());
    }
    let Some(registry) = found.directory.registry_server() else { return Ok(()) };
    let reached = context
        .connector_of(registry, &found.connection)
        .and_then(|connector| connect(connector, registry, &found.directory));
    match reached {
        Ok(mut db) => {
            let server = db.server().clone();
            if let Some(directory) = Directory::read(db.connection(), &server)? {
                found.directory = directory;
                found.db = db;
            }
            Ok(())
        }
        Err(error) if command.changes_tenants() => Err(ServersError::RegistryDown { error: Box::new(error) }.into()),
        Err(error) => {
            context.output().warning(format_args!(
                "using the copy of the directory of {}, as the registry cannot be reached: {error}",
                found.directory.here().map_or("this server", |server| server.name.as_str())
            ));
            Ok(())
        }
    }
}

/// Brings the directory up to date with the tracker of a server. With `only`, considers only tenants with those names.
pub(super) fn reconcile(
    found: &mut FoundServers,
    server: &FleetServer,
    only: Option<&[&str]>,
    context: &Context,
) -> Result<(), Error> {
    let tracked = tracked(found, server, context)?;
    let changes = placements::reconcile(found.db.connection(), server.id, &tracked, only)?;
    for tenant in &changes.elsewhere {
        context.output().warning(format_args!("tenant {tenant} is on {} and on another server", server.name));
    }
    Ok(())
}

/// The tenants in the tracker of a server.
pub(crate) fn tracked(found: &mut FoundServers, server: &FleetServer, context: &Context) -> Result<Vec<String>, Error> {
    if server.id == found.directory.identity {
        return tracker::names(found.db.connection());
    }
    let connector = context.connector_of(server, &found.connection)?;
    let mut db = connect(connector, server, &found.directory)?;
    tracker::names(db.connection())
}
