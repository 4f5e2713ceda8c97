//! `list`

use anyhow::Result;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{count, thousands};
use crate::database::Database;
use crate::rows::{Layout, registry};

/// What is listed of each tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListColumns {
    /// The name.
    Name,
    /// The id, the name and the number of rows.
    All,
}

/// Lists the tenants of the registry that `picks` selects.
pub(crate) fn list(
    context: &Context,
    db: &mut Database,
    layout: &Layout,
    columns: ListColumns,
    picks: impl Fn(&str) -> bool,
) -> Result<Exit> {
    let output = context.output();
    let mut tenants = registry::tenants(db, layout)?;
    tenants.retain(|tenant| picks(&tenant.name));
    if columns == ListColumns::Name {
        output.lines(tenants.iter().map(|tenant| &tenant.name))?;
        return Ok(Exit::Done);
    }
    let counts = registry::count_rows(db, layout)?;
    let rows_of = |id: &str| counts.get(id).map_or(0, |tables| tables.values().sum());
    if output.is_json() {
        let tenants = tenants.iter().map(|tenant| CountedTenantDocument {
            id: &tenant.id,
            name: &tenant.name,
            rows: rows_of(&tenant.id),
        });
        output.json(&Document { tenants: tenants.collect() })?;
        return Ok(Exit::Done);
    }
    let cells = |tenant: &registry::RegisteredTenant| {
        let rows = usize::try_from(rows_of(&tenant.id)).unwrap_or_default();
        vec![tenant.id.clone(), tenant.name.clone(), thousands(rows)]
    };
    output.table(&["id", "tenant", "rows"], tenants.iter().map(cells))?;
    output.status(count(tenants.len(), "tenant"));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    tenants: Vec<CountedTenantDocument<'a>>,
}

#[derive(Serialize)]
struct CountedTenantDocument<'a> {
    id: &'a str,
    name: &'a str,
    /// The number of its rows in all shared tables.
    rows: i64,
}
