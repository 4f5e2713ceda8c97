//! Writes the outcomes of tenants and the end of a run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double, Integer, Text};
use diesel::upsert::excluded;

use super::outcome::run_outcome;
use super::{Counts, Run, StopReason, TenantOutcome, schema_run_tenant};
use crate::database::Database;
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::SchemaName;
use crate::postgres::{CHUNK, Call};
use crate::text::{self, MAX_KEPT};

/// The row of a failed tenant.
pub(crate) struct FailedRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) from: Option<&'a str>,
    pub(crate) took: Duration,
    pub(crate) attempts: u32,
    pub(crate) error: &'a TenantError,
}

impl<'a> FailedRow<'a> {
    /// The row of a tenant that was not attempted.
    pub(crate) fn of_blocked(failed: &'a FailedTenant) -> Self {
        Self { tenant: &failed.tenant, from: None, took: Duration::ZERO, attempts: 0, error: &failed.error }
    }
}

/// The row of a changed tenant, which is written in the transaction that changes it.
pub(crate) struct DoneRow<'a> {
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    /// The time from the first attempt to the beginning of the transaction.
    pub(crate) before: Duration,
    pub(crate) attempts: u32,
}

impl Run {
    /// The statement that records a changed tenant; `None` if the run is not recorded.
    pub(crate) fn record(self, tenant: &SchemaName, done: &DoneRow<'_>) -> Option<Call> {
        let (id, outcome) = (self.recorded_id()?, TenantOutcome::Done.as_str());
        let (before, attempts) = (done.before.as_millis().to_string(), done.attempts.to_string());
        let values = [Some(tenant.as_str()), done.from, done.to, Some(before.as_str()), Some(attempts.as_str())];
        // The search path may be a tenant's, so every operator has an exact match in `pg_catalog`. Otherwise an exact match in
        // the tenant's schema would be used.
        Some(Call::new(values, |[tenant, from, to, before, attempts]| {
            format!(
                "INSERT INTO public.schema_run_tenant \
                 (run, tenant, outcome, from_version, to_version, started_at, milliseconds, attempts) \
                 VALUES ({id}, {tenant}, '{outcome}', {from}, {to}, \
                 pg_catalog.now() - pg_catalog.make_interval(secs => {before}::double precision / 1000::double precision), \
                 {before}::numeric + EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.now()) * 1000::numeric, \
                 {attempts}::integer) ON CONFLICT (run, tenant) DO UPDATE SET to_version = excluded.to_version, \
                 attempts = excluded.attempts, milliseconds = excluded.milliseconds;"
            )
        }))
    }

    /// Records failed tenants.
    ///
    /// # Errors
    /// The server's error.
    pub(crate) fn record_failures(self, conn: &mut PgConnection, failures: &[FailedRow<'_>]) -> Result<(), Error> {
        let failures = if self.is_recorded() { failures } else { &[] };
        let now = Utc::now();
        for chunk in failures.chunks(CHUNK) {
            let rows: Vec<_> = chunk
                .iter()
                .map(|failure| {
                    (
                        schema_run_tenant::run.eq(self.id),
                        schema_run_tenant::tenant.eq(failure.tenant),
                        schema_run_tenant::outcome.eq(TenantOutcome::of(failure.error).as_str()),
                        schema_run_tenant::from_version.eq(failure.from),
                        schema_run_tenant::started_at.eq(before(now, failure.took)),
                        schema_run_tenant::milliseconds.eq(i64::try_from(failure.took.as_millis()).unwrap_or(i64::MAX)),
                        schema_run_tenant::attempts.eq(i32::try_from(failure.attempts).unwrap_or(i32::MAX)),
                        schema_run_tenant::code.eq(failure.error.code()),
                        schema_run_tenant::error.eq(text::clip(&failure.error.to_string(), MAX_KEPT).into_owned()),
                    )
                })
                .collect();
            diesel::insert_into(schema_run_tenant::table)
                .values(rows)
                .on_conflict((schema_run_tenant::run, schema_run_tenant::tenant))
                .do_update()
                .set((
                    schema_run_tenant::outcome.eq(excluded(schema_run_tenant::outcome)),
                    schema_run_tenant::code.eq(excluded(schema_run_tenant::code)),
                    schema_run_tenant::error.eq(excluded(schema_run_tenant::error)),
                ))
                .execute(conn)
                .map_err(Error::doing("record the failed tenants in public.schema_run_tenant"))?;
        }
        Ok(())
    }

    /// Records the end of the run, and deletes the records of runs that are older than the retention time. An error is ignored,
    /// because the work of the run is complete; the record then has no end.
    pub(crate) fn end(self, db: &mut Database, stop_reason: Option<&StopReason>, counts: Counts) {
        if !self.is_recorded() {
            return;
        }
        let keep = db.actor().keep;
        let outcome = run_outcome(stop_reason, counts);
        if self.try_end(db.connection(), outcome, counts, keep).is_err() && db.reconnect().is_ok() {
            let _ = self.try_end(db.connection(), outcome, counts, keep);
        }
    }

    fn try_end(self, conn: &mut PgConnection, outcome: &str, counts: Counts, keep: Duration) -> Result<(), Error> {
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        sql_query(include_str!("end.sql"))
            .bind::<BigInt, _>(self.id)
            .bind::<Text, _>(outcome)
            .bind::<Integer, _>(number(counts.done))
            .bind::<Integer, _>(number(counts.unchanged))
            .bind::<Integer, _>(number(counts.failed))
            .bind::<Integer, _>(number(counts.deferred))
            .bind::<Integer, _>(number(counts.not_reached))
            .bind::<Double, _>(keep.as_secs_f64())
            .execute(conn)
            .map_err(Error::doing("record the end of the run in public.schema_run"))?;
        Ok(())
    }
}

/// The time `took` before `now`.
fn before(now: DateTime<Utc>, took: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(took).ok().and_then(|took| now.checked_sub_signed(took)).unwrap_or(now)
}
