//! `server add`

use anyhow::{Context as _, Result};
use serde::Serialize;
use uuid::Uuid;

use super::super::shared;
use super::facts;
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::{copy_to_all, reach};
use crate::cli::output::count;
use crate::cli::settings::{Connection, DatabaseOptions, PublicMigrations, SearchPath, Timeouts, capacity};
use crate::database::Database;
use crate::error::{Error, ServersError};
use crate::model::ServerName;
use crate::operations::migrate;
use crate::postgres::DatabaseUrl;
use crate::servers::{self, Directory, FleetServer, placements};
use crate::tenants::tracker;

/// Register a database as a server of the fleet
///
/// Checks the version, the encoding, the extensions and the privileges, and applies the public migrations. The tenants that
/// it has become tenants of the fleet. The connection string is stored without a password: use a service, ~/.pgpass, or
/// --password-env. The first server that is added makes the database of --database-url the registry, as server main.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the server
    name: ServerName,

    /// Connection string of the database, without a password
    #[arg(long, value_name = "URL")]
    url: String,

    /// Connection string by which the other servers reach it, if it is another one
    #[arg(long, value_name = "URL")]
    peer_url: Option<String>,

    /// Environment variable that has the password
    #[arg(long, value_name = "VARIABLE")]
    password_env: Option<String>,

    /// Region of the server
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// Number of tenants that it may have
    #[arg(long, value_name = "N", value_parser = capacity)]
    capacity: Option<i64>,

    #[command(flatten)]
    connection: DatabaseOptions,

    #[command(flatten)]
    migrations: PublicMigrations,

    #[command(flatten)]
    path: SearchPath,

    #[command(flatten)]
    timeouts: Timeouts,
}

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    let own = Connection::from(args.connection.clone());
    let url = |text: &str| text.parse::<DatabaseUrl>().with_context(|| "invalid database URL of the server");
    let (connection, peer) = (url(&args.url)?, args.peer_url.as_deref().map(url).transpose()?);
    servers::require_storable(&args.name, &connection)?;
    peer.iter().try_for_each(|peer| servers::require_storable(&args.name, peer))?;
    let tenancy = context.tenancy_of_public(&args.migrations)?;
    let tenancy = tenancy.with_extension_schemas(args.path.extension_schemas).with_limits(args.timeouts.limits());

    let mut db = context.database(&own)?;
    db.require_writable(&tenancy)?;
    let here = db.server().clone();
    let directory = Directory::read(db.connection(), &here)?;
    directory.iter().try_for_each(|directory| directory.require_registry(&here))?;

    let mut added = FleetServer {
        region: args.region,
        connection: Some(connection),
        peer_connection: peer,
        password_variable: args.password_env,
        capacity: args.capacity.filter(|number| *number >= 0),
        ..FleetServer::new(Uuid::nil(), args.name)
    };
    let mut target = reach(context.connector_of(&added, &own)?, &added)?;
    context.output().detail(format_args!("server {}: {}", added.name, location(&target)));
    // All checks come before the first change of either database.
    let (tracked, others) = require_suitable(&mut db, &mut target, directory.as_ref(), &added)?;

    // Not a registry before it has a server: a failure leaves only this row.
    let registry = servers::identify(db.connection(), None)?;
    let stop = context.stop();
    let output = context.output().clone();
    migrate::migrate_public(&mut target, &tenancy, &stop, &mut |wait| output.status(wait))?;
    added.id = servers::identify(target.connection(), Some(registry))?;
    let main = servers::main_server(registry, context.own_connection(&own));
    servers::add(db.connection(), &[main, added.clone()])?;
    db.refresh_server()?;
    placements::reconcile(db.connection(), registry, &tracked, None)?;
    let placed = placements::reconcile(db.connection(), added.id, &others, None)?;
    for tenant in &placed.elsewhere {
        output.warning(format_args!("tenant {tenant} is on {} and on another server", added.name));
    }
    copy_to_all(context, &own, &mut db)?;
    let has_shared_tables = shared::follow_as_new(context, &own, added.name.as_str())?;

    let remarks = servers::remarks(&facts(&mut db)?, &facts(&mut target)?);
    remarks.iter().for_each(|remark| context.output().warning(format_args!("server {}: {remark}", added.name)));
    if context.output().is_json() {
        let document =
            Document { server: added.name.to_string(), id: added.id.to_string(), tenants: others.len(), remarks };
        context.output().json(&document)?;
    }
    context.output().status(format_args!("server {} added, with {}", added.name, count(others.len(), "tenant")));
    Ok(if has_shared_tables { Exit::Done } else { Exit::Found })
}

