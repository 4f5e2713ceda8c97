//! `server`

mod add;
mod change;
mod check;
mod list;
mod remove;
mod sync;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::settings::Connection;
use crate::database::Database;
use crate::servers::{Directory, ServerFacts};

/// Manage the servers of a fleet
///
/// Each server is a database with tenants of its own. The database of --database-url, which has the directory of servers,
/// is the registry. Fleet commands work on all servers; --server and --region narrow them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: ServerAction,
}

#[derive(Debug, Clone, Subcommand)]
enum ServerAction {
    Add(add::Args),
    List(list::Args),
    Check(check::Args),
    Set(change::SetArgs),
    /// Place no more tenants on a server
    Drain(change::StateArgs),
    /// Let a server take tenants again
    Open(change::StateArgs),
    /// Mark a server that has no tenants as out of service
    Retire(change::StateArgs),
    Remove(remove::Args),
    Sync(sync::Args),
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    use crate::model::ServerState;
    match args.action {
        ServerAction::Add(args) => add::run(args, context),
        ServerAction::List(args) => list::run(&args, context),
        ServerAction::Check(args) => check::run(&args, context),
        ServerAction::Set(args) => change::set(args, context),
        ServerAction::Drain(args) => change::state(&args, ServerState::Draining, context),
        ServerAction::Open(args) => change::state(&args, ServerState::Open, context),
        ServerAction::Retire(args) => change::state(&args, ServerState::Retired, context),
        ServerAction::Remove(args) => remove::run(&args, context),
        ServerAction::Sync(args) => sync::run(&args, context),
    }
}

/// Connects to a database that has a directory, or a copy of it.
pub(super) fn directory(context: &Context, connection: &Connection) -> Result<(Database, Directory)> {
    let mut db = context.database_with_directory(connection)?;
    let server = db.server().clone();
    let directory = Directory::require(db.connection(), &server)?;
    Ok((db, directory))
}

/// Connects to the registry.
pub(super) fn registry(context: &Context, connection: &Connection) -> Result<(Database, Directory)> {
    let mut db = context.database(connection)?;
    let server = db.server().clone();
    let directory = Directory::require(db.connection(), &server)?;
    directory.require_registry(db.server())?;
    Ok((db, directory))
}

/// The facts of the database of a command.
fn facts(db: &mut Database) -> Result<ServerFacts, crate::Error> {
    ServerFacts::read(db.connection())
}
