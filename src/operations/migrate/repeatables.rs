//! Which repeatable migrations a tenant has applied: in the tracker, because Diesel's ledger has versioned migrations only.

use super::batch::Batch;
use super::target::SchemaTarget;
use super::transaction::Transaction;
use crate::migration::{Kind, MigrationSet};
use crate::sql::quote::{Literal, text_array};
use crate::tenants::ledger;

/// The repeatable migrations as if each had been applied with another text.
const FORGOTTEN: &str = "(SELECT COALESCE(pg_catalog.jsonb_object_agg(r.key, ''), '{}') \
                         FROM pg_catalog.jsonb_each(repeatables) AS r)";

impl Batch {
    /// Adds the ledger row of a migration that was applied, unless it is repeatable.
    pub(super) fn ledger_row(&mut self, target: SchemaTarget<'_>, index: usize, columns: ledger::Columns) {
        let migration = target.migration(index);
        if !migration.is_repeatable() {
            self.push(&ledger::insert(target.schema, [migration.version().as_str()], columns));
        }
    }

    /// Records the repeatable migrations of a transaction in the row of the tenant. A versioned migration may change what they
    /// depend on and drop what they have made, so that after it, and after its revert, all are pending.
    pub(super) fn record_repeatables(&mut self, target: SchemaTarget<'_>, transaction: &Transaction<'_>) {
        let set = target.migrations();
        if target.kind == Kind::Public || set.all_repeatable().next().is_none() {
            return;
        }
        let applied = transaction.migrations.iter().filter_map(|index| set.at(*index).as_repeatable());
        let (files, checksums): (Vec<&str>, Vec<&str>) = applied.unzip();
        let is_any_versioned = files.len() < transaction.migrations.len();
        let before = if is_any_versioned { FORGOTTEN } else { "repeatables" };
        self.push(&format!(
            "UPDATE public.schema_tracker SET repeatables = {before} || pg_catalog.jsonb_object({}::text[], {}::text[]) \
             WHERE name = {};",
            text_array(files.into_iter()),
            text_array(checksums.into_iter()),
            Literal(target.schema.as_str())
        ));
    }
}

/// The migrations to apply where some are pending: after versioned ones, all that are repeatable.
pub(super) fn with_all_repeatable(mut pending: Vec<usize>, set: &MigrationSet) -> Vec<usize> {
    let versioned = set.versioned_len();
    if pending.first().is_some_and(|first| *first < versioned) {
        pending.retain(|index| *index < versioned);
        pending.extend(versioned..set.len());
    }
    pending
}
