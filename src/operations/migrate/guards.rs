//! The guards of a transaction in a tenant's schema. Those in a tenant that exists are statements that a session can prepare.
//!
//! A statement sees what was committed before it. So what a lock protects is read by a later statement than the one that
//! acquires the lock.

use super::batch::TrackerRow;
use super::limits;
use super::target::{SchemaTarget, schema_locked};
use super::transaction::Transaction;
use crate::model::SchemaName;
use crate::postgres::{Call, GuardViolation, Refusal, refuse};
use crate::record::integrity::{self, LockScope};
use crate::run::Commit;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::ledger::{self, DefinitionCheck};

/// The first statement: sets the limits of the transaction, checks that the path leads to the schema, and acquires the lock of
/// the tenant and that of the recorded migrations.
pub(super) fn enter(target: SchemaTarget<'_>, transaction: &Transaction<'_>, commit: Commit) -> Call {
    let path = target.tenancy.path(target.schema);
    let record = recorded(target, transaction).map(|[locked, _]| locked);
    on_tenant(target.schema, |tenant| {
        let ledger = ledger::name_in(tenant);
        let mut refusals = limits::as_refusals(target, commit, tenant);
        if transaction.is_plain(target) {
            // For the later statements that are prepared. No code runs in the transaction that would be planned so, too.
            refusals.push(Refusal::setting("plan_cache_mode", "'force_generic_plan'"));
        }
        refusals.extend(path.refusals(tenant));
        refusals.extend([schema_locked(tenant), ledger::missing(&ledger, GuardViolation::Changed)]);
        if transaction.definition == DefinitionCheck::Quick {
            refusals.push(ledger::cannot_lock(&ledger));
        }
        refusals.extend(record.clone());
        refusals
    })
}

/// The statement after the lock of the ledger: checks the row of the tracker, the definition of the ledger, and that the
/// migrations match their records.
pub(super) fn check(target: SchemaTarget<'_>, transaction: &Transaction<'_>) -> Call {
    let record = recorded(target, transaction).map(|[_, differs]| differs);
    on_tenant(target.schema, |tenant| {
        let runs_code = ledger::runs_code(&ledger::name_in(tenant), transaction.definition);
        [untracked(tenant), runs_code].into_iter().chain(record.clone()).collect()
    })
}

/// The conditions before a schema is created. The second list, which is to be checked by a later statement, depends on the
/// locks that the first one acquires.
pub(super) fn of_new_schema(
    target: SchemaTarget<'_>,
    transaction: &Transaction<'_>,
    row: TrackerRow,
) -> (Vec<Refusal>, Vec<Refusal>) {
    let (locked, differs) = recorded(target, transaction).map(<(Refusal, Refusal)>::from).unzip();
    let exists = format!(
        "pg_catalog.to_regnamespace({}::text) IS NOT NULL",
        Literal(&Identifier::from(target.schema).to_string())
    );
    let exists = Refusal::new(GuardViolation::Changed, exists);
    let lock = schema_locked(&Literal(target.schema.as_str()).to_string());
    let checks = [exists, tracker_differs(target.schema, row)];
    ([lock].into_iter().chain(locked).collect(), checks.into_iter().chain(differs).collect())
}

/// The condition that the tracker has no row for the tenant that can be migrated, or has a row.
pub(super) fn tracker_differs(schema: &SchemaName, row: TrackerRow) -> Refusal {
    let name = Literal(schema.as_str());
    match row {
        TrackerRow::Missing => {
            let condition = format!(
                "EXISTS (SELECT FROM public.schema_tracker \
                 WHERE pg_catalog.lower(name COLLATE \"C\") = pg_catalog.lower({name}::text COLLATE \"C\"))"
            );
            Refusal::new(GuardViolation::Changed, condition)
        }
        TrackerRow::Known => untracked(&name.to_string()),
    }
}

/// The condition that the tracker has no such tenant in a state in which it is migrated. `tenant` is an SQL expression for its
/// name.
pub(super) fn untracked(tenant: &str) -> Refusal {
    let condition = format!(
        "NOT EXISTS (SELECT FROM public.schema_tracker \
         WHERE name = {tenant} AND state IN ('registered', 'creating', 'active', 'archived'))"
    );
    Refusal::new(GuardViolation::Changed, condition)
}

fn recorded(target: SchemaTarget<'_>, transaction: &Transaction<'_>) -> Option<[Refusal; 2]> {
    let migrations = transaction.recorded(target);
    (!migrations.is_empty()).then(|| integrity::refusals(target.migrations(), migrations, LockScope::Transaction))
}

/// A statement that fails with the first of the conditions that is true for a tenant.
fn on_tenant(tenant: &SchemaName, refusals: impl Fn(&str) -> Vec<Refusal>) -> Call {
    Call::new([Some(tenant.as_str())], |[tenant]| refuse(&refusals(tenant)))
}
