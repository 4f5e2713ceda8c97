//! `shared status`

use anyhow::Result;
use serde::Serialize;

use super::OpenFleet;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, size, thousands};
use crate::cli::settings::{Connection, number};
use crate::servers::shared::{self, LinkStatus, StatusOptions};

/// Check the replication of the shared tables
///
/// Lists each server with the state of its replication and how far it is behind. Exits with 1 if there are findings.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Compare the rows of all servers by checksums
    #[arg(long)]
    verify: bool,

    /// WAL in MB from which a replication slot counts as behind
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = number::<u32>)]
    max_behind: u32,

    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let mut fleet = OpenFleet::of_registry(context, &args.connection)?;
    let options = StatusOptions { max_behind: i64::from(args.max_behind) * 1_024 * 1_024, compares_rows: args.verify };
    let registry = fleet.directory.registry;
    let mut connect = |server: &_| {
        let connector = context.connector_of(server, &args.connection)?;
        shared::Endpoint::connect(server, connector, registry)
    };
    let status = shared::status(&mut fleet.registry, &fleet.directory, &fleet.tables, options, &mut connect)?;
    let output = context.output();
    for finding in &status.findings {
        output.error(format_args!("server {}: {} [{}]", finding.server, finding.message, finding.kind.as_str()));
    }
    let found = status.findings.len();
    let links: Vec<LinkDocument> = status.links.into_iter().map(LinkDocument::of).collect();
    if output.is_json() {
        let findings = status.findings.into_iter().map(|finding| SharedFindingDocument {
            server: finding.server,
            kind: finding.kind.as_str(),
            message: finding.message,
        });
        output.json(&Document {
            tables: fleet.tables.len(),
            verified: args.verify,
            links,
            findings: findings.collect(),
        })?;
    } else {
        output.table(
            &["server", "direction", "tables", "state", "behind", "errors"],
            links.into_iter().map(LinkDocument::cells),
        )?;
    }
    if found > 0 {
        output.status(count(found, "finding"));
        output.hint(format_args!("'{}' repairs what it can", context.command("shared sync")));
        return Ok(Exit::Found);
    }
    output.status(format_args!("{}, no findings", count(fleet.tables.len(), "shared table")));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    /// The number of shared tables.
    tables: usize,
    /// Whether the rows were compared.
    verified: bool,
    links: Vec<LinkDocument>,
    findings: Vec<SharedFindingDocument>,
}

#[derive(Serialize)]
struct LinkDocument {
    server: String,
    /// `out` if the registry publishes, `in` if the server does.
    direction: &'static str,
    /// The number of tables that are followed.
    tables: usize,
    /// `following`, `copying`, `stopped`, `disabled`, `lost`, `missing` or `unknown`.
    state: &'static str,
    /// The WAL in bytes that the subscriber has not confirmed; null without a slot.
    behind: Option<i64>,
    /// Errors since the statistics of the subscription were reset; null if they are not known.
    errors: Option<i64>,
}

#[derive(Serialize)]
struct SharedFindingDocument {
    server: String,
    /// The stable name of the kind.
    kind: &'static str,
    message: String,
}

impl LinkDocument {
    fn of(link: LinkStatus) -> Self {
        Self {
            server: link.server,
            direction: link.direction.as_str(),
            tables: link.tables,
            state: link.state,
            behind: link.behind,
            errors: link.errors,
        }
    }

    fn cells(self) -> Vec<String> {
        let dash = || "-".to_owned();
        vec![
            self.server,
            self.direction.to_owned(),
            thousands(self.tables),
            self.state.to_owned(),
            self.behind.map_or_else(dash, size),
            self.errors.map_or_else(dash, thousands),
        ]
    }
}
