//! `cleanup`

use anyhow::Result;
use serde::Serialize;

use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::database::Database;
use crate::rows::Layout;
use crate::rows::registry::{self, RowCounts};
use crate::tenants::Tenancy;

/// Whether the command shows or does it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CleanupMode {
    DryRun,
    AfterConfirmation(ConfirmOption),
}

/// Deletes the rows of all tenants and the registry, and restarts sequences. The tables and their isolation remain.
pub(crate) fn cleanup(
    context: &Context,
    db: &mut Database,
    (tenancy, layout): (&Tenancy, &Layout),
    execution: CleanupMode,
) -> Result<Exit> {
    let output = context.output();
    let tenants = registry::tenants(db, layout)?.len();
    let rows = total(&registry::count_rows(db, layout)?);
    let what = format!("{} and {}", count(tenants, "tenant"), count(rows, "row"));
    let CleanupMode::AfterConfirmation(confirmation) = execution else {
        if output.is_json() {
            output.json(&Document { tenants, rows, deleted: false })?;
        }
        output.summary(format!("{what} would be deleted"));
        return Ok(Exit::Done);
    };
    let database = db.server().database.clone();
    let question = format!("Delete {what} from database {}? Type the name of the database to confirm:", location(db));
    confirmation.ask(&question, Answer::Text(&database))?;
    registry::truncate(db, tenancy, layout)?;
    if output.is_json() {
        output.json(&Document { tenants, rows, deleted: true })?;
    }
    output.summary(format!("{what} deleted; the tables and their isolation remain"));
    Ok(Exit::Done)
}

fn total(counts: &RowCounts) -> usize {
    counts.values().flat_map(|tables| tables.values()).map(|rows| usize::try_from(*rows).unwrap_or_default()).sum()
}

#[derive(Serialize)]
struct Document {
    tenants: usize,
    rows: usize,
    deleted: bool,
}
