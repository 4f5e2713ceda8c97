//! Writing the record of moves and the placements of their tenants.

use diesel::connection::Connection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::record::{MoveMethod, MoveState, OLD_PREFIX, TenantMove, VerifyRows, read};
use crate::error::Error;
use crate::model::{SchemaName, TenantName};

/// A move that is to be recorded.
pub(super) struct NewMove<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) source: Uuid,
    pub(super) target: Uuid,
    pub(super) method: MoveMethod,
    pub(super) verify: VerifyRows,
    pub(super) kept_schema: Option<&'a SchemaName>,
    pub(super) keep_source: i64,
}

/// Records a move, and that the tenant is moving, in one transaction. `None` if a move of the tenant is open, or the tenant is not
/// on the source.
pub(super) fn begin(conn: &mut PgConnection, new: &NewMove<'_>) -> Result<Option<TenantMove>, Error> {
    let doing = Error::doing("record the move in public.schema_move");
    let id = Uuid::new_v4();
    let begun = conn.transaction::<_, diesel::result::Error, _>(|conn| {
        let placed = sql_query(
            "WITH change AS (UPDATE public.schema_identity SET version = version + 1 RETURNING version) \
             UPDATE public.schema_placement AS p SET state = 'moving', version = change.version FROM change \
             WHERE p.tenant = $1 AND p.server = $2 AND p.state = 'active'",
        )
        .bind::<Text, _>(new.tenant.as_str())
        .bind::<SqlUuid, _>(new.source)
        .execute(conn)?;
        if placed == 0 {
            return Ok(false);
        }
        sql_query(
            "INSERT INTO public.schema_move (id, tenant, source, target, method, verify, old_schema, kept_schema, keep_source) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(new.tenant.as_str())
        .bind::<SqlUuid, _>(new.source)
        .bind::<SqlUuid, _>(new.target)
        .bind::<Text, _>(new.method.as_str())
        .bind::<Text, _>(new.verify.as_str())
        .bind::<Text, _>(format!("{OLD_PREFIX}{}", id.simple()))
        .bind::<Nullable<Text>, _>(new.kept_schema.map(SchemaName::as_str))
        .bind::<BigInt, _>(new.keep_source)
        .execute(conn)?;
        Ok(true)
    });
    if !begun.map_err(&doing)? {
        return Ok(None);
    }
    read(conn, id)
}

impl TenantMove {
    /// Records that the move has reached a state.
    pub(super) fn reach(&mut self, conn: &mut PgConnection, state: MoveState) -> Result<(), Error> {
        self.state = state;
        sql_query(
            "UPDATE public.schema_move SET state = $2, updated_at = now(), error = NULL, \
             ended_at = CASE WHEN $2 IN ('finished', 'aborted') THEN now() END WHERE id = $1",
        )
        .bind::<SqlUuid, _>(self.id)
        .bind::<Text, _>(state.as_str())
        .execute(conn)
        .map(|_| ())
        .map_err(Error::doing("record the move in public.schema_move"))
    }

    /// Sets a column of its row. The value is a text that the server converts.
    pub(super) fn set(&self, conn: &mut PgConnection, column: MoveColumn, value: &str) -> Result<(), Error> {
        let (column, of_type) = column.sql();
        sql_query(format!("UPDATE public.schema_move SET {column} = $2::{of_type}, updated_at = now() WHERE id = $1"))
            .bind::<SqlUuid, _>(self.id)
            .bind::<Text, _>(value)
            .execute(conn)
            .map(|_| ())
            .map_err(Error::doing("record the move in public.schema_move"))
    }

    /// Makes the directory show that the tenant is on the target, and records that the move has reached
    /// [`MoveState::Switched`].
    pub(super) fn switch(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let switched = conn.transaction::<_, diesel::result::Error, _>(|conn| {
            sql_query(
                "WITH change AS (UPDATE public.schema_identity SET version = version + 1 RETURNING version) \
                 UPDATE public.schema_placement AS p SET server = $3, state = 'active', epoch = p.epoch + 1, \
                 version = change.version FROM change WHERE p.tenant = $1 AND p.server = $2",
            )
            .bind::<Text, _>(self.tenant.as_str())
            .bind::<SqlUuid, _>(self.source)
            .bind::<SqlUuid, _>(self.target)
            .execute(conn)?;
            sql_query(
                "UPDATE public.schema_move SET state = 'switched', error = NULL, updated_at = now(), \
                 switched_at = COALESCE(switched_at, now()), \
                 keep_until = COALESCE(keep_until, now() + keep_source * interval '1 second') WHERE id = $1",
            )
            .bind::<SqlUuid, _>(self.id)
            .execute(conn)?;
            // The old schema of the earlier move is in use again.
            sql_query(
                "UPDATE public.schema_move SET state = 'finished', updated_at = now(), ended_at = now() \
                 WHERE tenant = $1 AND old_schema = $2 AND state = 'settled'",
            )
            .bind::<Text, _>(self.tenant.as_str())
            .bind::<Nullable<Text>, _>(self.kept_schema.as_ref().map(SchemaName::as_str))
            .execute(conn)?;
            Ok(())
        });
        self.state = MoveState::Switched;
        switched.map_err(Error::doing("write the placements of tenants"))
    }

    /// Records that the move was undone, and that the tenant is in use on the source.
    pub(super) fn undo(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let undone = conn.transaction::<_, diesel::result::Error, _>(|conn| {
            sql_query(
                "WITH change AS (UPDATE public.schema_identity SET version = version + 1 RETURNING version) \
                 UPDATE public.schema_placement AS p SET state = 'active', version = change.version FROM change \
                 WHERE p.tenant = $1 AND p.server = $2 AND p.state = 'moving'",
            )
            .bind::<Text, _>(self.tenant.as_str())
            .bind::<SqlUuid, _>(self.source)
            .execute(conn)?;
            self.reach_in_transaction(conn)
        });
        self.state = MoveState::Aborted;
        undone.map_err(Error::doing("write the placements of tenants"))
    }

    fn reach_in_transaction(&self, conn: &mut PgConnection) -> QueryResult<()> {
        sql_query(
            "UPDATE public.schema_move SET state = 'aborted', error = NULL, updated_at = now(), ended_at = now() WHERE id = $1",
        )
        .bind::<SqlUuid, _>(self.id)
        .execute(conn)
        .map(|_| ())
    }
}

/// A column of `public.schema_move` that changes during the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoveColumn {
    Method,
    Tracked,
    Identities,
    FenceLsn,
    Checksums,
    Verified,
    Blocked,
    Error,
}

impl MoveColumn {
    fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Method => ("method", "text"),
            Self::Tracked => ("tracked", "jsonb"),
            Self::Identities => ("identities", "jsonb"),
            Self::FenceLsn => ("fence_lsn", "pg_lsn"),
            Self::Checksums => ("checksums", "jsonb"),
            Self::Verified => ("verified", "boolean"),
            Self::Blocked => ("blocked_for", "bigint"),
            Self::Error => ("error", "text"),
        }
    }
}
