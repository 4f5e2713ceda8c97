//! `server list`

use anyhow::Result;
use serde::Serialize;

use super::directory;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::settings::{Connection, DatabaseOptions};
use crate::postgres::DatabaseUrl;
use crate::servers::{FleetServer, placements};

/// List the servers with region, state and tenants
///
/// Reads the directory only: it connects to no other server. 'server check' does.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: DatabaseOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let connection = Connection::from(args.connection.clone());
    let (mut db, directory) = directory(context, &connection)?;
    let counts = placements::counts(db.connection())?;
    let rows: Vec<ServerDocument> = directory
        .servers
        .iter()
        .map(|server| ServerDocument::of(server, counts.get(&server.id).copied().unwrap_or(0)))
        .collect();
    let output = context.output();
    if output.is_json() {
        output.json(&Document { servers: rows })?;
        return Ok(Exit::Done);
    }
    let number = rows.len();
    output.table(
        &["server", "region", "state", "tenants", "capacity", "database"],
        rows.into_iter().map(ServerDocument::cells),
    )?;
    output.status(count(number, "server"));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    servers: Vec<ServerDocument>,
}

#[derive(Serialize)]
struct ServerDocument {
    name: String,
    /// The identity of its database.
    id: String,
    region: Option<String>,
    /// `open`, `draining` or `retired`.
    state: &'static str,
    is_registry: bool,
    /// The number of tenants, as in the directory.
    tenants: i64,
    /// The number of tenants that it may have.
    capacity: Option<i64>,
    /// The connection string, without secrets.
    connection: Option<String>,
    peer_connection: Option<String>,
    /// The environment variable that has the password.
    password_variable: Option<String>,
}

impl ServerDocument {
    fn of(server: &FleetServer, tenants: i64) -> Self {
        let text = |url: &Option<DatabaseUrl>| url.as_ref().map(ToString::to_string);
        Self {
            name: server.name.to_string(),
            id: server.id.to_string(),
            region: server.region.clone(),
            state: server.state.as_str(),
            is_registry: server.is_registry,
            tenants,
            capacity: server.capacity,
            connection: text(&server.connection),
            peer_connection: text(&server.peer_connection),
            password_variable: server.password_variable.clone(),
        }
    }

    fn cells(self) -> Vec<String> {
        let dash = || "-".to_owned();
        let name = if self.is_registry { format!("{} (registry)", self.name) } else { self.name };
        vec![
            name,
            self.region.unwrap_or_else(dash),
            self.state.to_owned(),
            thousands(self.tenants),
            self.capacity.map_or_else(dash, thousands),
            self.connection.unwrap_or_else(dash),
        ]
    }
}
