//! One of the two servers of a move, and what is on it.

use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Bool, Nullable, Oid, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::record::TenantMove;
use crate::database::{Database, Stop};
use crate::error::{Error, MoveError, TenantError};
use crate::model::TenantName;
use crate::postgres::raw::{RawFailure, RawSession};
use crate::postgres::{Condition, LockHolder, ServerMessage, path};
use crate::schema::structure::{self, Structure};
use crate::servers::FleetServer;
use crate::sql::quote::Literal;
use crate::tenants::lock_key;

/// How long another session may hold the lock of the tenant: that of a process that was killed does for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is tried.
const LOCK_EVERY: Duration = Duration::from_millis(100);

/// A server of a move.
pub(super) struct Site {
    pub(super) server: FleetServer,
    pub(super) db: Database,
}

/// What a server has of a tenant.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct SiteFacts {
    /// The state of the tenant in the tracker; `None` if it is not tracked.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) state: Option<String>,
    /// The move in the tracker.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub(super) of_move: Option<Uuid>,
    /// The schema with the tenant's name.
    #[diesel(sql_type = Nullable<Oid>)]
    pub(super) schema: Option<u32>,
    /// The schema with the name that the move gives to the old one.
    #[diesel(sql_type = Nullable<Oid>)]
    pub(super) old: Option<u32>,
    /// The schema that the move puts back.
    #[diesel(sql_type = Nullable<Oid>)]
    pub(super) kept: Option<u32>,
}

impl SiteFacts {
    /// Whether the tracker has the tenant as one of this move.
    pub(super) fn is_marked(&self, moved: &TenantMove) -> bool {
        self.of_move == Some(moved.id)
    }
}

impl Site {
    pub(super) fn name(&self) -> &str {
        self.server.name.as_str()
    }

    pub(super) fn conn(&mut self) -> &mut PgConnection {
        self.db.connection()
    }

    /// The error of a statement on this server.
    pub(super) fn failed(&self, tenant: &TenantName, doing: &'static str) -> impl Fn(DieselError) -> Error + use<> {
        let (tenant, server) = (tenant.to_string(), self.name().to_owned());
        move |error| {
            let lost = Condition::of(&error) == Some(Condition::ConnectionLost);
            let message = ServerMessage::from(&error).message;
            MoveError::Failed { tenant: tenant.clone(), server: server.clone(), doing, message, lost }.into()
        }
    }

    /// The error of a statement in a raw session on this server.
    pub(super) fn raw_failed(&self, tenant: &TenantName, doing: &'static str) -> impl Fn(RawFailure) -> Error + use<> {
        let (tenant, server) = (tenant.to_string(), self.name().to_owned());
        move |failure| {
            let (lost, message) = (failure.sqlstate.is_empty(), failure.message);
            MoveError::Failed { tenant: tenant.clone(), server: server.clone(), doing, message, lost }.into()
        }
    }

    /// A session of its own for the copy and the fence.
    pub(super) fn raw(&self) -> Result<RawSession, Error> {
        Ok(self.db.connector().connect_raw()?)
    }

    /// Runs statements in a transaction with only the catalog on the search path, while no other session works on the tenant.
    pub(super) fn locked<T>(
        &mut self,
        tenant: &TenantName,
        doing: &'static str,
        stop: &Stop,
        mut work: impl FnMut(&mut PgConnection) -> QueryResult<T>,
    ) -> Result<T, Error> {
        let failed = self.failed(tenant, doing);
        let mut left = LOCK_PATIENCE;
        loop {
            let done = self.conn().transaction::<_, DieselError, _>(|conn| {
                conn.batch_execute(path::CATALOG_FOR_TRANSACTION)?;
                if !try_lock(conn, tenant)? {
                    return Ok(None);
                }
                work(conn).map(Some)
            });
            if let Some(done) = done.map_err(&failed)? {
                return Ok(done);
            }
            if left.is_zero() || !stop.pause(LOCK_EVERY) {
                let holder = LockHolder::find(self.conn(), &lock_key(tenant.schema()));
                return Err(Error::Tenant { name: tenant.clone(), error: Box::new(TenantError::Busy { holder }) });
            }
            left = left.saturating_sub(LOCK_EVERY);
        }
    }

    /// What the server has of the tenant, while no other session works on it.
    pub(super) fn facts(&mut self, moved: &TenantMove, stop: &Stop) -> Result<SiteFacts, Error> {
        let kept = moved.kept_schema.as_ref().map(|name| name.as_str().to_owned());
        self.locked(&moved.tenant, "look for the tenant", stop, |conn| {
            sql_query(
                "SELECT t.state, t.move AS of_move, \
                 (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1) AS schema, \
                 (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $2) AS old, \
                 (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $3) AS kept \
                 FROM (SELECT) AS one LEFT JOIN public.schema_tracker AS t ON t.name = $1",
            )
            .bind::<Text, _>(moved.tenant.as_str())
            .bind::<Text, _>(moved.old_schema.as_str())
            .bind::<Nullable<Text>, _>(kept.as_deref())
            .get_result(conn)
        })
    }

    /// The structure of a schema.
    pub(super) fn structure(&mut self, tenant: &TenantName, schema: u32) -> Result<Structure, Error> {
        let version = self.db.server().version;
        let mut read = structure::read(self.conn(), version, &[schema])?;
        read.remove(&schema).ok_or_else(|| {
            let reason = format!("its schema on server {} does not exist any more", self.name());
            MoveError::Inconsistent { tenant: tenant.to_string(), reason }.into()
        })
    }
}

/// Acquires the lock of the tenant until the end of the transaction, if no other session has it.
pub(super) fn try_lock(conn: &mut PgConnection, tenant: &TenantName) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        taken: bool,
    }
    let row: Row =
        sql_query(format!("SELECT pg_catalog.pg_try_advisory_xact_lock({}) AS taken", lock_key(tenant.schema())))
            .get_result(conn)?;
    Ok(row.taken)
}

/// The lock of a move on the registry, held until the value is dropped: two commands do not work on one move.
pub(super) struct MoveLock(#[allow(dead_code, reason = "its connection holds the lock")] PgConnection);

impl MoveLock {
    /// Acquires the lock.
    ///
    /// # Errors
    /// [`MoveError::Running`], or the server's error.
    pub(super) fn take(registry: &Database, tenant: &TenantName, stop: &Stop) -> Result<Self, Error> {
        let doing = Error::doing("acquire the lock of the move");
        let mut conn = registry.connector().connect_as(&format!("tenantry move {tenant}"))?;
        let key = format!("tenantry move: {}", tenant.folded());
        let mut left = LOCK_PATIENCE / 5;
        loop {
            conn.batch_execute(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout TO 0",
            )
            .map_err(&doing)?;
            #[derive(QueryableByName)]
            struct Row {
                #[diesel(sql_type = Bool)]
                taken: bool,
            }
            let row: Row = sql_query(format!(
                "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended({}, 0::bigint)) AS taken",
                Literal(&key)
            ))
            .get_result(&mut conn)
            .map_err(&doing)?;
            if row.taken {
                // Closes the portal of the query, which holds a snapshot.
                conn.batch_execute("SET LOCAL statement_timeout TO 0").map_err(&doing)?;
                return Ok(Self(conn));
            }
            conn.batch_execute("ROLLBACK").map_err(&doing)?;
            if left.is_zero() || !stop.pause(LOCK_EVERY) {
                return Err(MoveError::Running { tenant: tenant.to_string() }.into());
            }
            left = left.saturating_sub(LOCK_EVERY);
        }
    }
}
