//! The record of the runs that change tenants: `public.schema_run`, and `public.schema_run_tenant` for what each did.
//!
//! What a run did for a tenant is written in the transaction that did it; what failed is written with the bundle of
//! outcomes that it is told in. The end of a run that is cut off is not written.

mod done;
mod history;
mod unrecorded;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Oid, Text};
use diesel::upsert::excluded;

use crate::database::{Database, FleetLock, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::SchemaName;
use crate::sql::quote::Literal;
use crate::text::{self, MAX_KEPT};

pub use history::{RetryCommand, RunRecord, TenantRecord, failed_in, newest, one};
pub use schema::{schema_run, schema_run_tenant};

/// The tables as Diesel sees them.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        /// One row for each run.
        public.schema_run (id) {
            id -> BigInt,
            command -> Text,
            arguments -> Array<Text>,
            version -> Text,
            role -> Text,
            os_user -> Nullable<Text>,
            host -> Nullable<Text>,
            pid -> Nullable<Integer>,
            backend -> Nullable<Integer>,
            migrations -> Nullable<Text>,
            started_at -> Timestamptz,
            ended_at -> Nullable<Timestamptz>,
            outcome -> Nullable<Text>,
            done -> Integer,
            unchanged -> Integer,
            failed -> Integer,
            deferred -> Integer,
            not_reached -> Integer,
        }
    }
    diesel::table! {
        /// One row for each tenant that a run did something for, or failed to.
        public.schema_run_tenant (run, tenant) {
            run -> BigInt,
            tenant -> Text,
            outcome -> Text,
            from_version -> Nullable<Text>,
            to_version -> Nullable<Text>,
            started_at -> Timestamptz,
            milliseconds -> BigInt,
            attempts -> Integer,
            code -> Nullable<Text>,
            error -> Nullable<Text>,
        }
    }
    diesel::allow_tables_to_appear_in_same_query!(schema_run, schema_run_tenant);
}

/// A recorded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    id: i64,
    /// Whether the server notices that a client is gone.
    notices_clients: bool,
    /// An oid that the server handed out when the run began.
    horizon: u32,
}

/// Why a run was ended before all tenants were reached.
#[derive(Debug)]
pub enum StopReason {
    /// It was asked to [`Stop`].
    Interrupted,
    /// More tenants failed than [may](crate::operations::migrate::Rollout::max_failures).
    Failure,
    /// The first tenants all failed in the same way.
    Breaker,
    /// Those that come [first](crate::operations::migrate::Rollout::canary) are not all done, or have drift.
    Canary,
    /// The server was lost, or can do no more work.
    Lost(Error),
}

impl StopReason {
    /// By a server that was lost, or can do no more work. Who interrupts while it is away does not want to wait for it.
    pub(crate) fn without_server(error: Error, stop: &Stop) -> Self {
        match stop.is_requested() && error.is_outage() {
            true => Self::Interrupted,
            false => Self::Lost(error),
        }
    }
}

/// How the record calls it that a run ended, early or not.
fn outcome(ended: Option<&StopReason>, counts: Counts) -> &'static str {
    match ended {
        Some(StopReason::Interrupted) => "interrupted",
        Some(StopReason::Failure | StopReason::Breaker | StopReason::Canary) => "stopped",
        Some(StopReason::Lost(_)) => "lost",
        None if counts.failed + counts.deferred == 0 => "done",
        None => "failed",
    }
}

/// How the record calls what became of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantOutcome {
    /// It is as the run would have it.
    Done,
    /// It failed.
    Failed,
    /// Other sessions were in its way.
    Deferred,
}

impl TenantOutcome {
    /// As it stands in `public.schema_run_tenant`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
        }
    }

    fn of(error: &TenantError) -> Self {
        match error.is_deferred() {
            true => Self::Deferred,
            false => Self::Failed,
        }
    }
}

/// How many tenants a run came to which end with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) unchanged: usize,
    pub(crate) failed: usize,
    pub(crate) deferred: usize,
    pub(crate) not_reached: usize,
}

impl Counts {
    /// Failures are counted here, those that were deferred apart.
    pub(crate) fn of(done: usize, unchanged: usize, failed: &[FailedTenant], not_reached: usize) -> Self {
        let deferred = failed.iter().filter(|failed| failed.error.is_deferred()).count();
        Self { done, unchanged, failed: failed.len() - deferred, deferred, not_reached }
    }
}

/// The row of a tenant that a run failed to bring where it should be.
pub(crate) struct FailedRow<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) from: Option<&'a str>,
    pub(crate) took: Duration,
    pub(crate) attempts: u32,
    pub(crate) error: &'a TenantError,
}

impl<'a> FailedRow<'a> {
    /// Of a tenant that nothing was tried for.
    pub(crate) fn of_blocked(failed: &'a FailedTenant) -> Self {
        Self { tenant: &failed.tenant, from: None, took: Duration::ZERO, attempts: 0, error: &failed.error }
    }
}

/// What a run did for a tenant, for the row that is written in the transaction that does it.
pub(crate) struct DoneRow<'a> {
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    /// The time before the transaction began.
    pub(crate) before: Duration,
    pub(crate) attempts: u32,
}

