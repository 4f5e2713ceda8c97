//! Messages that drop a schema or some of its objects: each is a transaction with guards.

use super::Dropping;
use super::lookup;
use super::order::Address;
use crate::model::State;
use crate::operations::catalogs::BY_INDEX;
use crate::operations::migrate::{Batch, SchemaTarget, set_state};
use crate::postgres::CHANGED;
use crate::run::Commit;
use crate::sql::quote::{Identifier, Literal};

/// The expected state of a tenant in the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpectedRow {
    /// A row exists or not, as planned.
    AsPlanned,
    /// A row with the state `dropping` exists.
    Dropping,
}

/// Begins a transaction that reads what is left of a schema. It holds the schema's lock, so that the drop is not taken for
/// an abandoned one.
pub(super) fn begin_reading(target: SchemaTarget<'_>) -> Batch {
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.push(BY_INDEX);
    batch.guard(&[target.lock_for_transaction()]);
    batch
}

/// Sets a tenant's state to `dropping`, in which no other command changes it.
pub(super) fn announce(target: SchemaTarget<'_>, dropping: &Dropping) -> Batch {
    let mut batch = Batch::begin(target, Commit::Deferred);
    guard(&mut batch, &unchanged(target, dropping, ExpectedRow::AsPlanned, &[]));
    batch.push(&set_state(&dropping.name, State::Dropping));
    batch.commit()
}

/// Drops objects in this order.
pub(super) fn step(target: SchemaTarget<'_>, dropping: &Dropping, objects: &[Address]) -> Batch {
    let expected = if dropping.tracked { ExpectedRow::Dropping } else { ExpectedRow::AsPlanned };
    let mut batch = Batch::begin(target, Commit::Deferred);
    guard(&mut batch, &unchanged(target, dropping, expected, objects));
    let block = include_str!("drop_objects.sql")
        .replace("$classes", &oids(objects.iter().map(|(class, _)| *class)))
        .replace("$ids", &oids(objects.iter().map(|(_, id)| *id)))
        // Last, because a schema's name may contain any text.
        .replace("$schema", &Literal(dropping.name.as_str()).to_string());
    batch.push(&format!("DO {};", Literal(&block)));
    batch.commit()
}

/// Drops the rest of a schema and the tenant's row, and records it.
pub(super) fn rest(
    target: SchemaTarget<'_>,
    dropping: &Dropping,
    expected: ExpectedRow,
    commit: Commit,
    record: &str,
) -> Batch {
    let mut batch = open(target, dropping, expected, commit);
    push_drop(&mut batch, dropping, record);
    batch.commit()
}

/// Begins a transaction that drops a schema, with its guards.
pub(super) fn open(target: SchemaTarget<'_>, dropping: &Dropping, expected: ExpectedRow, commit: Commit) -> Batch {
    let mut batch = Batch::begin(target, commit);
    guard(&mut batch, &unchanged(target, dropping, expected, &[]));
    batch
}

/// Checks a schema again and drops it with the tenant's row in the open transaction, and records it.
#[cfg(feature = "cli")]
pub(super) fn drop_in_open(target: SchemaTarget<'_>, dropping: &Dropping, record: &str) -> String {
    let mut batch = Batch::default();
    guard(&mut batch, &unchanged(target, dropping, ExpectedRow::AsPlanned, &[]));
    push_drop(&mut batch, dropping, record);
    batch.sql().to_owned()
}

fn push_drop(batch: &mut Batch, dropping: &Dropping, record: &str) {
    let name = &dropping.name;
    if dropping.schema.is_some() {
        batch.push(&format!("DROP SCHEMA {} CASCADE;", Identifier::from(name)));
    }
    if let Some(role) = &dropping.role {
        batch.push(&role.sql());
    }
    batch.push(&format!("DELETE FROM public.schema_tracker WHERE name = {};", Literal(name.as_str())));
    batch.push(record);
}

/// Adds conditions that read catalogs. The settings do not apply to later statements, such as those of an event trigger.
fn guard(batch: &mut Batch, conditions: &[String]) {
    batch.push(BY_INDEX);
    batch.guard(conditions);
    batch.push("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit TO DEFAULT;");
}

/// Conditions that no other session works on a schema and that it is as planned. The tables among `objects` are locked
/// before their dependents are read, so that there can be no new ones.
fn unchanged(target: SchemaTarget<'_>, dropping: &Dropping, expected: ExpectedRow, objects: &[Address]) -> Vec<String> {
    let literal = Literal(dropping.name.as_str());
    let and_state = match expected {
        ExpectedRow::AsPlanned if dropping.only_if_due => {
            " AND state IN ('archived', 'dropping') AND purge_after <= pg_catalog.now()".to_owned()
        }
        ExpectedRow::AsPlanned => " AND state NOT IN ('moving', 'arriving')".to_owned(),
        ExpectedRow::Dropping => format!(" AND state = {}", Literal(State::Dropping.as_str())),
    };
    let has_row = format!("EXISTS (SELECT FROM public.schema_tracker WHERE name = {literal}{and_state})");
    let not = if dropping.tracked { "NOT " } else { "" };
    let oid = dropping.schema.map_or("NULL".to_owned(), |contents| contents.oid.to_string());
    let mut conditions = vec![
        target.lock_for_transaction(),
        format!("IF {not}{has_row} THEN RAISE EXCEPTION '{CHANGED}'; END IF;"),
        format!(
            "IF (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {literal}) \
             IS DISTINCT FROM {oid}::pg_catalog.oid \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ),
    ];
    if !objects.is_empty() {
        conditions.push(
            include_str!("lock_tables.sql")
                .replace("$schema", &oid)
                .replace("$ids", &oids(objects.iter().map(|(_, id)| *id))),
        );
    }
    if dropping.schema.is_some() {
        let dependents = lookup::DEPENDENTS.replace("$1", &format!("ARRAY[{oid}]::pg_catalog.oid[]"));
        conditions.push(format!("IF EXISTS ({dependents}) THEN RAISE EXCEPTION '{CHANGED}'; END IF;"));
        conditions.push(format!(
            "IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extnamespace = {oid}::pg_catalog.oid) \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ));
    }
    conditions
}

/// An SQL array of oids.
fn oids(oids: impl Iterator<Item = u32>) -> String {
    format!("ARRAY[{}]::pg_catalog.oid[]", oids.map(|oid| oid.to_string()).collect::<Vec<_>>().join(","))
}
