//! Drops tenants after their archives were written, each in one transaction.
//!
//! The transaction locks the tables against writers before the snapshot of the archive is taken, and keeps the locks until it has
//! dropped them, so that the archive has all rows. Objects that another session has added meanwhile are found after `DROP SCHEMA`,
//! which locks the schema, and before the commit: another session still sees all of them.

use std::path::PathBuf;
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Oid, Text};

use super::lookup::is_dropped;
use super::message::{self, ExpectedRow};
use super::{Contents, DropPlan, DropReport, Dropping};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::SchemaName;
use crate::operations::migrate::{SchemaTarget, StopReason};
use crate::postgres::Call;
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::run::{AttemptError, Commit, Observer};
use crate::sql::quote::Identifier;
use crate::tenants::Tenancy;

/// Writes the archives of schemas that are dropped.
pub(crate) trait DropBackup {
    /// Writes the archive of a schema as an exported snapshot shows it, and reads it back. Returns the file, or why the archive
    /// cannot be used.
    fn write(&mut self, schema: &SchemaName, oid: u32, snapshot: &str) -> Result<PathBuf, String>;
}

/// Why a schema was not dropped. The transaction was rolled back, unless the connection was lost.
enum Undropped {
    Attempt(Box<AttemptError>),
    Tenant(TenantError),
    Interrupted,
}

impl Undropped {
    /// Whether the schema certainly still exists.
    fn is_rolled_back(&self) -> bool {
        match self {
            Self::Attempt(error) => !matches!(**error, AttemptError::ConnectionLost(_) | AttemptError::Fatal(_)),
            Self::Tenant(error) => !matches!(error, TenantError::ConcurrentlyChanged),
            Self::Interrupted => true,
        }
    }
}

impl From<diesel::result::Error> for Undropped {
    fn from(error: diesel::result::Error) -> Self {
        Self::Attempt(Box::new(AttemptError::from(&error)))
    }
}

/// Executes a plan, one schema after the other: writes the archive of each and drops it in one transaction. A schema whose archive
/// cannot be read back, or that is too large for one transaction, is not dropped.
///
/// # Errors
/// The server's error if the connection is lost, or the run cannot be recorded.
pub(crate) fn drop_with_backup(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: DropPlan,
    backup: &mut dyn DropBackup,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<DropReport, Error> {
    let (drops, too_large) =
        plan.drops.iter().cloned().partition::<Vec<Dropping>, _>(|dropping| !plan.goes_in_steps(dropping));
    let mut report = DropReport { failed: plan.failed, missing: plan.missing, ..DropReport::default() };
    let reason = "it is too large for one transaction".to_owned();
    report.failed.extend(too_large.into_iter().map(|it| failed(&it, TenantError::NoBackup { reason: reason.clone() })));
    report.failed.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    if drops.is_empty() {
        return Ok(report);
    }
    let run = Run::begin_recorded_or_not(db, "drop")?;
    report.run = run.recorded_id();
    observer.begin(drops.len());
    for dropping in drops {
        if stop.is_requested() {
            report.not_reached.push(dropping.name);
            continue;
        }
        let began = Instant::now();
        let mut job = BackedUpDrop { tenancy, run, dropping: &dropping, backup: &mut *backup, stop, file: None };
        match job.attempts(db)? {
            Ok(()) => {
                report.backups.extend(job.file.map(|file| (dropping.name.clone(), file)));
                observer.done(dropping.name.as_str(), began.elapsed());
                report.dropped.push(dropping.name);
            }
            Err(Some(error)) => {
                observer.failed(dropping.name.as_str(), &error);
                report.failed.push(failed(&dropping, error));
            }
            Err(None) => report.not_reached.push(dropping.name),
        }
    }
    report.ended = (!report.not_reached.is_empty()).then_some(StopReason::Interrupted);
    let rows: Vec<FailedRow<'_>> = report.failed.iter().map(FailedRow::of_blocked).collect();
    run.record_failures(db.connection(), &rows)?;
    let counts = Counts::of(report.dropped.len(), report.missing.len(), &report.failed, report.not_reached.len());
    run.end(db, report.ended.as_ref(), counts);
    Ok(report)
}

fn failed(dropping: &Dropping, error: TenantError) -> FailedTenant {
    FailedTenant { tenant: dropping.name.as_str().to_owned(), error }
}

/// The drop of one schema.
struct BackedUpDrop<'a> {
    tenancy: &'a Tenancy,
    run: Run,
    dropping: &'a Dropping,
    backup: &'a mut dyn DropBackup,
    stop: &'a Stop,
    /// The archive.
    file: Option<PathBuf>,
}

