//! `runs fleet`

use anyhow::Result;
use serde::Serialize;

use super::{one_line, time};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::cli::progress::milliseconds;
use crate::servers::JointRun;

/// Prints the runs over several servers: a row for each server of each run.
pub(super) fn list(context: &Context, runs: &[JointRun]) -> Result<Exit> {
    let output = context.output();
    if output.is_json() {
        output.json(&Document { runs })?;
        return Ok(Exit::Done);
    }
    let dash = || "-".to_owned();
    let rows = runs.iter().flat_map(|run| {
        let took = run.finished_at.and_then(|finished| (finished - run.started_at).to_std().ok());
        run.servers.iter().map(move |server| {
            vec![
                run.id.to_string(),
                time(run.started_at),
                took.map_or_else(dash, milliseconds),
                run.command.clone(),
                server.server.clone(),
                server.run.map_or_else(dash, |run| run.to_string()),
                server.exit_code.map_or_else(dash, |code| code.to_string()),
                thousands(server.not_reached),
                server.error.as_deref().map(one_line).unwrap_or_default(),
            ]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        let head =
            ["fleet run", "started", "duration", "command", "server", "run", "exit code", "not reached", "error"];
        output.table(&head, rows)?;
    }
    output.status(count(runs.len(), "run"));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    runs: &'a [JointRun],
}
