//! Puts the tenant into use on the target, and clears up.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Text, Uuid as SqlUuid};

use super::fence;
use super::leave::Leaving;
use super::mover::{MovedTenant, Moving};
use super::record::{MoveMethod, MoveState};
use super::tables::{self, Digests, differing};
use super::writing::MoveColumn;
use super::{closed, prepare, replication};
use crate::error::{Error, MoveError};
use crate::model::SchemaName;
use crate::postgres::raw::RawSession;

/// A tenant whose source is left.
pub(super) struct Arrival<'a, 'm> {
    pub(super) moving: &'a mut Moving<'m>,
    pub(super) left: Leaving,
}

impl Arrival<'_, '_> {
    /// Completes the move.
    pub(super) fn complete(self) -> Result<MovedTenant, Error> {
        let Self { moving, left } = self;
        let facts = moving.target.facts(&moving.moved, moving.stop)?;
        let tenant = moving.moved.tenant.clone();
        let snapshot = match facts.state.as_deref() {
            Some("arriving") if facts.is_marked(&moving.moved) => {
                moving.set_sequences(tenant.schema())?;
                let snapshot = moving.snapshot()?;
                moving.activate()?;
                snapshot
            }
            None if moving.moved.method == MoveMethod::Back && facts.kept.is_some() => {
                moving.put_back()?;
                None
            }
            // Another process has activated it, and rows may have been written since.
            Some("active" | "archived") if facts.of_move.is_none() => None,
            _ => {
                let found = format!("server {} does not have what the move has made there", moving.target.name());
                return Err(moving.inconsistent(found));
            }
        };
        if moving.moved.state < MoveState::Switched {
            moving.moved.switch(moving.registry.connection())?;
        }
        let blocked = left.blocked_since.map(|since| since.elapsed());
        if let Some(blocked) = blocked {
            let millis = blocked.as_millis().to_string();
            moving.moved.set(moving.registry.connection(), MoveColumn::Blocked, &millis)?;
        }
        if moving.moved.method == MoveMethod::Replicate {
            let old = moving.moved.old_schema.clone();
            replication::end(&mut moving.source, &mut moving.target, &moving.moved, &old, moving.stop)?;
        }
        let differing = match snapshot {
            Some(snapshot) => moving.compare_snapshot(snapshot, left.digests)?,
            None => Vec::new(),
        };
        if moving.moved.method != MoveMethod::Back {
            moving.drop_triggers()?;
        }
        moving.settle_role()?;
        moving.reach(MoveState::Settled)?;
        if !differing.is_empty() {
            let (tenant, server) = (tenant.to_string(), moving.target.name().to_owned());
            return Err(MoveError::RowsDiffer { tenant, server, tables: differing, switched: true }.into());
        }
        let (method, verified) = (moving.moved.method, moving.moved.verified == Some(true));
        if !verified {
            moving.remarks.push(format!(
                "the rows of {tenant} were not compared, because the command that moved them was interrupted"
            ));
        }
        Ok(MovedTenant { tenant, method, blocked, verified, remarks: std::mem::take(&mut moving.remarks) })
    }
}

impl Moving<'_> {
    /// Sets the sequences of a schema on the target to the values of the source, which nothing uses any more.
    fn set_sequences(&mut self, schema: &SchemaName) -> Result<(), Error> {
        let tenant = self.moved.tenant.clone();
        let failed = self.source.failed(&tenant, "read the sequences");
        let values = tables::sequences(self.source.conn(), &self.moved.old_schema).map_err(failed)?;
        let set = tables::set_sequences(schema, &values);
        if set.is_empty() {
            return Ok(());
        }
        self.target.locked(&tenant, "set the sequences", self.stop, |conn| conn.batch_execute(&set))
    }

    /// A session on the target that sees the rows as they are before the tenant is in use there. `None` if rows were compared
    /// before.
    fn snapshot(&mut self) -> Result<Option<RawSession>, Error> {
        if self.moved.verified.is_some() {
            return Ok(None);
        }
        let failed = self.target.raw_failed(&self.moved.tenant, "take a snapshot");
        let mut session = self.target.raw()?;
        session.run(&format!("{} SELECT 1", fence::begin("REPEATABLE READ"))).map_err(failed)?;
        Ok(Some(session))
    }

    /// Compares the rows of the old schema with those of a snapshot of the target. Returns the tables that differ.
    fn compare_snapshot(&mut self, mut snapshot: RawSession, known: Option<Digests>) -> Result<Vec<String>, Error> {
        let tenant = self.moved.tenant.clone();
        let old = self.moved.old_schema.clone();
        let failed = self.source.failed(&tenant, "read the tables");
        let tables = tables::tables(self.source.conn(), &old).map_err(failed)?;
        let digests = match known {
            Some(digests) => digests,
            None => {
                let failed = self.source.raw_failed(&tenant, "read the rows");
                let mut session = self.source.raw()?;
                session.run(&fence::begin("READ COMMITTED")).map_err(&failed)?;
                tables::digests(&mut session, &old, &tables).map_err(failed)?
            }
        };
        let failed = self.target.raw_failed(&tenant, "read the rows");
        let found = tables::digests(&mut snapshot, tenant.schema(), &tables).map_err(failed)?;
        let differing = differing(&digests, &found);
        self.record_verified(&digests, if differing.is_empty() { Ok(()) } else { Err(()) })?;
        Ok(differing)
    }

    /// Puts the tenant into use on the target.
    fn activate(&mut self) -> Result<(), Error> {
        let (tenant, id) = (self.moved.tenant.clone(), self.moved.id);
        let activated = self.target.locked(&tenant, "put the tenant into use", self.stop, |conn| {
            conn.batch_execute(&format!("SET LOCAL synchronous_commit TO on; {}", closed::open(tenant.schema())))?;
            sql_query(
                "UPDATE public.schema_tracker SET move = NULL, \
                 state = CASE WHEN archived_at IS NULL THEN 'active' ELSE 'archived' END \
                 WHERE name = $1 AND state = 'arriving' AND move = $2",
            )
            .bind::<Text, _>(tenant.as_str())
            .bind::<SqlUuid, _>(id)
            .execute(conn)
        })?;
        if activated == 1 {
            return Ok(());
        }
        Err(self.inconsistent(format!("public.schema_tracker of server {} has changed", self.target.name())))
    }

    /// Gives the kept schema on the target the name of the tenant again, and puts it into use.
    fn put_back(&mut self) -> Result<(), Error> {
        let Some(kept) = self.moved.kept_schema.clone() else {
            return Err(self.inconsistent("it has no schema to put back".to_owned()));
        };
        self.set_sequences(&kept)?;
        let tracked = self.tracked()?;
        let moved = self.moved.clone();
        self.target.locked(&moved.tenant, "rename the schema", self.stop, |conn| {
            conn.batch_execute("SET LOCAL synchronous_commit TO on")?;
            prepare::track(conn, &moved, &tracked)?;
            conn.batch_execute(&prepare::rename(&kept, moved.tenant.schema()))?;
            sql_query(
                "UPDATE public.schema_tracker SET move = NULL, \
                 state = CASE WHEN archived_at IS NULL THEN 'active' ELSE 'archived' END WHERE name = $1 AND move = $2",
            )
            .bind::<Text, _>(moved.tenant.as_str())
            .bind::<SqlUuid, _>(moved.id)
            .execute(conn)
            .map(|_| ())
        })
    }
}
