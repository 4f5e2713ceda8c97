//! Takes tenants out of service without loss, and puts them back: the state `archived`.
//!
//! Nobody but its owner may use the schema of an archived tenant, and its role cannot log in. What was revoked is recorded in
//! the tracker, in the same transaction, and restored from there.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text, Timestamptz};

use super::serial::{ChangesReport, SerialRun, TenantChange};
use super::{NameStatus, distinct, look_up};
use crate::database::{Database, Stop};
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::{SchemaName, State, TenantName};
use crate::operations::migrate::StopReason;
use crate::postgres::{CHANGED, CHUNK};
use crate::sql::quote::Literal;
use crate::tenants::{Tenancy, not_tracked};

/// The report of [`archive`] and [`unarchive`].
#[derive(Debug, Default)]
pub struct ArchiveReport {
    /// The id of the run in `public.schema_run`; `None` if there was nothing to do.
    pub run: Option<i64>,
    /// The tenants that were archived, or put back into service.
    pub done: Vec<TenantName>,
    /// The tenants that had the state before.
    pub unchanged: Vec<TenantName>,
    /// The tenants that failed, and why. They are unchanged.
    pub failed: Vec<FailedTenant>,
    /// The tenants that an interrupted run did not reach.
    pub not_reached: Vec<TenantName>,
    /// Why the run stopped early.
    pub ended: Option<StopReason>,
    /// Roles that had privileges on a schema when it was archived, and that no longer exist: what [`unarchive`] did not
    /// restore.
    pub missing_roles: Vec<(TenantName, String)>,
}

/// An archived tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedTenant {
    /// The name.
    pub name: SchemaName,
    /// When it was archived.
    pub archived_at: DateTime<Utc>,
    /// From when on it is purged; `None` if never.
    pub purge_after: Option<DateTime<Utc>>,
    /// Whether this time has passed.
    pub is_due: bool,
}

impl ArchiveReport {
    /// Whether all tenants have the state now.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.ended.is_none()
    }
}

/// Archives tenants that are active, each in one transaction: revokes the privileges on its schema from everyone but the owner,
/// and keeps its role from logging in. With `grace`, the tenant may be purged after that time, also if it is archived already.
///
/// # Errors
/// The errors of [`Database::require_writable`], or the server's error if the connection is lost.
pub fn archive(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    grace: Option<Duration>,
    stop: &Stop,
) -> Result<ArchiveReport, Error> {
    let purge = grace.map_or("NULL".to_owned(), |grace| format!("now() + interval '{} seconds'", grace.as_secs()));
    let reschedule = |name: &TenantName| {
        format!(
            "UPDATE public.schema_tracker SET purge_after = {purge} WHERE name = {} AND state = 'archived'",
            Literal(name.as_str())
        )
    };
    let foreign = foreign_grantors(db, tenancy, names)?;
    let template = include_str!("archive/archive.sql").replace("$purge", &purge);
    change(db, tenancy, names, "archive", stop, |name, state| match state {
        State::Active => match foreign.get(name.as_str()) {
            Some(roles) => Err(TenantError::ForeignGrants { roles: roles.clone() }),
            None => Ok(Some(block(&template, name))),
        },
        State::Archived if grace.is_some() => Ok(Some(reschedule(name))),
        State::Archived => Ok(None),
        state if state.is_of_move() => Err(TenantError::Moving),
        state => Err(TenantError::WrongState { state, expected: State::Active }),
    })
}

/// Puts archived tenants back into service, each in one transaction: restores the privileges that were revoked, and lets its role
/// log in. The tenant is not purged.
///
/// # Errors
/// As [`archive`].
pub fn unarchive(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    stop: &Stop,
) -> Result<ArchiveReport, Error> {
    let missing = missing_roles(db, tenancy, names)?;
    let template = include_str!("archive/unarchive.sql");
    let mut report = change(db, tenancy, names, "unarchive", stop, |name, state| match state {
        State::Archived => Ok(Some(block(template, name))),
        State::Active => Ok(None),
        state if state.is_of_move() => Err(TenantError::Moving),
        state => Err(TenantError::WrongState { state, expected: State::Archived }),
    })?;
    report.missing_roles = missing.into_iter().filter(|(name, _)| report.done.contains(name)).collect();
    Ok(report)
}

/// The archived tenants, by name, with those whose purge was interrupted.
///
/// # Errors
/// The server's error.
pub fn archived(db: &mut Database) -> Result<Vec<ArchivedTenant>, Error> {
    #[derive(QueryableByName)]
    struct ArchivedRow {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Timestamptz)]
        archived_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        purge_after: Option<DateTime<Utc>>,
        #[diesel(sql_type = Bool)]
        is_due: bool,
    }
    let rows: Vec<ArchivedRow> = sql_query(
        "SELECT name, archived_at, purge_after, COALESCE(purge_after <= pg_catalog.now(), false) AS is_due \
         FROM public.schema_tracker WHERE archived_at IS NOT NULL AND state IN ('archived', 'dropping') \
         ORDER BY name COLLATE pg_catalog.\"C\"",
    )
    .load(db.connection())
    .map_err(Error::doing("read the archived tenants"))?;
    let tenant = |row: ArchivedRow| {
        let ArchivedRow { name, archived_at, purge_after, is_due } = row;
        Some(ArchivedTenant { name: name.parse().ok()?, archived_at, purge_after, is_due })
    };
    Ok(rows.into_iter().filter_map(tenant).collect())
}

