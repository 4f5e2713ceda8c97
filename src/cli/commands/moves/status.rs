//! `move status`

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::super::server;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::settings::Connection;
use crate::model::TenantName;
use crate::moves::{TenantMove, unended};
use crate::servers::Directory;

/// Show moves that have not ended
///
/// Those that are open, and those whose old schema has not been dropped.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StatusArgs {
    /// Names of tenants [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<TenantName>,

    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &StatusArgs, context: &Context) -> Result<Exit> {
    let (mut registry, directory) = server::registry(context, &args.connection)?;
    let moves = unended(registry.connection(), &args.names)?;
    let output = context.output();
    let open = moves.iter().filter(|one| one.state.is_open()).count();
    if output.is_json() {
        output.json(&Document { moves: moves.iter().map(|one| MoveStatusDocument::new(one, &directory)).collect() })?;
    } else {
        if !moves.is_empty() {
            output.table(&HEAD, moves.iter().map(|one| cells(one, &directory)))?;
        }
        for one in &moves {
            if let Some(error) = one.error.as_ref().filter(|_| one.state.is_open()) {
                output.error(format_args!("tenant {}: {error}", one.tenant));
            }
        }
        output.status(format_args!("{} open, {} with old schemas", count(open, "move"), moves.len() - open));
    }
    Ok(Exit::Done)
}

const HEAD: [&str; 7] = ["tenant", "from", "to", "method", "state", "changed", "keep until"];

fn name(directory: &Directory, id: uuid::Uuid) -> String {
    directory.by_id(id).map_or_else(|| "-".to_owned(), |server| server.name.to_string())
}

fn cells(one: &TenantMove, directory: &Directory) -> Vec<String> {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M").to_string();
    vec![
        one.tenant.to_string(),
        name(directory, one.source),
        name(directory, one.target),
        one.method.as_str().to_owned(),
        one.state.as_str().to_owned(),
        time(one.updated_at),
        one.keep_until.map_or_else(|| "-".to_owned(), time),
    ]
}

#[derive(Serialize)]
struct Document {
    moves: Vec<MoveStatusDocument>,
}

#[derive(Serialize)]
struct MoveStatusDocument {
    tenant: String,
    from: String,
    to: String,
    /// `copy`, `replicate` or `back`.
    method: &'static str,
    /// `planned`, `prepared`, `copying`, `following`, `fenced`, `left`, `switched` or `settled`.
    state: &'static str,
    /// Whether it has to be resumed or aborted.
    open: bool,
    started_at: String,
    updated_at: String,
    /// The result of the comparison of the rows; null if they were not compared.
    verified: Option<bool>,
    /// How long writes were blocked.
    blocked_ms: Option<i64>,
    /// The name of the old schema on the earlier server.
    old_schema: String,
    /// Until when it is kept; null before the switch.
    keep_until: Option<String>,
    /// Whether 'move finish' without names drops it.
    due: bool,
    /// What the last attempt failed with.
    error: Option<String>,
}

impl MoveStatusDocument {
    fn new(one: &TenantMove, directory: &Directory) -> Self {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            tenant: one.tenant.to_string(),
            from: name(directory, one.source),
            to: name(directory, one.target),
            method: one.method.as_str(),
            state: one.state.as_str(),
            open: one.state.is_open(),
            started_at: time(one.started_at),
            updated_at: time(one.updated_at),
            verified: one.verified,
            blocked_ms: one.blocked_for,
            old_schema: one.old_schema.as_str().to_owned(),
            keep_until: one.keep_until.map(time),
            due: one.is_due,
            error: one.error.clone(),
        }
    }
}
