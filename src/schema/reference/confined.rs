//! Confines each migration of a replay as a tenant's migrations are confined.

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use crate::confine::{self, Guard, Scrutiny};
use crate::migration::Migration;
use crate::model::SchemaName;
use crate::postgres::{path, session};
use crate::sql::quote::Literal;

/// The schema that the migrations of a replay may change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confined<'a> {
    pub(super) schema: &'a SchemaName,
    pub(super) neighbours: &'a [SchemaName],
    /// See [`confine::read_horizon`].
    pub(super) horizon: u32,
}

/// What is checked at the end of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// That the transaction changed no objects outside the schema.
    Outside,
    Nothing,
}

impl Confined<'_> {
    /// SQL for the beginning of a transaction, before the first migration.
    pub(super) fn before(&self) -> String {
        format!("{} {}", path::CATALOG_FOR_TRANSACTION, self.guard().before().unwrap_or_default())
    }

    /// Ends a migration within its transaction: resets the session, and with [`Check::Outside`] fails with
    /// [`GuardViolation::Outside`](crate::postgres::GuardViolation::Outside) if the transaction changed objects outside the schema.
    /// Sends nothing for a migration whose text shows that neither is necessary.
    pub(super) fn end(&self, conn: &mut PgConnection, migration: &Migration, check: Check) -> QueryResult<()> {
        let script = migration.up();
        if !script.traits().is_plain {
            conn.batch_execute(&session::reset(session::Locks::All))?;
        }
        if check == Check::Nothing || confine::scrutiny([script], self.neighbours) == Scrutiny::None {
            return Ok(());
        }
        let conditions = self.guard().conditions().unwrap_or_default();
        conn.batch_execute(&format!(
            "SET LOCAL ROLE NONE; {} DO {};",
            path::CATALOG_FOR_TRANSACTION,
            Literal(&format!("BEGIN {conditions} END"))
        ))
    }

    /// The replay cannot know beforehand what the locks alone show, so it always checks thoroughly.
    fn guard(&self) -> Guard<'_> {
        let Self { schema, neighbours, horizon } = *self;
        Guard { schema, neighbours, horizon, scrutiny: Scrutiny::Thorough }
    }
}
