//! Renames a tenant: its schema, its row in the tracker, its role and its records, in one transaction.
//!
//! PostgreSQL itself follows the schema in everything that it has parsed: views, constraints, defaults, SQL-standard function
//! bodies. Text that names the schema, such as the source of a function, would break. So the structure is read in the
//! transaction, after the schema was renamed, and what still names the old schema is refused.

pub(super) mod mentions;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Oid, Text};
use std::time::Duration;

use super::serial::transaction_error;
use super::{NameStatus, SchemaStatus, holds_extensions, look_up};
use crate::database::Database;
use crate::error::{BlockingSession, Error, FailedTenant, RoleError, TenantError};
use crate::model::{State, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, TrackerRow, tracker_guard};
use crate::postgres::{CHANGED, DispatchError, path};
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::roles::{self, TenantRole};
use crate::run::Commit;
use crate::schema::structure;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::{Tenancy, not_tracked};

/// Whether a tenant is renamed while sessions use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// It is refused.
    Refuse,
    /// It is renamed. Later statements of these sessions that use the old name fail.
    Accept,
}

/// How a tenant is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenameOptions {
    /// What happens if sessions use the tenant.
    pub in_use: InUse,
    /// Roll the transaction back.
    pub dry_run: bool,
}

/// A renamed tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenamedTenant {
    /// The id of the run in `public.schema_run`; `None` for a dry run.
    pub run: Option<i64>,
    /// The role of the tenant before and after, if it has one.
    pub role: Option<(String, String)>,
}

/// What a rename does.
struct Renaming<'a> {
    old: &'a TenantName,
    new: &'a TenantName,
    oid: u32,
    role: Option<(TenantRole, String)>,
    in_use: InUse,
}

const DOING: &str = "rename the tenant";

/// Renames a tenant that is active or archived. In a dry run, the transaction is rolled back. If the connection is lost at the
/// commit, the tenant has one of the two names, completely.
///
/// # Errors
/// The errors of [`Database::require_writable`], [`Error::Tenant`] if the tenant cannot be renamed, or the server's error.
pub fn rename(
    db: &mut Database,
    tenancy: &Tenancy,
    old: &TenantName,
    new: &TenantName,
    options: RenameOptions,
) -> Result<RenamedTenant, Error> {
    let RenameOptions { in_use, dry_run } = options;
    db.require_writable(tenancy)?;
    let of_tenant = |error| Error::Tenant { name: old.clone(), error: Box::new(error) };
    let oid = judge(db, tenancy, old, new)?;
    let role = new_role(db, old, new)?.map_err(of_tenant)?;
    let renaming = Renaming { old, new, oid, role, in_use };
    if in_use == InUse::Refuse {
        let sessions = renaming.sessions(db)?;
        if !sessions.is_empty() {
            return Err(of_tenant(TenantError::InUse { sessions }));
        }
    }
    let elsewhere = mentions::in_settings(db, old, renaming.role.as_ref().map(|(role, _)| role.role.as_str()))?;
    if !elsewhere.is_empty() {
        return Err(of_tenant(TenantError::Mentioned { objects: elsewhere }));
    }
    let run = if dry_run { None } else { Some(Run::begin(db, "rename")?) };
    let renamed = renaming.execute(db, tenancy, run)?;
    if let Some(run) = run {
        let failed: Vec<FailedTenant> = Vec::new();
        match renamed {
            Ok(()) => run.end(db, None, Counts::of(1, 0, &failed, 0)),
            Err(error) => {
                let failed = [FailedTenant::new(old, error)];
                run.record_failures(db.connection(), &[FailedRow::of_blocked(&failed[0])])?;
                run.end(db, None, Counts::of(0, 0, &failed, 0));
                let [FailedTenant { error, .. }] = failed;
                return Err(of_tenant(error));
            }
        }
    } else {
        renamed.map_err(of_tenant)?;
    }
    let role = renaming.role.map(|(role, renamed)| (role.role, renamed));
    Ok(RenamedTenant { run: run.map(Run::id), role })
}

/// The oid of the schema of a tenant that can be renamed or copied, if the new name is free.
///
/// # Errors
/// [`Error::Tenant`] with the name that it is about.
pub(super) fn judge(db: &mut Database, tenancy: &Tenancy, old: &TenantName, new: &TenantName) -> Result<u32, Error> {
    let schema = existing(db, old)?;
    require_free(db, tenancy, new, Some(old))?;
    Ok(schema.oid)
}

