//! `drop`

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::find;
use crate::cli::confirm::{Answer, ConfirmOption};
use crate::cli::context::{Context, location};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, count, thousands};
use crate::database::Database;
use crate::error::{Error, RowTenancyError};
use crate::operations::IfMissing;
use crate::rows::Layout;
use crate::rows::registry::{self, RegisteredTenant, RowCounts};
use crate::tenants::Tenancy;

/// What a drop may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropOptions {
    pub(crate) dry_run: bool,
    pub(crate) confirmation: ConfirmOption,
    pub(crate) if_missing: IfMissing,
}

/// Deletes tenants with their rows.
pub(crate) fn drop(
    context: &Context,
    db: &mut Database,
    (tenancy, layout): (&Tenancy, &Layout),
    names: &[String],
    options: DropOptions,
) -> Result<Exit> {
    let output = context.output();
    let (mut tenants, mut failed): (Vec<RegisteredTenant>, Vec<RowTenancyError>) = (Vec::new(), Vec::new());
    for found in find(db, layout, names)? {
        match found {
            Ok(tenant) => tenants.push(tenant),
            Err(_) if options.if_missing == IfMissing::Accept => {}
            Err(error) => failed.push(error),
        }
    }
    for error in &failed {
        output.error(error);
        if let Some(hint) = error.hint(&|line| context.command(line)) {
            output.hint(hint);
        }
    }
    let counts = registry::count_rows(db, layout)?;
    if options.dry_run {
        if output.is_json() {
            output.json(&DeletionPlanDocument::new(&tenants, &counts))?;
        } else if !tenants.is_empty() {
            output.table(&HEAD, rows(&tenants, &counts))?;
        }
        output.summary(format!("{} would be deleted", count(tenants.len(), "tenant")));
        return Ok(if failed.is_empty() { Exit::Done } else { Exit::Found });
    }
    if !tenants.is_empty() {
        if options.confirmation.is_asked() {
            output.table_aside(&HEAD, rows(&tenants, &counts));
        }
        let what = match tenants.as_slice() {
            [one] => format!("tenant {} and all its rows", one.name),
            many => format!("{} and all their rows", count(many.len(), "tenant")),
        };
        let question = format!("Delete {what} from database {}? [y/N]", location(db));
        options.confirmation.ask(&question, Answer::Yes)?;
    }
    let stop = context.stop();
    let mut deleted = Vec::new();
    for tenant in &tenants {
        match registry::delete(db, tenancy, layout, tenant, &stop) {
            Ok(rows) => deleted.push(DeletedDocument::new(tenant, rows)),
            Err(Error::RowTenancy(error @ RowTenancyError::Interrupted { .. })) => {
                report(output, &deleted)?;
                return Err(Error::from(error).into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    report(output, &deleted)?;
    Ok(if failed.is_empty() { Exit::Done } else { Exit::Found })
}

const HEAD: [&str; 4] = ["id", "tenant", "table", "rows"];

fn rows(tenants: &[RegisteredTenant], counts: &RowCounts) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for tenant in tenants {
        let none = BTreeMap::new();
        let tables = counts.get(&tenant.id).unwrap_or(&none);
        if tables.is_empty() {
            rows.push(vec![tenant.id.clone(), tenant.name.clone(), String::new(), "0".to_owned()]);
        }
        for (table, number) in tables {
            let number = thousands(usize::try_from(*number).unwrap_or_default());
            rows.push(vec![tenant.id.clone(), tenant.name.clone(), table.clone(), number]);
        }
    }
    rows
}

fn report(output: &Output, deleted: &[DeletedDocument]) -> Result<()> {
    if output.is_json() {
        output.json(&DeletionReportDocument { deleted })?;
    }
    let rows: i64 = deleted.iter().flat_map(|one| &one.rows).map(|table| table.rows).sum();
    let rows = count(usize::try_from(rows).unwrap_or_default(), "row");
    output.summary(format!("{} with {rows} deleted", count(deleted.len(), "tenant")));
    Ok(())
}

#[derive(Serialize)]
struct DeletionPlanDocument {
    tenants: Vec<DeletedDocument>,
}

#[derive(Serialize)]
struct DeletionReportDocument<'a> {
    deleted: &'a [DeletedDocument],
}

#[derive(Serialize)]
struct DeletedDocument {
    id: String,
    name: String,
    /// The tables in which it has rows.
    rows: Vec<TableRows>,
}

#[derive(Serialize)]
struct TableRows {
    table: String,
    rows: i64,
}

impl DeletedDocument {
    fn new(tenant: &RegisteredTenant, rows: BTreeMap<String, i64>) -> Self {
        let rows = rows.into_iter().map(|(table, rows)| TableRows { table, rows }).collect();
        Self { id: tenant.id.clone(), name: tenant.name.clone(), rows }
    }
}

impl DeletionPlanDocument {
    fn new(tenants: &[RegisteredTenant], counts: &RowCounts) -> Self {
        let document = |tenant: &RegisteredTenant| {
            DeletedDocument::new(tenant, counts.get(&tenant.id).cloned().unwrap_or_default())
        };
        Self { tenants: tenants.iter().map(document).collect() }
    }
}
