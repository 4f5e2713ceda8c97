//! Begins moves, returns tenants to the servers that they were on, and drops old schemas.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::mover::{MovedTenant, Mover};
use super::plan::{MoveOptions, MovePlan};
use super::record::{MoveMethod, MoveState, OLD_PREFIX, TenantMove, VerifyRows, unended};
use super::site::Site;
use super::writing::{self, NewMove};
use super::{prepare, roles};
use crate::error::{Error, MoveError};
use crate::model::TenantName;
use crate::operations::{IfMissing, Untracked, drop_tenants, plan_drop};
use crate::run::Observer;

/// The old schema of a tenant that has moved.
#[derive(Debug, Clone)]
pub struct OldSchema {
    /// The move.
    pub moved: TenantMove,
    /// The server that it is on.
    pub server: String,
}

impl Mover<'_> {
    /// Moves a tenant. If the process ends before the move does, [`resume`](Self::resume) continues it and
    /// [`abort`](Self::abort) undoes it.
    ///
    /// # Errors
    /// [`MoveError::Impossible`], [`MoveError::InProgress`], or why the move could not be completed.
    pub fn start(&mut self, plan: &MovePlan, options: &MoveOptions) -> Result<MovedTenant, Error> {
        plan.require_possible()?;
        let lock = self.lock(&plan.tenant)?;
        let new = NewMove {
            tenant: &plan.tenant,
            source: plan.source.id,
            target: plan.target.id,
            method: plan.method,
            verify: options.verify,
            kept_schema: None,
            keep_source: options.keep_source,
        };
        let begun = writing::begin(self.registry.connection(), &new)?;
        let in_progress =
            || MoveError::InProgress { tenant: plan.tenant.to_string(), server: plan.target.name.to_string() };
        let mut moving = self.open(begun.ok_or_else(in_progress)?, lock)?;
        moving.is_auto = plan.is_auto();
        let moved = moving.run();
        // Nothing can be made there: the tenant is as before.
        if let Err(Error::Move(MoveError::Impossible { .. })) = &moved {
            self.abort(&plan.tenant)?;
        }
        moved
    }

    /// Returns a tenant to the server that it was on before its last move, where its old schema is put back. Only if nothing was
    /// written since.
    ///
    /// # Errors
    /// [`MoveError::NoMove`], [`MoveError::Written`], or why the move could not be completed.
    pub fn back(&mut self, tenant: &TenantName, keep_source: i64) -> Result<MovedTenant, Error> {
        let lock = self.lock(tenant)?;
        let last = unended(self.registry.connection(), std::slice::from_ref(tenant))?.into_iter().next_back();
        let no_move = || MoveError::NoMove { tenant: tenant.to_string(), action: "reversed" };
        let last = last.filter(|one| one.state == MoveState::Settled).ok_or_else(no_move)?;
        let new = NewMove {
            tenant,
            source: last.target,
            target: last.source,
            method: MoveMethod::Back,
            verify: VerifyRows::Before,
            kept_schema: Some(&last.old_schema),
            keep_source,
        };
        let begun = writing::begin(self.registry.connection(), &new)?.ok_or_else(no_move)?;
        let moved = self.open(begun, lock)?.run();
        if let Err(Error::Move(MoveError::Written { .. })) = &moved {
            self.abort(tenant)?;
        }
        moved
    }

    /// The old schemas of moved tenants. With `names`, those of these tenants; else those whose time has passed.
    ///
    /// # Errors
    /// [`MoveError::NoMove`] for a tenant that has none, or the server's error.
    pub fn old_schemas(&mut self, names: &[TenantName]) -> Result<Vec<OldSchema>, Error> {
        let mut moves = unended(self.registry.connection(), names)?;
        moves.retain(|moved| moved.state == MoveState::Settled && (!names.is_empty() || moved.is_due));
        if let Some(name) = names.iter().find(|name| !moves.iter().any(|moved| moved.tenant == **name)) {
            return Err(MoveError::NoMove { tenant: name.to_string(), action: "finished" }.into());
        }
        let old = moves.into_iter().map(|moved| {
            let server = self.directory.by_id(moved.source).map_or("-", |server| server.name.as_str()).to_owned();
            OldSchema { moved, server }
        });
        Ok(old.collect())
    }

    /// Drops the old schema of a tenant that has moved, and its role there.
    ///
    /// # Errors
    /// [`MoveError::RowsDiffer`] if its rows are not those that were moved, or the error of the server.
    pub fn finish(&mut self, old: &OldSchema, observer: &mut dyn Observer) -> Result<(), Error> {
        let tenant = old.moved.tenant.clone();
        let _lock = self.lock(&tenant)?;
        let current = super::record::read(self.registry.connection(), old.moved.id)?;
        let no_move = || MoveError::NoMove { tenant: tenant.to_string(), action: "finished" };
        let mut moved = current.filter(|one| one.state == MoveState::Settled).ok_or_else(no_move)?;
        if moved.verified == Some(false) {
            let server = self.directory.by_id(moved.target).map_or("-", |server| server.name.as_str()).to_owned();
            let tables = vec!["the old schema is kept".to_owned()];
            return Err(MoveError::RowsDiffer { tenant: tenant.to_string(), server, tables, switched: true }.into());
        }
        // The name is one that only this move gives.
        if moved.old_schema.as_str() != format!("{OLD_PREFIX}{}", moved.id.simple()) {
            return Err(no_move().into());
        }
        let mut source = self.site(&tenant, moved.source)?;
        let names = [moved.old_schema.clone()];
        let plan = plan_drop(&mut source.db, self.tenancy, &names, Untracked::Drop, IfMissing::Accept)?;
        let report = drop_tenants(&mut source.db, self.tenancy, plan, self.stop, observer)?;
        if let Some(failed) = report.failed.into_iter().next() {
            return Err(Error::Tenant { name: tenant, error: Box::new(failed.error) });
        }
        if report.ended.is_some() {
            return Err(MoveError::Interrupted { tenant: tenant.to_string() }.into());
        }
        self.remove_role(&mut source, &moved)?;
        moved.reach(self.registry.connection(), MoveState::Finished)
    }

    /// Drops the role of a tenant on a server that has nothing of it any more.
    fn remove_role(&mut self, source: &mut Site, moved: &TenantMove) -> Result<(), Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            tracked: String,
        }
        let row: Option<Row> =
            sql_query("SELECT tracked::text AS tracked FROM public.schema_move WHERE id = $1 AND tracked IS NOT NULL")
                .bind::<diesel::sql_types::Uuid, _>(moved.id)
                .get_result(self.registry.connection())
                .optional()
                .map_err(Error::doing("read public.schema_move"))?;
        let facts = source.facts(moved, self.stop)?;
        let Some(row) = row.filter(|_| facts.state.is_none()) else { return Ok(()) };
        let mut target = self.site(&moved.tenant, moved.target)?;
        if roles::share_roles(source, &mut target, &moved.tenant)? {
            return Ok(());
        }
        roles::remove(source, &moved.tenant, &row.tracked, self.stop)
    }
}

impl super::mover::Moving<'_> {
    /// Drops the role that the move has made on the target, where the tenant is not any more.
    pub(super) fn discard_role(&mut self) -> Result<(), Error> {
        let tenant = self.moved.tenant.clone();
        if roles::share_roles(&mut self.source, &mut self.target, &tenant)? {
            return Ok(());
        }
        let failed = self.source.failed(&tenant, "read the tracker");
        let tracked = prepare::tracked_row(self.source.conn(), &tenant).map_err(failed)?;
        roles::remove(&mut self.target, &tenant, &tracked, self.stop)
    }
}
