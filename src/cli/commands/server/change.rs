//! `server set`, `server drain`, `server open`, `server retire`

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::registry;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::{connect, copy_to_all};
use crate::cli::output::count;
use crate::cli::settings::{Connection, DatabaseOptions, capacity};
use crate::error::{Error, ServersError};
use crate::model::{ServerName, ServerState};
use crate::postgres::DatabaseUrl;
use crate::servers::{self, Directory, FleetServer, ServerChange, placements};

/// Change the name, the connection or the limits of a server
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct SetArgs {
    /// Name of the server
    name: String,

    /// New name
    #[arg(long, group = "change", value_name = "NAME")]
    rename: Option<ServerName>,

    /// Connection string of the database, without a password; it must lead to the same database
    #[arg(long, group = "change", value_name = "URL")]
    url: Option<String>,

    /// Connection string by which the other servers reach it
    #[arg(long, group = "change", value_name = "URL")]
    peer_url: Option<String>,

    /// Environment variable that has the password; '' for none
    #[arg(long, group = "change", value_name = "VARIABLE")]
    password_env: Option<String>,

    /// Region; '' for none
    #[arg(long, group = "change", value_name = "REGION")]
    region: Option<String>,

    /// Number of tenants that it may have; 'none' for no limit
    #[arg(long, group = "change", value_name = "N", value_parser = capacity)]
    capacity: Option<i64>,

    #[command(flatten)]
    connection: DatabaseOptions,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StateArgs {
    /// Name of the server
    name: String,

    #[command(flatten)]
    connection: DatabaseOptions,
}

pub(super) fn set(args: SetArgs, context: &Context) -> Result<Exit> {
    let url = |text: Option<&str>| {
        text.map(|text| text.parse::<DatabaseUrl>().with_context(|| "invalid database URL of the server")).transpose()
    };
    let change = ServerChange {
        connection: url(args.url.as_deref())?,
        peer_connection: url(args.peer_url.as_deref())?,
        name: args.rename,
        region: args.region,
        password_variable: args.password_env,
        capacity: args.capacity,
        state: None,
    };
    apply(&args.name, &change, &args.connection.into(), context)
}

pub(super) fn state(args: &StateArgs, state: ServerState, context: &Context) -> Result<Exit> {
    apply(
        &args.name,
        &ServerChange { state: Some(state), ..ServerChange::default() },
        &args.connection.clone().into(),
        context,
    )
}

fn apply(name: &str, change: &ServerChange, connection: &Connection, context: &Context) -> Result<Exit> {
    let (mut db, directory) = registry(context, connection)?;
    let server = directory.server(name)?.clone();
    if let Some(url) = &change.connection {
        servers::require_storable(&server.name, url)?;
        let changed = FleetServer { connection: Some(url.clone()), ..with_password(&server, change) };
        connect(context.connector_of(&changed, connection)?, &changed, &directory)?;
    }
    let tenants = placements::counts(db.connection())?.get(&server.id).copied().unwrap_or(0);
    if change.state == Some(ServerState::Retired) && tenants > 0 {
        let reasons = vec![count(usize::try_from(tenants).unwrap_or_default(), "tenant")];
        return Err(Error::from(ServersError::InUse { name: name.to_owned(), reasons }).into());
    }
    servers::change(db.connection(), &directory, server.id, change)?;
    copy_to_all(context, connection, &mut db)?;
    let here = db.server().clone();
    let directory = Directory::require(db.connection(), &here)?;
    if let Some(server) = directory.by_id(server.id) {
        if context.output().is_json() {
            context.output().json(&Document { server: server.name.to_string(), state: server.state.as_str() })?;
        }
        context.output().status(format_args!("server {} changed: {}", server.name, server.state));
    }
    Ok(Exit::Done)
}

/// The server with the password variable that it will have.
fn with_password(server: &FleetServer, change: &ServerChange) -> FleetServer {
    let variable = match &change.password_variable {
        Some(variable) => (!variable.is_empty()).then(|| variable.clone()),
        None => server.password_variable.clone(),
    };
    FleetServer { password_variable: variable, ..server.clone() }
}

#[derive(Serialize)]
struct Document {
    /// Its name now.
    server: String,
    /// `open`, `draining` or `retired`.
    state: &'static str,
}