impl BackedUpDrop<'_> {
    /// Attempts the drop until other sessions do not block it. The inner error is `None` if a stop was requested.
    fn attempts(&mut self, db: &mut Database) -> Result<Result<(), Option<TenantError>>, Error> {
        let most = self.tenancy.limits().retries.saturating_add(1);
        for attempt in 1.. {
            let mut conn = db.connector().connect()?;
            let attempted = self.attempt(&mut conn, db);
            if attempted.as_ref().is_err_and(Undropped::is_rolled_back)
                && let Some(file) = self.file.take()
            {
                // The tenant still exists. Another attempt writes another archive.
                let _ = std::fs::remove_file(file);
            }
            let error = match attempted {
                Ok(()) => return Ok(Ok(())),
                Err(Undropped::Interrupted) => return Ok(Err(None)),
                Err(Undropped::Tenant(error)) => return Ok(Err(Some(error))),
                Err(Undropped::Attempt(error)) => *error,
            };
            let pause = error.pause(attempt).filter(|_| attempt < most);
            let error = match error {
                AttemptError::ConnectionLost(_) if is_dropped(db.connection(), self.dropping) => return Ok(Ok(())),
                AttemptError::Changed => TenantError::ChangedSincePlan,
                AttemptError::Contention(..) | AttemptError::TenantLocked if pause.is_some() => {
                    // A stop that is requested meanwhile ends the pause.
                    self.stop.pause(pause.unwrap_or_default());
                    if self.stop.is_requested() {
                        return Ok(Err(None));
                    }
                    continue;
                }
                AttemptError::Contention(contention, server) => {
                    TenantError::Deferred { contention, attempts: attempt, server, holders: Vec::new() }
                }
                AttemptError::TenantLocked => TenantError::Busy { holder: None },
                AttemptError::ConnectionLost(server) => TenantError::ConnectionLost(server),
                AttemptError::Canceled(server) => TenantError::Canceled(server),
                AttemptError::Fatal(error) => return Err(error),
                AttemptError::ReadOnly => return Err(Error::Standby),
                AttemptError::Failed(error) => error,
                AttemptError::RecordLocked | AttemptError::NotRecorded => TenantError::ConcurrentlyChanged,
            };
            return Ok(Err(Some(error)));
        }
        Ok(Err(None))
    }

    /// The transaction. It ends with the connection if it fails.
    fn attempt(&mut self, conn: &mut PgConnection, db: &mut Database) -> Result<(), Undropped> {
        let began = Instant::now();
        let target = SchemaTarget::tenant(self.tenancy, &self.dropping.name, Some(self.run));
        conn.batch_execute(message::open(target, self.dropping, ExpectedRow::AsPlanned, Commit::Durable).sql())?;
        let relations = match self.dropping.schema {
            Some(schema) => {
                let relations = self.lock(conn, schema)?;
                let snapshot = export(conn)?;
                let written = self.backup.write(&self.dropping.name, schema.oid, &snapshot);
                self.file = Some(written.map_err(|reason| Undropped::Tenant(TenantError::NoBackup { reason }))?);
                Some((schema.oid, relations))
            }
            None => None,
        };
        if self.stop.is_requested() {
            return Err(Undropped::Interrupted);
        }
        let row = DoneRow { from: None, to: None, before: began.elapsed(), attempts: 1 };
        let record = self.run.record(&self.dropping.name, &row);
        let record = record.as_ref().map_or("", Call::text);
        conn.batch_execute(&message::drop_in_open(target, self.dropping, record))?;
        if let Some((oid, relations)) = relations
            && SchemaRelation::of(db.connection(), oid)? != relations
        {
            return Err(Undropped::Tenant(TenantError::ChangedSincePlan));
        }
        conn.batch_execute("COMMIT")?;
        if is_dropped(db.connection(), self.dropping) {
            return Ok(());
        }
        Err(Undropped::Tenant(TenantError::ConcurrentlyChanged))
    }

    /// Locks the tables against writers. Returns the relations with data.
    fn lock(&self, conn: &mut PgConnection, schema: Contents) -> Result<Vec<SchemaRelation>, Undropped> {
        #[derive(QueryableByName)]
        struct StateRow {
            #[diesel(sql_type = Bool)]
            is_partial: bool,
        }
        let state: StateRow = sql_query(
            "SELECT EXISTS (SELECT FROM public.schema_tracker WHERE name = $1 AND state = 'dropping') AS is_partial",
        )
        .bind::<Text, _>(self.dropping.name.as_str())
        .get_result(conn)?;
        if state.is_partial {
            let reason = "an earlier drop has removed a part of it".to_owned();
            return Err(Undropped::Tenant(TenantError::NoBackup { reason }));
        }
        let relations = SchemaRelation::of(conn, schema.oid)?;
        let name = Identifier::from(&self.dropping.name);
        let tables: Vec<String> = relations
            .iter()
            .filter(|relation| relation.is_table)
            .map(|relation| format!("ONLY {name}.{}", Identifier::of_object(&relation.name)))
            .collect();
        if !tables.is_empty() {
            conn.batch_execute(&format!("LOCK TABLE {} IN SHARE MODE", tables.join(", ")))?;
        }
        Ok(relations)
    }
}

/// Exports a snapshot in which all is committed that other sessions have written before the tables were locked.
fn export(conn: &mut PgConnection) -> Result<String, Undropped> {
    #[derive(QueryableByName)]
    struct SnapshotRow {
        #[diesel(sql_type = Text)]
        snapshot: String,
    }
    // The session waits for pg_dump.
    conn.batch_execute("SET LOCAL idle_in_transaction_session_timeout TO 0")?;
    let row: SnapshotRow = sql_query("SELECT pg_catalog.pg_export_snapshot() AS snapshot").get_result(conn)?;
    Ok(row.snapshot)
}

/// A table, materialized view, foreign table or sequence of a schema.
#[derive(Debug, PartialEq, Eq, QueryableByName)]
struct SchemaRelation {
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_table: bool,
}

impl SchemaRelation {
    fn of(conn: &mut PgConnection, schema: u32) -> QueryResult<Vec<Self>> {
        sql_query(
            "SELECT oid, relname::text AS name, relkind IN ('r', 'p') AS is_table FROM pg_catalog.pg_class \
             WHERE relnamespace = $1 AND relkind IN ('r', 'p', 'm', 'f', 'S') ORDER BY oid",
        )
        .bind::<Oid, _>(schema)
        .load(conn)
    }
}
