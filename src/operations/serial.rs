//! Changes of tenants one after the other over the main connection, each in one transaction and recorded in a run.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;

use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::TenantName;
use crate::operations::migrate::{Batch, SchemaTarget, StopReason, TrackerRow, tracker_guard};
use crate::postgres::{Condition, GuardViolation, LockHolder, ServerMessage, path};
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::run::Commit;
use crate::tenants::{Tenancy, lock_key};

/// A run of such changes.
pub(super) struct SerialRun<'a> {
    pub(super) tenancy: &'a Tenancy,
    /// The command, for the record.
    pub(super) command: &'static str,
    /// The purpose of a change, for the error if the connection is lost.
    pub(super) doing: &'static str,
    /// The tenants that cannot be changed, and why.
    pub(super) failed: Vec<FailedTenant>,
    /// The number of tenants that need no change.
    pub(super) unchanged: usize,
}

/// The change of a tenant.
pub(super) struct TenantChange {
    pub(super) tenant: TenantName,
    /// A condition in PL/pgSQL besides those that no other session works on the tenant and that the tracker has it, or empty.
    pub(super) guard: String,
    /// The statements; a semicolon at the end is optional.
    pub(super) statements: Vec<String>,
}

/// What a run changed.
pub(super) struct ChangesReport {
    /// The id of the run in `public.schema_run`.
    pub(super) run: i64,
    pub(super) done: Vec<TenantName>,
    /// Those of [`SerialRun::failed`], and those whose changes were rolled back.
    pub(super) failed: Vec<FailedTenant>,
    /// The tenants that an interrupted run did not reach.
    pub(super) not_reached: Vec<TenantName>,
    pub(super) ended: Option<StopReason>,
}

impl SerialRun<'_> {
    /// Changes the tenants in this order. A tenant that another session works on fails.
    ///
    /// # Errors
    /// The server's error if the connection is lost, or the run cannot be recorded.
    pub(super) fn execute(
        self,
        db: &mut Database,
        changes: Vec<TenantChange>,
        stop: &Stop,
    ) -> Result<ChangesReport, Error> {
        let run = Run::begin(db, self.command)?;
        let (mut done, mut failed, mut not_reached) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            if stop.is_requested() {
                not_reached.push(change.tenant);
                continue;
            }
            match db.connection().batch_execute(&message(self.tenancy, run, &change)) {
                Ok(()) => done.push(change.tenant),
                Err(error) => {
                    let error = transaction_error(db, error, &change.tenant, self.doing)?;
                    failed.push(FailedTenant::new(&change.tenant, error));
                }
            }
        }
        let failed: Vec<FailedTenant> = self.failed.into_iter().chain(failed).collect();
        let rows: Vec<FailedRow<'_>> = failed.iter().map(FailedRow::of_blocked).collect();
        run.record_failures(db.connection(), &rows)?;
        let counts = Counts::of(done.len(), self.unchanged, &failed, not_reached.len());
        let ended = (!not_reached.is_empty()).then_some(StopReason::Interrupted);
        run.end(db, ended.as_ref(), counts);
        Ok(ChangesReport { run: run.id(), done, failed, not_reached, ended })
    }
}

/// Ends the failed transaction of a tenant. Returns the tenant's error. `doing` is the purpose of the transaction, for the error if
/// the connection is lost.
pub(crate) fn transaction_error(
    db: &mut Database,
    error: DieselError,
    name: &TenantName,
    doing: &'static str,
) -> Result<TenantError, Error> {
    if Condition::of(&error) == Some(Condition::ConnectionLost) {
        return Err(Error::doing(doing)(error));
    }
    db.connection().batch_execute("ROLLBACK").map_err(Error::doing("end a transaction"))?;
    let message = ServerMessage::from(&error);
    Ok(match GuardViolation::from_message(&message.message) {
        Some(GuardViolation::Busy) => {
            TenantError::Busy { holder: LockHolder::find(db.connection(), &lock_key(name.schema())) }
        }
        Some(GuardViolation::Changed) => TenantError::ConcurrentlyChanged,
        _ => TenantError::Server(message),
    })
}

fn message(tenancy: &Tenancy, run: Run, change: &TenantChange) -> String {
    let schema = change.tenant.schema();
    let target = SchemaTarget::tenant(tenancy, schema, Some(run));
    let mut batch = Batch::begin(target, Commit::Durable);
    batch.guard(&[
        path::CATALOG_IN_BLOCK.to_owned(),
        target.lock_for_transaction(),
        tracker_guard(schema, TrackerRow::Known),
        change.guard.clone(),
    ]);
    for statement in &change.statements {
        batch.push(&format!("{};", statement.trim_end_matches(';')));
    }
    let row = DoneRow { from: None, to: None, before: Duration::ZERO, attempts: 1 };
    if let Some(row) = run.record(schema, &row) {
        batch.push(row.text());
    }
    batch.commit().sql().to_owned()
}