impl Run {
    /// Records that a run begins; `command` where the actor has none.
    pub(crate) fn begin(db: &mut Database, command: &str) -> Result<Self, Error> {
        let actor = db.actor().clone();
        let backend = db.fleet_lock.as_ref().map(FleetLock::backend);
        let migrations = db.migrations().map(str::to_owned);
        let row: Id = sql_query(include_str!("begin.sql"))
            .bind::<Text, _>(actor.command.as_deref().unwrap_or(command))
            .bind::<Array<Text>, _>(&actor.arguments)
            .bind::<Text, _>(env!("CARGO_PKG_VERSION"))
            .bind::<Nullable<Text>, _>(actor.os_user.as_deref())
            .bind::<Nullable<Text>, _>(actor.host.as_deref())
            .bind::<Nullable<Integer>, _>(actor.pid.and_then(|pid| i32::try_from(pid).ok()))
            .bind::<Nullable<Integer>, _>(backend)
            .bind::<Nullable<Text>, _>(migrations)
            .get_result(db.connection())
            .map_err(Error::doing("record the run in public.schema_run"))?;
        let run = Self { id: row.id, notices_clients: row.notices_clients, horizon: row.horizon };
        if let Some(lock) = &mut db.fleet_lock {
            lock.rename(run.session_name("fleet"));
        }
        Ok(run)
    }

    /// What `application_name` is while the run works on a schema: `tenantry/12 acme`, cut off where the server would.
    pub(crate) fn application_name(self, schema: &SchemaName) -> String {
        const LONGEST: usize = 63;
        // A schema's name may be any text.
        let name = self.application_prefix() + schema.as_str();
        let end = (0..=LONGEST.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name[..end].to_owned()
    }

    /// What the names of all its sessions that work on a schema begin with.
    pub(crate) fn application_prefix(self) -> String {
        format!("tenantry/{} ", self.id)
    }

    /// The name of a session that works for the run, but on no schema: `tenantry/12: fleet`.
    pub(crate) fn session_name(self, what: &str) -> String {
        format!("tenantry/{}: {what}", self.id)
    }

    /// Records that another process of the server holds the lock of the fleet for it.
    pub(crate) fn set_backend(self, conn: &mut PgConnection, backend: i32) -> QueryResult<()> {
        diesel::update(schema_run::table.find(self.id)).set(schema_run::backend.eq(backend)).execute(conn).map(|_| ())
    }

    /// Its id.
    pub(crate) fn id(self) -> i64 {
        self.id
    }

    /// Whether the server can be asked to notice that a client is gone.
    pub(crate) fn notices_clients(self) -> bool {
        self.notices_clients
    }

    /// An oid that the server handed out when the run began: what it creates has later ones. 0: not known.
    pub(crate) fn horizon(self) -> u32 {
        self.horizon
    }

    /// SQL that records what is done for a tenant. It runs on the tenant's search path, so that each operator must have an
    /// exact match in `pg_catalog`: an inexact one gives way to an exact one in the tenant's schema.
    pub(crate) fn record(self, tenant: &SchemaName, done: &DoneRow<'_>) -> String {
        if !self.is_recorded() {
            return String::new();
        }
        let version = |version: Option<&str>| version.map_or("NULL".to_owned(), |version| Literal(version).to_string());
        let before = done.before.as_millis();
        format!(
            "INSERT INTO public.schema_run_tenant \
             (run, tenant, outcome, from_version, to_version, started_at, milliseconds, attempts) \
             VALUES ({}, {}, '{}', {}, {}, \
             pg_catalog.now() - pg_catalog.make_interval(secs => {before}::double precision / 1000::double precision), \
             {before}::numeric + EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.now()) * 1000::numeric, {}) \
             ON CONFLICT (run, tenant) DO UPDATE SET to_version = excluded.to_version, attempts = excluded.attempts, \
             milliseconds = excluded.milliseconds;",
            self.id,
            Literal(tenant.as_str()),
            TenantOutcome::Done.as_str(),
            version(done.from),
            version(done.to),
            done.attempts
        )
    }

    /// Records tenants that failed.
    pub(crate) fn record_failures(self, conn: &mut PgConnection, failures: &[FailedRow<'_>]) -> Result<(), Error> {
        let failures = if self.is_recorded() { failures } else { &[] };
        let now = Utc::now();
        for chunk in failures.chunks(crate::postgres::CHUNK) {
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
                .map_err(Error::doing("record what failed in public.schema_run_tenant"))?;
        }
        Ok(())
    }

    /// Records how the run ended, and forgets those that began longer ago than they are kept. That it cannot be recorded is
    /// no reason to fail what was done: the record then tells of no end.
    pub(crate) fn end(self, db: &mut Database, ended: Option<&StopReason>, counts: Counts) {
        if !self.is_recorded() {
            return;
        }
        let keep = db.actor().keep;
        let outcome = outcome(ended, counts);
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

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Bool)]
    notices_clients: bool,
    #[diesel(sql_type = Oid)]
    horizon: u32,
}

fn before(now: DateTime<Utc>, took: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(took).ok().and_then(|took| now.checked_sub_signed(took)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_tells_the_run_and_the_tenant() {
        let run = Run { id: 12, notices_clients: true, horizon: 0 };
        assert_eq!(run.application_name(&"acme".parse().unwrap()), "tenantry/12 acme");
        let long = "x".repeat(63);
        let name = run.application_name(&long.parse().unwrap());
        assert_eq!((name.len(), name.starts_with("tenantry/12 xxx")), (63, true));
    }
}