/// Checks that the database of `target` can become a server of the fleet. Returns the tenants of the registry and its own.
/// Changes nothing.
fn require_suitable(
    db: &mut Database,
    target: &mut Database,
    directory: Option<&Directory>,
    added: &FleetServer,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let (own, found) = (servers::identity(db.connection())?, servers::identity(target.connection())?);
    let registry = own.map(|own| own.id);
    let is_same = servers::is_same_database(db.connection(), target.connection())?;
    if is_same || (found.is_some() && found.map(|found| found.id) == registry) {
        let main = || servers::main_server(Uuid::nil(), None).name;
        let name = directory.and_then(Directory::registry_server).map_or_else(main, |server| server.name.clone());
        return Err(ServersError::SameDatabase { name: name.to_string() }.into());
    }
    if let Some(own) = own.filter(|own| own.id != own.registry) {
        return Err(ServersError::OtherRegistry { registry: own.registry }.into());
    }
    // A registry that never got a server is none.
    let found = found.filter(|found| found.id != found.registry || target.server().has_servers);
    if let Some(found) = found.filter(|found| Some(found.registry) != registry) {
        return Err(ServersError::OtherRegistry { registry: found.registry }.into());
    }
    servers::require_new(directory, &added.name, found.map(|found| found.id))?;
    let reasons = servers::unsuitable(&facts(db)?, &facts(target)?);
    if !reasons.is_empty() {
        return Err(ServersError::Unsuitable { name: added.name.to_string(), reasons }.into());
    }
    let tracked = tracker::names(db.connection())?;
    let others = if target.server().has_tracker { tracker::names(target.connection())? } else { Vec::new() };
    require_distinct(db, directory, (&tracked, &others), found.map(|found| found.id))?;
    Ok((tracked, others))
}

/// Checks that no tenant of the new server, whose identity is `id`, has the name of a tenant of the fleet.
fn require_distinct(
    db: &mut Database,
    directory: Option<&Directory>,
    (own, others): (&[String], &[String]),
    id: Option<Uuid>,
) -> Result<(), Error> {
    let names: Vec<&str> = others.iter().map(String::as_str).collect();
    let mut tenants: Vec<String> = Vec::new();
    match directory {
        Some(directory) => {
            let placed = placements::of(db.connection(), &names)?;
            for placement in placed.iter().filter(|placement| Some(placement.server) != id) {
                let server = directory.by_id(placement.server).map_or("unknown", |server| server.name.as_str());
                tenants.push(format!("{} (on {server})", placement.tenant));
            }
        }
        None => {
            let same = |name: &&String| own.iter().any(|own| own.eq_ignore_ascii_case(name));
            tenants.extend(others.iter().filter(same).map(|name| format!("{name} (on main)")));
        }
    }
    if tenants.is_empty() { Ok(()) } else { Err(ServersError::Duplicates { tenants }.into()) }
}

#[derive(Serialize)]
struct Document {
    /// Its name.
    server: String,
    /// The identity of its database.
    id: String,
    /// The number of tenants that it had.
    tenants: usize,
    /// What is remarkable about it.
    remarks: Vec<String>,
}