/// The schema of a tenant that is active or archived.
///
/// # Errors
/// [`Error::Tenant`] if there is no such tenant.
pub(super) fn existing(db: &mut Database, name: &TenantName) -> Result<SchemaStatus, Error> {
    let of_tenant = |error| Error::Tenant { name: name.clone(), error: Box::new(error) };
    let NameStatus { tracked, schema } =
        look_up(db.connection(), &[name])?.remove(name.as_str()).unwrap_or(NameStatus::UNUSED);
    match (tracked, schema) {
        (Some((tracked, state)), schema) if tracked == name.as_str() => match (state, schema) {
            (State::Active | State::Archived, Some(schema)) => Ok(schema),
            (state, _) if state.is_of_move() => Err(of_tenant(TenantError::Moving)),
            (state, None) => Err(of_tenant(TenantError::SchemaMissing { state: Some(state) })),
            (state, Some(_)) => Err(of_tenant(TenantError::WrongState { state, expected: State::Active })),
        },
        _ => Err(of_tenant(not_tracked(db.connection(), name)?)),
    }
}

/// Checks that a tenant can be created with the name. `old` is the tenant that gets the name.
///
/// # Errors
/// [`Error::Tenant`] if it cannot.
pub(crate) fn require_free(
    db: &mut Database,
    tenancy: &Tenancy,
    new: &TenantName,
    old: Option<&TenantName>,
) -> Result<(), Error> {
    let of_new = |error| Error::Tenant { name: new.clone(), error: Box::new(error) };
    if let Err(error) = tenancy.name_policy().check(new) {
        return Err(of_new(TenantError::NameRefused(error)));
    }
    let NameStatus { tracked, schema } =
        look_up(db.connection(), &[new])?.remove(new.as_str()).unwrap_or(NameStatus::UNUSED);
    // The tenant itself has a name that differs in case only.
    let is_other = |tracked: &str| old.is_none_or(|old| tracked != old.as_str());
    Err(of_new(match (tracked, schema) {
        _ if old == Some(new) => TenantError::AlreadyTracked { state: State::Active },
        (Some((tracked, state)), _) if tracked == new.as_str() => TenantError::AlreadyTracked { state },
        (Some((tracked, _)), _) if is_other(&tracked) => TenantError::CaseClash { tracked },
        (_, Some(_)) => TenantError::SchemaExists,
        (_, None) if holds_extensions(tenancy, new, None::<&SchemaStatus>) => {
            TenantError::ContainsExtensions { new: true }
        }
        (_, None) if db.server().is_own_role(new.as_str()) => TenantError::NameOfOwnRole,
        (_, None) => return Ok(()),
    }))
}

/// The role of the tenant, and its new name: a name that ends with the tenant's follows it.
fn new_role(
    db: &mut Database,
    old: &TenantName,
    new: &TenantName,
) -> Result<Result<Option<(TenantRole, String)>, TenantError>, Error> {
    let Some(role) = TenantRole::read(db.connection(), &[old.as_str()])?.into_iter().next() else {
        return Ok(Ok(None));
    };
    let renamed = match role.role.strip_suffix(old.as_str()) {
        Some(prefix) => roles::shortened(prefix, new.as_str()),
        None => role.role.clone(),
    };
    if renamed != role.role && roles::exists(db.connection(), &renamed)? {
        return Ok(Err(RoleError::Exists { role: renamed }.into()));
    }
    Ok(Ok(Some((role, renamed))))
}

/// The sessions that use the schema with the oid `$1`: they hold a lock in it, or are those of the role `$2`.
const SESSIONS: &str = "SELECT held.lock, a.pid, a.usename::text AS user, a.application_name AS application, \
     a.datname::text AS database, a.xact_start AS since, a.query_start, a.state \
     FROM pg_catalog.pg_stat_activity AS a \
     LEFT JOIN LATERAL (SELECT c.relname::text AS lock FROM pg_catalog.pg_locks AS l \
     JOIN pg_catalog.pg_class AS c ON c.oid = l.relation \
     WHERE l.pid = a.pid AND l.granted AND c.relnamespace = $1 ORDER BY c.relname LIMIT 1) AS held ON true \
     WHERE a.pid <> pg_catalog.pg_backend_pid() AND a.datname = pg_catalog.current_database() \
     AND a.backend_type = 'client backend' AND (held.lock IS NOT NULL OR a.usename = $2) ORDER BY a.pid";

