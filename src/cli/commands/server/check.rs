//! `server check`

use anyhow::Result;
use serde::Serialize;

use super::{directory, facts};
use crate::cli::cause::Cause;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::connect;
use crate::cli::output::{count, thousands};
use crate::cli::settings::{Connection, DatabaseOptions};
use crate::database::Database;
use crate::error::{Error, ServersError};
use crate::servers::{self, Directory, FleetServer, ServerFacts, placements};
use crate::tenants::tracker;

/// Check that the servers can be reached and fit the fleet
///
/// Connects to each server, checks that it is the registered database, and compares it with the registry and its tenants with
/// the directory. Changes nothing.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Names of servers [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    connection: DatabaseOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let connection = Connection::from(args.connection.clone());
    let (mut db, directory) = directory(context, &connection)?;
    let chosen: Vec<FleetServer> = if args.names.is_empty() {
        directory.servers.clone()
    } else {
        args.names.iter().map(|name| directory.server(name).cloned()).collect::<Result<_, _>>()?
    };
    let reference = facts(&mut db)?;
    let checked: Vec<CheckedServer> = chosen
        .iter()
        .map(|server| CheckedServer::of(server, context, &connection, &mut db, &directory, &reference))
        .collect();
    let output = context.output();
    let failed = checked.iter().filter(|server| !server.problems.is_empty()).count();
    for server in &checked {
        server.problems.iter().for_each(|problem| output.error(format_args!("server {}: {problem}", server.name)));
        server.remarks.iter().for_each(|remark| output.warning(format_args!("server {}: {remark}", server.name)));
    }
    let total = checked.len();
    if output.is_json() {
        output.json(&Document { servers: checked })?;
    } else {
        output.table(
            &["server", "version", "encryption", "tenants", "size", "result"],
            checked.into_iter().map(CheckedServer::cells),
        )?;
    }
    match failed {
        0 => output.status(format_args!("{} checked", count(total, "server"))),
        failed => {
            output.status(format_args!("{} checked, {} with problems", count(total, "server"), thousands(failed)))
        }
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Found })
}

#[derive(Serialize)]
struct Document {
    servers: Vec<CheckedServer>,
}

#[derive(Serialize)]
struct CheckedServer {
    name: String,
    /// Null if the server was not reached.
    version: Option<String>,
    /// `local`, `tls` or `none`; null if the server was not reached.
    encryption: Option<&'static str>,
    /// The number of tenants in its tracker.
    tenants: Option<usize>,
    /// The size of its database in bytes.
    bytes: Option<i64>,
    /// Stable names of the problems that end a connection.
    code: Option<&'static str>,
    /// What prevents its use.
    problems: Vec<String>,
    /// What is remarkable.
    remarks: Vec<String>,
}

impl CheckedServer {
    fn of(
        server: &FleetServer,
        context: &Context,
        connection: &Connection,
        own: &mut Database,
        directory: &Directory,
        reference: &ServerFacts,
    ) -> Self {
        let mut checked = Self {
            name: server.name.to_string(),
            version: None,
            encryption: None,
            tenants: None,
            bytes: None,
            code: None,
            problems: Vec::new(),
            remarks: Vec::new(),
        };
        if let Err(error) = checked.look(server, context, connection, own, directory, reference) {
            checked.code = Some(Cause::of(&error).code());
            checked.problems.push(match Cause::of(&error).library() {
                // Its name is before it.
                Some(Error::Servers(ServersError::Unreachable { error, .. })) => error.to_string(),
                _ => format!("{error:#}"),
            });
        }
        checked
    }

    fn look(
        &mut self,
        server: &FleetServer,
        context: &Context,
        connection: &Connection,
        own: &mut Database,
        directory: &Directory,
        reference: &ServerFacts,
    ) -> Result<()> {
        let mut other;
        let db = if server.id == directory.identity {
            &mut *own
        } else {
            other = connect(context.connector_of(server, connection)?, server, directory)?;
            &mut other
        };
        let facts = facts(db)?;
        self.version = Some(facts.version_text());
        self.encryption = Some(facts.tls().as_str());
        self.bytes = Some(facts.bytes);
        let tracked = tracker::names(db.connection())?;
        self.tenants = Some(tracked.len());
        self.problems = servers::unsuitable(reference, &facts);
        self.remarks = servers::remarks(reference, &facts);
        let placed = placements::all(own.connection(), None)?;
        let differences = placements::differences(server.id, &tracked, &placed, None);
        for (names, what) in [
            (&differences.added, "not in the directory"),
            (&differences.removed, "in the directory, and not on the server"),
        ] {
            if !names.is_empty() {
                self.remarks.push(format!("{} {what}: {}", count(names.len(), "tenant"), shortened(names)));
            }
        }
        if !differences.elsewhere.is_empty() {
            let names = &differences.elsewhere;
            let text =
                format!("{} of which another server has one, too: {}", count(names.len(), "tenant"), shortened(names));
            self.problems.push(text);
        }
        Ok(())
    }

    fn cells(self) -> Vec<String> {
        let dash = || "-".to_owned();
        let result = match (self.problems.len(), self.remarks.len()) {
            (0, 0) => "ok".to_owned(),
            (0, remarks) => count(remarks, "remark"),
            (problems, _) => count(problems, "problem"),
        };
        vec![
            self.name,
            self.version.unwrap_or_else(dash),
            self.encryption.map_or_else(dash, str::to_owned),
            self.tenants.map_or_else(dash, thousands),
            self.bytes.map_or_else(dash, crate::cli::output::size),
            result,
        ]
    }
}

/// The first names of a list.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", thousands(names.len() - SHOWN)) } else { shown }
}
