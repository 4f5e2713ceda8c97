//! Transactions for SQL of an operator that is not a migration's.

use crate::operations::migrate::{Batch, SchemaTarget, TrackerRow, tracker_guard};
use crate::postgres::path;
use crate::run::Commit;

/// Whether a transaction takes the lock of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TenantLock {
    /// It does, because it changes the tenant.
    Acquire,
    /// It does not.
    None,
}

/// Begins a transaction in a schema of the tracker. The path has only the catalog.
pub(crate) fn begin(target: SchemaTarget<'_>, commit: Commit, lock: TenantLock) -> Batch {
    let schema_path = target.tenancy.path(target.schema);
    let mut batch = Batch::begin(target, commit);
    batch.push(&schema_path.set_for_transaction());
    let mut guards = vec![schema_path.guard(), path::CATALOG_IN_BLOCK.to_owned()];
    if lock == TenantLock::Acquire {
        guards.push(target.lock_for_transaction());
    }
    guards.push(tracker_guard(target.schema, TrackerRow::Known));
    batch.guard(&guards);
    batch
}
