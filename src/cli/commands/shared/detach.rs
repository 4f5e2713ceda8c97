//! `shared detach`

use anyhow::Result;
use serde::Serialize;

use super::{OpenFleet, server};
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, Usage, location};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::settings::Connection;
use crate::error::{Error, ServersError};
use crate::servers::FleetServer;
use crate::servers::shared::{self, Replication};

/// End the replication of shared tables with a server
///
/// Drops the subscriptions and the replication slots of the server; its rows stay. A server that cannot be reached keeps
/// its subscription: the registry keeps no slot for it. When it is back, 'server add' replaces its copies, or
/// 'shared detach' without a name, with --database-url set to that server, drops its subscription.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the server [default: the database itself, if it is not the registry]
    name: Option<String>,

    #[command(flatten)]
    confirm: ConfirmOption,

    #[command(flatten)]
    connection: Connection,
}

/// Whether the server was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Reached,
    Down,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    match &args.name {
        Some(name) => from_registry(name, args, context),
        None => here(args, context),
    }
}

fn from_registry(name: &str, args: &Args, context: &Context) -> Result<Exit> {
    let mut fleet = OpenFleet::for_change(context, &args.connection)?;
    let server = fleet.directory.server(name)?.clone();
    if server.is_registry {
        return Err(Error::from(ServersError::IsRegistry { name: name.to_owned() }).into());
    }
    args.confirm.ask(&format!("End the replication of shared tables with server {name}? [y/N]"), Answer::Yes)?;
    let mut dropped = shared::remains_of(fleet.registry.connection(), &server)?;
    let reach = match fleet.endpoint(&server) {
        Ok(mut endpoint) => {
            let there = shared::remains(endpoint.connection())?;
            dropped.slots.extend(there.slots);
            dropped.subscriptions.extend(there.subscriptions);
            shared::detach(&mut fleet.registry, &mut endpoint)?;
            Reach::Reached
        }
        Err(error @ Error::Servers(ServersError::Unreachable { .. })) => {
            context.output().warning(format_args!("{error}; its own subscription stays"));
            shared::detach_from_main(&mut fleet.registry, &server)?;
            Reach::Down
        }
        Err(error) => return Err(error.into()),
    };
    show(context, &server, dropped, reach)
}

fn here(args: &Args, context: &Context) -> Result<Exit> {
    let (mut db, directory) = server::directory(context, &args.connection)?;
    let server = match directory.here() {
        Some(server) if !directory.is_registry() => server.clone(),
        _ => return Err(Usage::new("no-server", "this database is the registry; name a server").into()),
    };
    let question = format!("Drop the subscriptions and replication slots of shared tables in {}? [y/N]", location(&db));
    args.confirm.ask(&question, Answer::Yes)?;
    let dropped = shared::detach_here(db.connection(), &server)?;
    show(context, &server, dropped, Reach::Reached)
}

fn show(context: &Context, server: &FleetServer, dropped: Replication, reach: Reach) -> Result<Exit> {
    let output = context.output();
    let (subscriptions, slots) =
        (count(dropped.subscriptions.len(), "subscription"), count(dropped.slots.len(), "replication slot"));
    if output.is_json() {
        output.json(&Document {
            server: server.name.to_string(),
            is_reached: reach == Reach::Reached,
            subscriptions: dropped.subscriptions,
            slots: dropped.slots,
        })?;
    }
    output.status(format_args!("server {} detached: {subscriptions} and {slots} dropped", server.name));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    server: String,
    /// Whether the server was reached; if not, its own subscription and slots stay.
    is_reached: bool,
    /// The dropped subscriptions.
    subscriptions: Vec<String>,
    /// The dropped replication slots.
    slots: Vec<String>,
}
