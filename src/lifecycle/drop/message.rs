//! The messages that drop a schema, or some of it: each a transaction with its guards.

use super::Dropping;
use super::order::Address;
use crate::migrator::{Batch, Commit, Target, set_state};
use crate::postgres::CHANGED;
use crate::sql::quote::{Identifier, Literal};
use crate::tracker::State;

/// What the tracker is to say of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// That there is one, or none, as it was looked at.
    AsPlanned,
    /// That it is being dropped.
    Announced,
}

/// The beginning of a transaction that looks at what is left, and changes nothing. It holds the lock, so that nobody takes the drop for one that
/// nobody is at.
pub(super) fn look(target: Target<'_>) -> Batch {
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.push("SET LOCAL jit TO off;");
    batch.guard(&[target.lock_for_transaction()]);
    batch
}

/// Puts a tenant into the state `dropping`, in which nobody works on it.
pub(super) fn announce(target: Target<'_>, dropping: &Dropping) -> Batch {
    let mut batch = Batch::begin(target, Commit::Deferred);
    batch.guard(&unchanged(target, dropping, Known::AsPlanned, &[]));
    batch.push(&set_state(&dropping.name, State::Dropping));
    batch.commit()
}

/// Drops some objects, in this order.
pub(super) fn step(target: Target<'_>, dropping: &Dropping, objects: &[Address]) -> Batch {
    let known = if dropping.tracked { Known::Announced } else { Known::AsPlanned };
    let mut batch = Batch::begin(target, Commit::Deferred);
    batch.push("SET LOCAL jit TO off;");
    batch.guard(&unchanged(target, dropping, known, objects));
    let block = include_str!("drop_objects.sql")
        .replace("$classes", &oids(objects.iter().map(|(class, _)| *class)))
        .replace("$ids", &oids(objects.iter().map(|(_, id)| *id)))
        // The last, for a schema's name may be any text.
        .replace("$schema", &Literal(dropping.name.as_str()).to_string());
    batch.push(&format!("DO {};", Literal(&block)));
    batch.commit()
}

/// Drops what there is of a schema, with the tenant's row, and records it.
pub(super) fn rest(target: Target<'_>, dropping: &Dropping, known: Known, commit: Commit, record: &str) -> Batch {
    let name = &dropping.name;
    let mut batch = Batch::begin(target, commit);
    batch.guard(&unchanged(target, dropping, known, &[]));
    if dropping.schema.is_some() {
        batch.push(&format!("DROP SCHEMA {} CASCADE;", Identifier::from(name)));
    }
    batch.push(&format!("DELETE FROM public.schema_tracker WHERE name = {};", Literal(name.as_str())));
    batch.push(record);
    batch.commit()
}

/// Conditions that nobody works on a schema, and that it is as it was looked at. The tables among `objects` are locked
/// before it is looked at what depends on them, so that nothing more can.
fn unchanged(target: Target<'_>, dropping: &Dropping, known: Known, objects: &[Address]) -> Vec<String> {
    let literal = Literal(dropping.name.as_str());
    let and_state = match known {
        Known::AsPlanned => String::new(),
        Known::Announced => format!(" AND state = {}", Literal(State::Dropping.as_str())),
    };
    let has_row = format!("EXISTS (SELECT FROM public.schema_tracker WHERE name = {literal}{and_state})");
    let not = if dropping.tracked { "NOT " } else { "" };
    let oid = dropping.schema.map_or("NULL".to_owned(), |contents| contents.oid.to_string());
    let mut conditions = vec![
        target.lock_for_transaction(),
        format!("IF {not}{has_row} THEN RAISE EXCEPTION '{CHANGED}'; END IF;"),
        format!(
            "IF (SELECT oid FROM pg_namespace WHERE nspname = {literal}) IS DISTINCT FROM {oid}::oid \
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
        let dependents = include_str!("../dependents.sql").replace("$1", &format!("ARRAY[{oid}]::oid[]"));
        conditions.push(format!("IF EXISTS ({dependents}) THEN RAISE EXCEPTION '{CHANGED}'; END IF;"));
        conditions.push(format!(
            "IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extnamespace = {oid}::oid) \
             THEN RAISE EXCEPTION '{CHANGED}'; END IF;"
        ));
    }
    conditions
}

/// An SQL array.
fn oids(oids: impl Iterator<Item = u32>) -> String {
    format!("ARRAY[{}]::oid[]", oids.map(|oid| oid.to_string()).collect::<Vec<_>>().join(","))
}
