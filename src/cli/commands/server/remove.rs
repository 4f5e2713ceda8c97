//! `server remove`

use anyhow::Result;
use serde::Serialize;

use super::registry;
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::{connect, copy_to_all};
use crate::cli::settings::{Connection, DatabaseOptions};
use crate::servers;

/// Remove a server that has no tenants from the directory
///
/// Its database is left as it is, except that it is a database of its own again. A server that cannot be reached is removed
/// from the directory only.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the server
    name: String,

    #[command(flatten)]
    confirm: ConfirmOption,

    #[command(flatten)]
    connection: DatabaseOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let connection = Connection::from(args.connection.clone());
    let (mut db, directory) = registry(context, &connection)?;
    let server = directory.server(&args.name)?.clone();
    servers::require_removable(db.connection(), &directory, &server)?;
    servers::shared::require_detached(db.connection(), &server)?;
    let question = format!("Remove server {} from the fleet of {}? [y/N]", server.name, location(&db));
    args.confirm.ask_without_plan(&question, Answer::Yes)?;
    servers::remove(db.connection(), &directory, &server)?;
    let mut is_detached = true;
    if server.is_registry {
        servers::forget(db.connection())?;
    } else {
        // First from the directory: the reverse order would leave a server that no command accepts.
        let forgotten = context.connector_of(&server, &connection).map_err(anyhow::Error::from).and_then(|connector| {
            let mut target = connect(connector, &server, &directory)?;
            Ok(servers::forget(target.connection())?)
        });
        if let Err(error) = forgotten {
            is_detached = false;
            context
                .output()
                .warning(format_args!("the database of {} still has a copy of the directory: {error:#}", server.name));
        }
        copy_to_all(context, &connection, &mut db)?;
    }
    if context.output().is_json() {
        context.output().json(&Document { server: server.name.to_string(), is_detached })?;
    }
    context.output().status(format_args!("server {} removed", server.name));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    /// Its name.
    server: String,
    /// Whether its database was reached and has no copy of the directory any more.
    is_detached: bool,
}
