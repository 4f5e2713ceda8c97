//! `server add`

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::facts;
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::fleet::copy_to_all;
use crate::cli::output::count;
use crate::cli::settings::{Connection, DatabaseOptions, PublicMigrations, SearchPath, Timeouts, capacity};
use crate::database::Database;
use crate::error::{Error, ServersError};
use crate::model::ServerName;
use crate::operations::migrate;
use crate::postgres::DatabaseUrl;
use crate::servers::{self, Directory, FleetServer, NewServer, placements};
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
    if let Some(directory) = Directory::read(db.connection(), &here)? {
        directory.require_registry(&here)?;
    }
    // Not a registry before it has a server: a failure leaves only this row.
    let registry = servers::identify(db.connection(), None)?;

    let mut added = NewServer {
        id: registry,
        name: args.name,
        region: args.region,
        connection: Some(connection),
        peer_connection: peer,
        password_variable: args.password_env,
        capacity: args.capacity.filter(|number| *number >= 0),
        is_registry: false,
        host: None,
    };
    let connector = context.connector_of(&FleetServer::of_new(&added), &own)?;
    let mut target = Database::connect(connector, 1)?;
    context.output().detail(format_args!("server {}: {}", added.name, location(&target)));
    let reasons = servers::unsuitable(&facts(&mut db)?, &facts(&mut target)?);
    if !reasons.is_empty() {
        return Err(Error::from(ServersError::Unsuitable { name: added.name.to_string(), reasons }).into());
    }
    let stop = context.stop();
    let output = context.output().clone();
    migrate::migrate_public(&mut target, &tenancy, &stop, &mut |wait| output.status(wait))?;
    added.id = servers::identify(target.connection(), Some(registry))?;
    if added.id == registry {
        let name = servers::main_server(registry, None).name;
        return Err(Error::from(ServersError::SameDatabase { name: name.to_string() }).into());
    }

    let (tracked, others) = (tracker::names(db.connection())?, tracker::names(target.connection())?);
    require_distinct(&mut db, &added, &tracked, &others)?;
    let main = servers::main_server(registry, context.own_connection(&own));
    servers::add(db.connection(), &[main, added.clone()])?;
    db.refresh_server()?;
    placements::reconcile(db.connection(), registry, &tracked, None)?;
    placements::reconcile(db.connection(), added.id, &others, None)?;
    copy_to_all(context, &own, &mut db)?;

    let remarks = servers::remarks(&facts(&mut db)?, &facts(&mut target)?);
    remarks.iter().for_each(|remark| context.output().warning(format_args!("server {}: {remark}", added.name)));
    if context.output().is_json() {
        let document =
            Document { server: added.name.to_string(), id: added.id.to_string(), tenants: others.len(), remarks };
        context.output().json(&document)?;
    }
    context.output().status(format_args!("server {} added, with {}", added.name, count(others.len(), "tenant")));
    Ok(Exit::Done)
}

/// Checks that no tenant of the new server has the name of a tenant of the fleet.
fn require_distinct(db: &mut Database, added: &NewServer, own: &[String], others: &[String]) -> Result<()> {
    let here = db.server().clone();
    let directory = Directory::read(db.connection(), &here)?;
    let names: Vec<&str> = others.iter().map(String::as_str).collect();
    let mut tenants: Vec<String> = Vec::new();
    match &directory {
        Some(directory) => {
            let placed = placements::of(db.connection(), &names)?;
            for placement in placed.iter().filter(|placement| placement.server != added.id) {
                let server = directory.by_id(placement.server).map_or("unknown", |server| server.name.as_str());
                tenants.push(format!("{} (on {server})", placement.tenant));
            }
        }
        None => {
            let same = |name: &&String| own.iter().any(|own| own.eq_ignore_ascii_case(name));
            tenants.extend(others.iter().filter(same).map(|name| format!("{name} (on main)")));
        }
    }
    if tenants.is_empty() { Ok(()) } else { Err(Error::from(ServersError::Duplicates { tenants }).into()) }
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
