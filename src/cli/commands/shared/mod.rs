//! `shared`

mod change;
mod detach;
mod list;
mod status;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

use super::server;
use crate::cli::cause::Cause;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::settings::Connection;
use crate::database::Database;
use crate::error::{Error, ServersError};
use crate::servers::shared::{self, Endpoint, Followed, LocalRows, SharedTable};
use crate::servers::{Directory, FleetServer};

/// Share tables between the servers by logical replication
///
/// A shared table is a table of the schema public that all servers have. The registry publishes it to the other servers, or,
/// with --from-regions, the other servers publish it to the registry.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: SharedAction,
}

#[derive(Debug, Clone, Subcommand)]
enum SharedAction {
    Add(change::AddArgs),
    List(list::Args),
    Status(status::Args),
    Sync(change::SyncArgs),
    Remove(change::RemoveArgs),
    Detach(detach::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    match &args.action {
        SharedAction::Add(args) => change::add(args, context),
        SharedAction::List(args) => list::run(args, context),
        SharedAction::Status(args) => status::run(args, context),
        SharedAction::Sync(args) => change::sync(args, context),
        SharedAction::Remove(args) => change::remove(args, context),
        SharedAction::Detach(args) => detach::run(args, context),
    }
}

/// Attaches a server that was just added to the shared tables. Returns whether it follows them; what prevents it is shown as a
/// warning.
pub(super) fn follow_as_new(context: &Context, connection: &Connection, name: &str) -> Result<bool> {
    let mut fleet = OpenFleet::of_registry(context, connection)?;
    if fleet.tables.is_empty() {
        return Ok(true);
    }
    let server = fleet.directory.server(name)?.clone();
    let outcome = fleet.follow(&server, LocalRows::Keep);
    let done = outcome.error.is_none();
    if let Some(error) = outcome.error {
        context.output().warning(format_args!("server {name} does not have the shared tables: {error}"));
        context.output().hint(format_args!("when that is fixed, run '{}'", context.command("shared sync")));
    }
    Ok(done)
}

/// The registry of a fleet, and what connects to its servers.
struct OpenFleet<'a> {
    context: &'a Context,
    connection: &'a Connection,
    /// Also holds the lock of the fleet.
    db: Database,
    directory: Directory,
    registry: Endpoint,
    tables: Vec<SharedTable>,
}

impl<'a> OpenFleet<'a> {
    /// Connects to the registry.
    fn of_registry(context: &'a Context, connection: &'a Connection) -> Result<Self> {
        let (mut db, directory) = server::registry(context, connection)?;
        let no_directory = || Error::from(ServersError::NoDirectory { database: db.server().database.clone() });
        let main = directory.registry_server().ok_or_else(no_directory)?.clone();
        let registry = Endpoint::connect(&main, db.connector().clone(), directory.registry)?;
        let tables = shared::tables::tables(db.connection())?;
        Ok(Self { context, connection, db, directory, registry, tables })
    }

    /// Connects to the registry for a change: one command at a time changes the replication.
    fn for_change(context: &'a Context, connection: &'a Connection) -> Result<Self> {
        let mut fleet = Self::of_registry(context, connection)?;
        let stop = context.stop();
        fleet.db.lock_fleet(None, Duration::ZERO, &stop, &mut |_| ())?;
        Ok(fleet)
    }

    fn others(&self) -> Vec<FleetServer> {
        self.directory.servers.iter().filter(|server| !server.is_registry).cloned().collect()
    }

    fn endpoint(&self, server: &FleetServer) -> Result<Endpoint, Error> {
        let connector = self.context.connector_of(server, self.connection)?;
        Endpoint::connect(server, connector, self.directory.registry)
    }

    /// Brings one server to the list of shared tables.
    fn follow(&mut self, server: &FleetServer, local: LocalRows) -> SharedOutcome {
        let followed = match self.endpoint(server) {
            Ok(mut endpoint) => shared::follow(&mut self.registry, &mut endpoint, &self.tables, local),
            Err(error) => shared::leave(&mut self.registry, server, &self.tables).and(Err(error)),
        };
        SharedOutcome::of(server, followed)
    }

    /// Brings all servers to the list of shared tables, and shows what each needed.
    fn follow_all(&mut self, local: LocalRows) -> Result<Exit> {
        let servers: Vec<SharedOutcome> = self.others().iter().map(|server| self.follow(server, local)).collect();
        shared::settle(&mut self.registry, &self.tables)?;
        let output = self.context.output();
        for server in &servers {
            if let Some(error) = &server.error {
                let of_server = format!("server {}", server.server);
                // Most errors name the server.
                let prefix = if error.contains(&of_server) { String::new() } else { format!("{of_server}: ") };
                output.error(format_args!("{prefix}{error}"));
            }
            if let Some(hint) = &server.hint {
                output.hint(hint);
            }
        }
        let failed = servers.iter().filter(|server| server.error.is_some()).count();
        let total = servers.len();
        let tables = self.tables.len();
        if output.is_json() {
            output.json(&Document { tables, servers })?;
        } else {
            output.table(&["server", "result"], servers.into_iter().map(SharedOutcome::cells))?;
        }
        let summary = format!("{} shared with {}", count(tables, "table"), count(total - failed, "server"));
        match failed {
            0 => output.status(summary),
            failed => output.status(format_args!("{summary}, {} failed", thousands(failed))),
        }
        Ok(if failed == 0 { Exit::Done } else { Exit::Found })
    }
}

#[derive(Serialize)]
struct Document {
    /// The number of shared tables.
    tables: usize,
    servers: Vec<SharedOutcome>,
}

/// What a server needed.
#[derive(Serialize)]
struct SharedOutcome {
    server: String,
    /// `attached`, `changed`, `copying`, `unchanged`, `not-reached` or `failed`.
    result: &'static str,
    /// The stable name of the error.
    code: Option<&'static str>,
    error: Option<String>,
    #[serde(skip)]
    hint: Option<String>,
}

impl SharedOutcome {
    fn of(server: &FleetServer, followed: Result<Followed, Error>) -> Self {
        let server = server.name.to_string();
        let error = match followed {
            Ok(followed) => {
                let result = match followed {
                    Followed::Unchanged => "unchanged",
                    Followed::Changed => "changed",
                    Followed::Copying => "copying",
                    Followed::Attached => "attached",
                };
                return Self { server, result, code: None, error: None, hint: None };
            }
            Err(error) => error,
        };
        let is_away = matches!(error, Error::Servers(ServersError::Unreachable { .. }));
        let result = if is_away { "not-reached" } else { "failed" };
        let replace = matches!(error, Error::Servers(ServersError::RowsDiffer { .. }));
        let hint = replace.then(|| "to replace the rows, run 'shared sync --replace'".to_owned());
        let error = anyhow::Error::from(error);
        let code = Some(Cause::of(&error).code());
        Self { server, result, code, error: Some(format!("{error:#}")), hint }
    }

    fn cells(self) -> Vec<String> {
        vec![self.server, self.result.to_owned()]
    }
}
