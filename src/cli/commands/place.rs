//! `place`

use std::collections::BTreeMap;

use std::num::NonZeroUsize;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::server;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::fleet;
use crate::cli::output::{count, size};
use crate::cli::settings::{Connection, positive};
use crate::moves::{PlacedTenant, ProposedMove, even_out, tenant_sizes};
use crate::servers::{Directory, placements};
use crate::text::shell_words;

/// Plan moves that even the fleet out
///
/// Prints the commands, and changes nothing. Servers that are draining are emptied, and capacities are respected.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What is evened out: the number of tenants, or their size
    #[arg(long, value_name = "MEASURE", default_value = "tenants")]
    by: Measure,

    /// Largest number of moves
    #[arg(long, value_name = "N", default_value = "100", value_parser = positive::<NonZeroUsize>)]
    limit: NonZeroUsize,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    Tenants,
    Bytes,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let (mut registry, directory) = server::registry(context, &args.connection)?;
    let mut placed = placements::all(registry.connection(), None)?;
    placed.retain(|placement| placement.state == "active");
    let sizes = match args.by {
        Measure::Tenants => BTreeMap::new(),
        Measure::Bytes => {
            let mut sizes = BTreeMap::new();
            for server in &directory.servers {
                let connector = if server.is_registry {
                    registry.connector().clone()
                } else {
                    context.connector_of(server, &args.connection)?
                };
                let mut db = fleet::connect(connector, server, &directory)?;
                sizes.extend(tenant_sizes(db.connection())?);
            }
            sizes
        }
    };
    let weight = |tenant: &str| match args.by {
        Measure::Tenants => 1,
        Measure::Bytes => sizes.get(tenant).copied().unwrap_or(0),
    };
    let placed: Vec<PlacedTenant> = placed
        .into_iter()
        .map(|placement| PlacedTenant {
            weight: weight(&placement.tenant),
            tenant: placement.tenant,
            server: placement.server,
        })
        .collect();
    let moves = even_out(&directory.servers, &placed, args.limit.get());
    let commands = commands(&moves, &directory, context);
    let output = context.output();
    if output.is_json() {
        let moves = moves.iter().map(|one| ProposedDocument::new(one, &directory, args.by)).collect();
        output.json(&Document { moves, commands })?;
        return Ok(Exit::Done);
    }
    output.lines(&commands)?;
    let total = moves.iter().map(|one| one.weight).sum();
    let of_size = if args.by == Measure::Bytes { format!(" with {}", size(total)) } else { String::new() };
    output.status(format_args!("{}{of_size}", count(moves.len(), "move")));
    Ok(Exit::Done)
}

fn name(directory: &Directory, id: uuid::Uuid) -> String {
    directory.by_id(id).map_or_else(|| "-".to_owned(), |server| server.name.to_string())
}

/// A command for each target, with at most 50 tenants.
fn commands(moves: &[ProposedMove], directory: &Directory, context: &Context) -> Vec<String> {
    let mut by_target: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for one in moves {
        by_target.entry(name(directory, one.to)).or_default().push(&one.tenant);
    }
    let chunks = by_target.iter().flat_map(|(to, tenants)| tenants.chunks(50).map(move |chunk| (to, chunk)));
    chunks.map(|(to, chunk)| context.command(&format!("move --to {to} {}", shell_words(chunk)))).collect()
}

#[derive(Serialize)]
struct Document {
    moves: Vec<ProposedDocument>,
    /// The commands that execute the moves.
    commands: Vec<String>,
}

#[derive(Serialize)]
struct ProposedDocument {
    tenant: String,
    from: String,
    to: String,
    /// The size of the tenant; null unless sizes are evened out.
    bytes: Option<i64>,
}

impl ProposedDocument {
    fn new(one: &ProposedMove, directory: &Directory, by: Measure) -> Self {
        Self {
            tenant: one.tenant.clone(),
            from: name(directory, one.from),
            to: name(directory, one.to),
            bytes: (by == Measure::Bytes).then_some(one.weight),
        }
    }
}
