//! `where`

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::settings::{Connection, DatabaseOptions, Format, WhereFormatOption};
use crate::database::Database;
use crate::model::TenantName;
use crate::postgres::DatabaseUrl;
use crate::servers::placements::{self, Placement};
use crate::servers::{self, Directory, FleetServer};
use crate::tenants::tracker;
use crate::text;

/// Show the server and the database of tenants
///
/// Reads the directory of servers, or its copy on the server of --database-url, and connects to no other server. With --format
/// pgdog or pgbouncer, prints the configuration of that router.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Names of tenants
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<TenantName>,

    /// All tenants
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    connection: DatabaseOptions,

    #[command(flatten)]
    format: WhereFormatOption,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let connection = Connection::from(args.connection.clone());
    let mut db = context.database_with_directory(&connection)?;
    let (servers, placed) = read(args, &connection, context, &mut db)?;
    if let Some(unknown) = args.names.iter().find(|name| !placed.iter().any(|it| it.tenant == name.as_str())) {
        return Err(unknown_tenant(unknown, context, &mut db)?.into());
    }
    let located: Vec<Located<'_>> =
        placed.iter().filter_map(|placement| Located::of(placement, servers.get(&placement.server)?)).collect();
    let output = context.output();
    match output.format() {
        Format::Json => {
            output.json(&Document { tenants: located.iter().map(Located::document).collect() })?;
        }
        Format::Url => output.lines(located.iter().map(|it| it.url.map_or_else(String::new, DatabaseUrl::uri)))?,
        Format::Pgdog => output.script([pgdog(&located)])?,
        Format::Pgbouncer => output.script([pgbouncer(&located)])?,
        Format::Table | Format::Sarif | Format::Github => {
            let rows = located.iter().map(Located::cells);
            output.table(&["tenant", "server", "region", "state", "epoch", "database"], rows)?;
            output.status(count(located.len(), "tenant"));
        }
    }
    Ok(Exit::Done)
}

/// The servers, and the placements of the tenants. A fleet on a single server has the server `main`.
fn read(
    args: &Args,
    connection: &Connection,
    context: &Context,
    db: &mut Database,
) -> Result<(BTreeMap<Uuid, FleetServer>, Vec<Placement>)> {
    let names: Vec<&str> = args.names.iter().map(TenantName::as_str).collect();
    let server = db.server().clone();
    if let Some(directory) = Directory::read(db.connection(), &server)? {
        let mut placed =
            if args.all { placements::all(db.connection(), None)? } else { placements::of(db.connection(), &names)? };
        placed.retain(|placement| args.all || names.contains(&placement.tenant.as_str()));
        return Ok((directory.servers.into_iter().map(|server| (server.id, server)).collect(), placed));
    }
    let mut tracked = tracker::names(db.connection())?;
    tracked.retain(|name| args.all || names.contains(&name.as_str()));
    let placement = |tenant| Placement { tenant, server: Uuid::nil(), state: "active".to_owned(), epoch: 1 };
    let main = servers::main_server(Uuid::nil(), context.own_connection(connection));
    let servers = BTreeMap::from([(main.id, main)]);
    Ok((servers, tracked.into_iter().map(placement).collect()))
}

fn unknown_tenant(name: &TenantName, context: &Context, db: &mut Database) -> Result<Usage> {
    let server = db.server().clone();
    let known: Vec<String> = match Directory::read(db.connection(), &server)? {
        Some(_) => placements::all(db.connection(), None)?.into_iter().map(|it| it.tenant).collect(),
        None => tracker::names(db.connection())?,
    };
    let hint = match text::closest(name.as_str(), known.iter().map(String::as_str)) {
        Some(closest) => format!("a tenant with a similar name is {closest}"),
        None => format!("'{}' lists the tenants", context.command("list")),
    };
    Ok(Usage::with_hint("unknown-tenant", format!("tenant {name}: no server has this tenant"), hint))
}

/// A tenant with its server.
struct Located<'a> {
    placement: &'a Placement,
    server: &'a FleetServer,
    url: Option<&'a DatabaseUrl>,
}

impl<'a> Located<'a> {
    fn of(placement: &'a Placement, server: &'a FleetServer) -> Option<Self> {
        Some(Self { placement, server, url: server.connection.as_ref() })
    }

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        vec![
            self.placement.tenant.clone(),
            self.server.name.to_string(),
            self.server.region.clone().unwrap_or_else(dash),
            self.placement.state.clone(),
            self.placement.epoch.to_string(),
            self.url.map_or_else(dash, ToString::to_string),
        ]
    }

    fn document(&self) -> LocatedDocument {
        LocatedDocument {
            name: self.placement.tenant.clone(),
            server: self.server.name.to_string(),
            region: self.server.region.clone(),
            state: self.placement.state.clone(),
            epoch: self.placement.epoch,
            url: self.url.map(DatabaseUrl::uri),
        }
    }

    fn part(&self, key: &str) -> Option<&str> {
        self.url?.get(key).filter(|value| !value.is_empty())
    }
}

/// The shards of PgDog: a shard for each server, and the schemas of the tenants.
fn pgdog(located: &[Located<'_>]) -> String {
    let mut shards: Vec<&FleetServer> = Vec::new();
    for it in located {
        if !shards.iter().any(|server| server.id == it.server.id) {
            shards.push(it.server);
        }
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let name = "tenants";
    let mut lines = Vec::new();
    for (number, server) in shards.iter().enumerate() {
        let of = |key: &str| server.connection.as_ref().and_then(|url| url.get(key)).filter(|value| !value.is_empty());
        lines.push("[[databases]]".to_owned());
        lines.push(format!("name = {}", quoted(name)));
        lines.push(format!("host = {}", quoted(of("host").unwrap_or("localhost"))));
        lines.push(format!("port = {}", of("port").unwrap_or("5432")));
        lines.extend(of("dbname").map(|database| format!("database_name = {}", quoted(database))));
        lines.push(format!("shard = {number}"));
        lines.push(String::new());
    }
    for it in located {
        let shard = shards.iter().position(|server| server.id == it.server.id).unwrap_or_default();
        lines.push("[[sharded_schemas]]".to_owned());
        lines.push(format!("database = {}", quoted(name)));
        lines.push(format!("name = {}", quoted(&it.placement.tenant)));
        lines.push(format!("shard = {shard}"));
        lines.push(String::new());
    }
    lines.join("\n").trim_end().to_owned()
}

/// The databases of PgBouncer: one for each tenant, with its name.
fn pgbouncer(located: &[Located<'_>]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut lines = vec!["[databases]".to_owned()];
    for it in located {
        let settings: Vec<String> = ["host", "port", "dbname"]
            .into_iter()
            .filter_map(|key| Some(format!("{key}={}", quoted(it.part(key)?))))
            .collect();
        let name = &it.placement.tenant;
        let name = if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            name.clone()
        } else {
            format!("\"{}\"", name.replace('"', "\"\""))
        };
        lines.push(format!("{name} = {}", settings.join(" ")));
    }
    lines.join("\n")
}

#[derive(Serialize)]
struct Document {
    tenants: Vec<LocatedDocument>,
}

#[derive(Serialize)]
struct LocatedDocument {
    name: String,
    server: String,
    region: Option<String>,
    /// `placing`, `active` or `moving`.
    state: String,
    /// Increased when the tenant moves.
    epoch: i64,
    /// The URL of its database, without a password; null if it is not known.
    url: Option<String>,
}
