//! Commands on fleets on several servers.
//!
//! A command is written for one database. Its first connection shows whether that database has a directory of servers. If so,
//! nothing was done yet, and the command is run again on each server that it concerns, at the same time: on all servers, on
//! those of the tenants that it names, or on the one where they are to be placed. What it prints to standard output is
//! gathered and put together, with the server of each row.

mod directory;
mod merge;
mod outcome;
mod place;
mod record;
mod route;
mod scope;
mod servers;
mod work;

use anyhow::Result;

use super::commands::Command;
use super::context::Context;
use super::exit::Exit;
pub(crate) use directory::{connect, copy_to_all, reach, tracked, unreached};
pub(crate) use place::PlacementRule;
pub(crate) use route::{FoundServers, Route, ServerTarget, SeveralServers};
use scope::Scope;
pub(crate) use scope::{NamedTenants, named_tenants, text_of};
use servers::FleetCommand;

/// Runs a command, on each server that it concerns.
pub(super) fn run(command: Command, context: &Context) -> Result<Exit> {
    let scope = command.scope();
    if scope == Scope::Here {
        return command.run(&context.here());
    }
    let error = match command.clone().run(context) {
        Ok(exit) => return Ok(exit),
        Err(error) => error,
    };
    match error.downcast_ref::<SeveralServers>().and_then(SeveralServers::take) {
        Some(found) => FleetCommand::new(command, *found, context)?.run(),
        None => Err(error),
    }
}
