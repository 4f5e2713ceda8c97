//! The fence: a transaction on the source that blocks writes, and at its end renames the schema.
//!
//! Sessions that wait for the locks find no schema with the tenant's name afterwards: each of them gets one error, and none
//! writes to the old schema. If the process or its connection is lost before the commit, the server rolls back, and the tenant
//! is in use as before.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::record::TenantMove;
use super::site::Site;
use super::tables::MovedTable;
use crate::database::Stop;
use crate::error::{BlockingSession, Error, MoveError};
use crate::model::{SchemaName, TenantName};
use crate::postgres::path;
use crate::postgres::raw::{RawFailure, RawSession};
use crate::schema::structure::PINNED;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::lock_key;

/// The longest wait for the lock of a table, in milliseconds. Writers queue behind it. It is shorter than the usual
/// `deadlock_timeout`.
const LOCK_TIMEOUT: u32 = 300;

/// How often the locks are tried.
const ATTEMPTS: u32 = 20;

/// The pauses between attempts: each is half a longer than the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A fence. Dropping it lets writes continue.
pub(super) struct Fence {
    pub(super) session: RawSession,
    /// When the locks were requested.
    pub(super) began: Instant,
}

/// SQL that begins a transaction in a raw session, with the settings for reading rows as text.
pub(super) fn begin(isolation: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL {isolation}; {} {PINNED} SET LOCAL row_security TO off; \
         SET LOCAL statement_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0; SET LOCAL synchronous_commit TO on;",
        path::CATALOG_FOR_TRANSACTION
    )
}

impl Fence {
    /// Blocks writes to the tables. Retries while other sessions hold locks.
    ///
    /// # Errors
    /// [`MoveError::NoFence`] with the sessions that hold locks, or the server's error.
    pub(super) fn raise(
        site: &mut Site,
        tenant: &TenantName,
        schema: &SchemaName,
        tables: &[MovedTable],
        stop: &Stop,
    ) -> Result<Self, Error> {
        let failed = site.raw_failed(tenant, "block writes");
        let mut session = site.raw()?;
        let _ = session.run("SET application_name TO 'tenantry move'");
        let names: Vec<String> = tables.iter().map(|table| format!("ONLY {}", table.qualified(schema))).collect();
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            session.run(&begin("READ COMMITTED")).map_err(&failed)?;
            let taken = session
                .run(&format!("SELECT pg_catalog.pg_try_advisory_xact_lock({})::text", lock_key(tenant.schema())))
                .map_err(&failed)?;
            let is_taken = taken.first().and_then(|row| row.first().cloned().flatten()).as_deref() == Some("true");
            let began = Instant::now();
            let lock = format!(
                "SET LOCAL lock_timeout TO {LOCK_TIMEOUT}; LOCK TABLE {} IN EXCLUSIVE MODE; SET LOCAL lock_timeout TO 0",
                names.join(", ")
            );
            let locked = if !is_taken {
                Err(None)
            } else if names.is_empty() {
                Ok(())
            } else {
                session.run(&lock).map(|_| ()).map_err(Some)
            };
            match locked {
                Ok(()) => return Ok(Self { session, began }),
                Err(Some(failure)) if !is_contention(&failure) => return Err(failed(failure)),
                Err(_) => {}
            }
            session.run("ROLLBACK").map_err(&failed)?;
            if attempt >= ATTEMPTS || !stop.pause(pause) {
                break;
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
        if stop.is_requested() {
            return Err(MoveError::Interrupted { tenant: tenant.to_string() }.into());
        }
        let holders: Vec<String> = holders(site, schema)?.iter().map(ToString::to_string).collect();
        let by = if holders.is_empty() { "other sessions".to_owned() } else { holders.join("; ") };
        let reason = format!("its tables could not be locked, because locks are held by {by}");
        Err(MoveError::NoFence { tenant: tenant.to_string(), reason }.into())
    }

    /// Renames the schema, deletes the tracker row, and commits: nothing can write to the schema afterwards.
    ///
    /// # Errors
    /// The server's error. If the connection was lost, the commit may have been executed.
    pub(super) fn leave(mut self, site: &Site, moved: &TenantMove) -> Result<(), Error> {
        let failed = site.raw_failed(&moved.tenant, "rename the schema");
        let deleted = self
            .session
            .run(&format!(
                "ALTER SCHEMA {} RENAME TO {}; WITH deleted AS (DELETE FROM public.schema_tracker WHERE name = {} AND move = {} \
                 RETURNING 1) SELECT pg_catalog.count(*)::text FROM deleted",
                Identifier::from(&moved.tenant),
                Identifier::from(&moved.old_schema),
                Literal(moved.tenant.as_str()),
                Literal(&moved.id.to_string())
            ))
            .map_err(&failed)?;
        if deleted.first().and_then(|row| row.first().cloned().flatten()).as_deref() != Some("1") {
            let reason = format!("public.schema_tracker of server {} has changed", site.name());
            return Err(MoveError::Inconsistent { tenant: moved.tenant.to_string(), reason }.into());
        }
        self.session.run("COMMIT").map(|_| ()).map_err(failed)
    }
}

/// Whether another session blocked the statement: a lock timeout or a deadlock.
fn is_contention(failure: &RawFailure) -> bool {
    ["55P03", "40P01"].contains(&failure.sqlstate.as_str())
}

/// The sessions that hold locks on relations of a schema.
fn holders(site: &mut Site, schema: &SchemaName) -> Result<Vec<BlockingSession>, Error> {
    sql_query(
        "SELECT held.lock, a.pid, a.usename::text AS user, a.application_name AS application, a.datname::text AS database, \
         a.xact_start AS since, a.query_start, a.state FROM pg_catalog.pg_stat_activity AS a \
         CROSS JOIN LATERAL (SELECT c.relname::text AS lock FROM pg_catalog.pg_locks AS l \
         JOIN pg_catalog.pg_class AS c ON c.oid = l.relation JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE l.pid = a.pid AND l.granted AND n.nspname = $1 AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') \
         ORDER BY c.relname LIMIT 1) AS held \
         WHERE a.pid <> pg_catalog.pg_backend_pid() AND a.datname = pg_catalog.current_database() ORDER BY a.pid LIMIT 5",
    )
    .bind::<Text, _>(schema.as_str())
    .load(site.conn())
    .map_err(Error::doing("look for sessions that use the schema"))
}