/// A PL/pgSQL block for a tenant. The name comes last, because it may contain any text.
fn block(template: &str, name: &TenantName) -> String {
    let block = template.replace("$changed", CHANGED).replace("$tenant", &Literal(name.as_str()).to_string());
    format!("DO {}", Literal(&block))
}

/// Changes tenants with the statement that `judge` returns for their state; `None` leaves one unchanged.
fn change(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
    command: &'static str,
    stop: &Stop,
    judge: impl Fn(&TenantName, State) -> Result<Option<String>, TenantError>,
) -> Result<ArchiveReport, Error> {
    db.require_writable(tenancy)?;
    let names = distinct(names);
    let mut found = look_up(db.connection(), &names)?;
    let mut report = ArchiveReport::default();
    let mut changes = Vec::new();
    for name in names {
        let NameStatus { tracked, schema } = found.remove(name.as_str()).unwrap_or(NameStatus::UNUSED);
        let judged = match tracked {
            Some((tracked, state)) if tracked == name.as_str() => match schema {
                None if !state.is_of_move() => Err(TenantError::SchemaMissing { state: Some(state) }),
                _ => judge(name, state),
            },
            _ => Err(not_tracked(db.connection(), name)?),
        };
        match judged {
            Ok(Some(statement)) => {
                changes.push(TenantChange { tenant: name.clone(), guard: String::new(), statements: vec![statement] })
            }
            Ok(None) => report.unchanged.push(name.clone()),
            Err(error) => report.failed.push(FailedTenant::new(name, error)),
        }
    }
    if changes.is_empty() {
        return Ok(report);
    }
    let run = SerialRun {
        tenancy,
        command,
        doing: "change the state of the tenant",
        failed: report.failed,
        unchanged: report.unchanged.len(),
    };
    let ChangesReport { run, done, failed, not_reached, ended } = run.execute(db, changes, stop)?;
    let unchanged = report.unchanged;
    Ok(ArchiveReport { run: Some(run), done, unchanged, failed, not_reached, ended, missing_roles: Vec::new() })
}

#[derive(QueryableByName)]
struct RoleRow {
    #[diesel(sql_type = Text)]
    tenant: String,
    #[diesel(sql_type = Text)]
    role: String,
}

/// The roles other than the owner that have granted privileges on the schema of a tenant. What they have granted cannot be
/// restored as it was.
fn foreign_grantors(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
) -> Result<HashMap<String, Vec<String>>, Error> {
    let rows = roles(
        db,
        tenancy,
        names,
        "SELECT DISTINCT n.nspname::text AS tenant, pg_catalog.pg_get_userbyid(e.grantor)::text AS role \
         FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS e \
         WHERE n.nspname = ANY ($1) AND e.grantor <> n.nspowner ORDER BY 1, 2",
    )?;
    let mut grantors: HashMap<String, Vec<String>> = HashMap::new();
    for RoleRow { tenant, role } in rows {
        grantors.entry(tenant).or_default().push(role);
    }
    Ok(grantors)
}

/// The roles that had privileges on the schemas of tenants when these were archived, and that no longer exist.
fn missing_roles(
    db: &mut Database,
    tenancy: &Tenancy,
    names: &[TenantName],
) -> Result<Vec<(TenantName, String)>, Error> {
    let rows = roles(
        db,
        tenancy,
        names,
        "SELECT DISTINCT t.name AS tenant, g.value ->> 'grantee' AS role FROM public.schema_tracker AS t \
         CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(t.archived_rights -> 'grants') AS g \
         WHERE t.name = ANY ($1) AND g.value ->> 'grantee' IS NOT NULL AND NOT EXISTS ( \
         SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = (g.value ->> 'grantee')::name) ORDER BY 1, 2",
    )?;
    Ok(rows.into_iter().filter_map(|row| Some((row.tenant.parse().ok()?, row.role))).collect())
}

fn roles(db: &mut Database, tenancy: &Tenancy, names: &[TenantName], sql: &str) -> Result<Vec<RoleRow>, Error> {
    db.require_tracker(tenancy)?;
    let mut found = Vec::new();
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(TenantName::as_str).collect();
        let rows: Vec<RoleRow> = sql_query(sql)
            .bind::<Array<Text>, _>(names)
            .load(db.connection())
            .map_err(Error::doing("read the privileges on the schemas of the tenants"))?;
        found.extend(rows);
    }
    Ok(found)
}
