//! Sets and removes labels of tenants.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use super::distinct;
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::{LabelChange, TenantName};
use crate::tenants::{Labels, Tenancy, labels, not_tracked};

/// The labels of a tenant before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabeledTenant {
    /// The tenant.
    pub name: TenantName,
    /// The labels that it had.
    pub before: Labels,
    /// The labels that it has now.
    pub after: Labels,
}

#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_moving: bool,
}

/// Changes the labels of tenants in one transaction: all of them, or none. Returns them in the order of the names.
///
/// # Errors
/// The errors of [`Database::require_writable`], [`Error::Tenant`] with [`NotTracked`](crate::TenantError::NotTracked) for an
/// unknown tenant, or the server's error.
pub fn label(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    changes: &[LabelChange],
) -> Result<Vec<LabeledTenant>, Error> {
    db.require_writable(tenancy)?;
    let names = distinct(names);
    let texts: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let (mut removed, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for LabelChange { key, value } in changes {
        match value {
            Some(value) => {
                keys.push(key.as_str());
                values.push(value.as_str());
            }
            None => removed.push(key.as_str()),
        }
    }
    let timeout = tenancy.limits().lock_timeout.as_millis();
    let changed = db.connection().transaction(|conn| {
        sql_query(format!("SET LOCAL lock_timeout TO {timeout}")).execute(conn)?;
        // In one order, so that two commands do not wait for each other.
        let tracked: Vec<LockedRow> = sql_query(
            "SELECT t.name, t.state IN ('moving', 'arriving') AS is_moving FROM public.schema_tracker AS t WHERE t.name = ANY($1) ORDER BY t.name COLLATE pg_catalog.\"C\" \
             FOR NO KEY UPDATE",
        )
        .bind::<Array<Text>, _>(&texts)
        .load(conn)?;
        if let Some(unknown) = names.iter().find(|name| !tracked.iter().any(|row| row.name == name.as_str())) {
            return Ok(Err((*unknown, None)));
        }
        // The row moves along with what it has when the move begins.
        let moving = |name: &&&TenantName| tracked.iter().any(|row| row.is_moving && row.name == name.as_str());
        if let Some(moving) = names.iter().find(moving) {
            return Ok(Err((*moving, Some(TenantError::Moving))));
        }
        let before = labels::read_rows(conn, Some(&texts))?;
        sql_query(
            "UPDATE public.schema_tracker AS t SET labels = (t.labels - $2) || pg_catalog.jsonb_object($3, $4) \
             WHERE t.name = ANY($1) AND t.labels <> (t.labels - $2) || pg_catalog.jsonb_object($3, $4)",
        )
        .bind::<Array<Text>, _>(&texts)
        .bind::<Array<Text>, _>(&removed)
        .bind::<Array<Text>, _>(&keys)
        .bind::<Array<Text>, _>(&values)
        .execute(conn)?;
        Ok(Ok((before, labels::read_rows(conn, Some(&texts))?)))
    });
    let (mut before, mut after) = match changed.map_err(Error::doing("change the labels of the tenants"))? {
        Ok(labels) => labels,
        Err((name, error)) => {
            let error = match error {
                Some(error) => error,
                None => not_tracked(db.connection(), name)?,
            };
            return Err(Error::Tenant { name: name.clone(), error: Box::new(error) });
        }
    };
    let labeled = |name: &TenantName| LabeledTenant {
        name: name.clone(),
        before: before.remove(name.as_str()).unwrap_or_default(),
        after: after.remove(name.as_str()).unwrap_or_default(),
    };
    Ok(names.into_iter().map(labeled).collect())
}
