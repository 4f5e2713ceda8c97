//! `server sync`

use anyhow::Result;
use serde::Serialize;

use super::registry;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet::{FoundServers, copy_to_all, tracked};
use crate::cli::output::count;
use crate::cli::settings::{Connection, DatabaseOptions};
use crate::servers::placements;

/// Bring the directory up to date with the servers' trackers
///
/// Commands do so by themselves for the tenants that they change. Needed after a tenant was changed by hand, or with the
/// database of another server while the registry could not be reached.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: DatabaseOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let connection = Connection::from(args.connection.clone());
    let (db, directory) = registry(context, &connection)?;
    let mut found = FoundServers { db, directory, connection };
    let mut document = Document::default();
    for server in found.directory.servers.clone() {
        let changes = tracked(&mut found, &server, context)
            .and_then(|tracked| placements::reconcile(found.db.connection(), server.id, &tracked, None));
        match changes {
            Ok(changes) => {
                document.added.extend(changes.added);
                document.removed.extend(changes.removed);
                document.duplicates.extend(changes.elsewhere);
            }
            Err(error) => {
                context.output().error(format_args!("server {}: {error}", server.name));
                document.not_reached.push(server.name.to_string());
            }
        }
    }
    copy_to_all(context, &found.connection, &mut found.db)?;
    let output = context.output();
    for tenant in &document.duplicates {
        output.error(format_args!("tenant {tenant} is on several servers"));
    }
    output.status(format_args!(
        "{} added to the directory, {} removed",
        count(document.added.len(), "tenant"),
        document.removed.len()
    ));
    let is_done = document.not_reached.is_empty() && document.duplicates.is_empty();
    if output.is_json() {
        output.json(&document)?;
    }
    Ok(if is_done { Exit::Done } else { Exit::Found })
}

#[derive(Default, Serialize)]
struct Document {
    /// The tenants that the directory did not have.
    added: Vec<String>,
    /// The tenants that no server has any more.
    removed: Vec<String>,
    /// The tenants that several servers have.
    duplicates: Vec<String>,
    /// The servers that were not reached.
    not_reached: Vec<String>,
}