impl Renaming<'_> {
    fn sessions(&self, db: &mut Database) -> Result<Vec<BlockingSession>, Error> {
        sql_query(SESSIONS)
            .bind::<Oid, _>(self.oid)
            .bind::<Nullable<Text>, _>(self.role.as_ref().map(|(role, _)| role.role.as_str()))
            .load(db.connection())
            .map_err(Error::doing("look for sessions that use the schema"))
    }

    /// Renames in one transaction, which is rolled back without a run, and if text in the schema names it.
    fn execute(
        &self,
        db: &mut Database,
        tenancy: &Tenancy,
        run: Option<Run>,
    ) -> Result<Result<(), TenantError>, Error> {
        let batch = self.message(tenancy, &db.server().database, run);
        let dispatch = db.connector().dispatch();
        if let Err(DispatchError { error, .. }) = batch.send(db.connection(), dispatch) {
            return transaction_error(db, error, self.old, DOING).map(Err);
        }
        let version = db.server().version;
        let structure = match structure::read_in_transaction(db.connection(), version, &[self.oid]) {
            Ok(mut read) => read.remove(&self.oid),
            Err(error) => return transaction_error(db, error, self.old, DOING).map(Err),
        };
        let objects = structure.map(|structure| mentions::in_structure(&structure, self.old.as_str()));
        let end = match &objects {
            Some(objects) if objects.is_empty() && run.is_some() => "COMMIT",
            _ => "ROLLBACK",
        };
        if let Err(error) = db.connection().batch_execute(end) {
            return transaction_error(db, error, self.old, DOING).map(Err);
        }
        Ok(match objects {
            None => Err(TenantError::ConcurrentlyChanged),
            Some(objects) if objects.is_empty() => Ok(()),
            Some(objects) => Err(TenantError::Mentioned { objects }),
        })
    }

    /// The transaction without its end.
    fn message(&self, tenancy: &Tenancy, database: &str, run: Option<Run>) -> Batch {
        let (old, new) = (self.old.schema(), self.new.schema());
        let target = SchemaTarget::tenant(tenancy, old, run);
        let (old_name, new_name) = (Literal(old.as_str()), Literal(new.as_str()));
        let mut batch = Batch::begin(target, Commit::Durable);
        batch.guard(&[
            path::CATALOG_IN_BLOCK.to_owned(),
            target.lock_for_transaction(),
            SchemaTarget::tenant(tenancy, new, run).lock_for_transaction(),
        ]);
        let mut guards = vec![
            path::CATALOG_IN_BLOCK.to_owned(),
            tracker_guard(old, TrackerRow::Known),
            changed_if(&format!(
                "(SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = {old_name}) \
                 IS DISTINCT FROM {}::pg_catalog.oid",
                self.oid
            )),
            changed_if(&format!("EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname = {new_name})")),
        ];
        if self.in_use == InUse::Refuse {
            let role = self.role.as_ref().map_or("NULL".to_owned(), |(role, _)| Literal(&role.role).to_string());
            let oid = format!("{}::pg_catalog.oid", self.oid);
            let sessions = SESSIONS.replace("$1", &oid).replace("$2", &role);
            guards.push(changed_if(&format!("EXISTS ({sessions})")));
        }
        if let Some((role, _)) = &self.role {
            guards.push(roles::mark_guard(&role.role, &roles::mark_of(database, old.as_str())));
        }
        batch.guard(&guards);
        batch.push(&format!("ALTER SCHEMA {} RENAME TO {};", Identifier::from(old), Identifier::from(new)));
        batch.push(&format!("UPDATE public.schema_tracker SET name = {new_name} WHERE name = {old_name};"));
        // A run may have the new name, too: that of a tenant that was dropped.
        batch.push(&format!(
            "UPDATE public.schema_run_tenant AS t SET tenant = {new_name} WHERE t.tenant = {old_name} AND NOT EXISTS \
             (SELECT FROM public.schema_run_tenant AS o WHERE o.run = t.run AND o.tenant = {new_name});"
        ));
        if let Some((role, renamed)) = &self.role {
            let mark = Literal(&roles::mark_of(database, new.as_str())).to_string();
            let name = Identifier::of_object(renamed);
            if role.role != *renamed {
                batch.push(&format!("ALTER ROLE {} RENAME TO {name};", Identifier::of_object(&role.role)));
            }
            batch.push(&format!("COMMENT ON ROLE {name} IS {mark};"));
            batch.push(&format!("{};", tenancy.path(new).set_for_role(renamed, database)));
            batch.push(&format!(
                "UPDATE public.schema_tracker SET role_name = {} WHERE name = {new_name};",
                Literal(renamed)
            ));
        }
        let row = DoneRow { from: None, to: None, before: Duration::ZERO, attempts: 1 };
        if let Some(row) = run.and_then(|run| run.record(new, &row)) {
            batch.push(row.text());
        }
        batch
    }
}

fn changed_if(condition: &str) -> String {
    format!("IF {condition} THEN RAISE EXCEPTION '{CHANGED}'; END IF;")
}
