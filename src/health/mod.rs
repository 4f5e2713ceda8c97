//! The health check: compares every tenant with the tracker and the tenant migrations. It changes nothing.

mod archived;
mod checks;
mod finding;
mod kind_name;
mod shared;

use std::collections::{BTreeSet, HashSet};

use diesel::pg::PgConnection;

use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::MigrationSet;
use crate::model::{State, TenantName};
use crate::operations;
use crate::record::integrity;
use crate::roles;
use crate::rows::Layout;
use crate::schema::drift::{self, Drift, Stamps};
use crate::schema::reference::{self, Reference, Source};
use crate::tenants::{Fleet, Schema, Tenancy, Tenant, ledger, tracker};

pub use finding::{Finding, FindingKind};
pub use kind_name::UnknownKind;

/// The result of a health check.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// The findings: first those of the database, then those of tenants, sorted by name.
    pub findings: Vec<Finding>,
    /// The tenants whose structures were compared with the reference.
    pub drift: Drift,
    /// What was not checked.
    pub unchecked: Vec<Unchecked>,
    /// Why there is no reference, unless a finding reports it.
    pub reference_error: Option<ReferenceError>,
    /// The number of tables whose isolation was checked; `None` if tenants have schemas of their own.
    pub shared_tables: Option<usize>,
}

/// Tenants that were not checked, or a check of the database that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// The tenants, by the names in the tracker, sorted; empty for a check of the database.
    pub tenants: Vec<String>,
    /// Why.
    pub reason: String,
}

/// How the structures of tenants are checked.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Where the reference comes from.
    pub reference: Source,
    /// Whether tenants are read that have not changed since they last matched the reference.
    pub stamps: Stamps,
}

impl Health {
    /// Whether nothing failed and nothing is unchecked: no finding except warnings, and no difference of a level that fails by
    /// default.
    pub fn is_healthy(&self) -> bool {
        let has_failed = self.findings.iter().any(|finding| !finding.kind.is_warning());
        let mut differences = self.drift.groups.iter().flat_map(|group| group.differences.iter());
        !has_failed && !differences.any(|difference| difference.level.fails_by_default()) && self.unchecked.is_empty()
    }

    /// How many tenants were compared with the reference.
    pub fn checked(&self) -> usize {
        self.drift.groups.iter().map(|group| group.members.len()).sum()
    }

    /// How many tenants were not.
    pub fn unchecked_tenants(&self) -> usize {
        self.unchecked.iter().map(|unchecked| unchecked.tenants.len()).sum()
    }

    fn not_checked(&mut self, tenants: impl IntoIterator<Item = String>, reason: impl Into<String>) {
        let tenants: Vec<String> = tenants.into_iter().collect();
        if !tenants.is_empty() {
            self.unchecked.push(Unchecked { tenants, reason: reason.into() });
        }
    }
}

/// Checks the database and the tenants that `choose` selects.
///
/// Each of these tenants is compared with the reference or is unchecked, unless it is dropped in the meantime.
///
/// If tenants share tables, their isolation is checked, and the migrations of the shared schema. There is no reference then.
///
/// # Errors
/// [`Error::TrackerMissing`], [`Error::TrackerHidden`], [`Error::MissingPrivileges`], or the server's error.
pub fn check(
    db: &mut Database,
    tenancy: &Tenancy,
    options: &CheckOptions,
    choose: impl Fn(&str) -> bool,
) -> Result<Health, Error> {
    let mut health = Health::default();
    check_migrations(db, tenancy, &mut health)?;
    if let Some(layout) = Layout::of(db)? {
        shared::check(db, tenancy, &layout, &mut health)?;
        return Ok(health);
    }
    let set = tenancy.tenant_migrations();
    let mut fleet = Fleet::read(db.connection(), set)?;
    let names: HashSet<String> = fleet.tenants.iter().map(|tenant| tenant.name.as_str().to_owned()).collect();
    fleet.tenants.retain(|tenant| choose(tenant.name.as_str()));
    fleet.misnamed.retain(|misnamed| choose(&misnamed.name));
    fleet.invalid.retain(|invalid| choose(&invalid.name));
    let mut wanted = reference::wanted(&fleet.tenants);
    // A tenant that is migrated during the check is compared, too.
    wanted.insert(set.iter().map(|migration| migration.version().as_str().to_owned()).collect());
    let reference = match Reference::from_source(db, tenancy, &options.reference, &wanted) {
        Err(Error::NoReference(reason)) => Err(*reason),
        reference => Ok(reference?),
    };
    if let Err(reason @ (ReferenceError::Failed { folder, .. } | ReferenceError::ChangesOutside { folder, .. })) =
        &reference
    {
        health.findings.push(Finding::reference_failed(folder, reason));
    }
    check_surroundings(db, tenancy, reference.as_ref().ok(), &choose, &mut health)?;

    let in_progress = in_progress(db.connection(), set, &mut fleet)?;
    let mut findings: Vec<Finding> = fleet.misnamed.iter().map(Finding::bad_name).collect();
    findings.extend(fleet.invalid.iter().map(Finding::invalid_row));
    for tenant in fleet.tenants.iter().filter(|tenant| !in_progress.contains(tenant.name.as_str())) {
        checks::tenant(tenant, set, &mut findings);
    }
    let active: Vec<&str> = fleet
        .tenants
        .iter()
        .filter(|tenant| tenant.state == State::Active && matches!(tenant.schema, Schema::Ledger { .. }))
        .map(|tenant| tenant.name.as_str())
        .collect();
    for finding in roles::findings::find(db, tenancy, &active)? {
        let list = if finding.tenant.is_some() { &mut findings } else { &mut health.findings };
        list.push(Finding::role(finding));
    }
    findings.extend(archived::accessible(db, &choose)?);
    findings.sort_by(|a, b| (&a.tenant, a.kind).cmp(&(&b.tenant, b.kind)));
    health.findings.extend(findings);

    health.not_checked(fleet.misnamed.iter().map(|misnamed| misnamed.name.clone()), "the name is not a tenant name");
    health.not_checked(fleet.invalid.iter().map(|row| row.name.clone()), "the row of the tracker is invalid");
    let (busy, tenants): (Vec<&Tenant>, Vec<&Tenant>) =
        fleet.tenants.iter().partition(|tenant| in_progress.contains(tenant.name.as_str()));
    let name = |tenant: &&Tenant| tenant.name.as_str().to_owned();
    health.not_checked(busy.iter().map(name), "another run is working on the tenant");
    match reference {
        Ok(reference) => {
            let mut drift = drift::check(db, tenancy, &tenants, &reference, &names, options.stamps)?;
            for unchecked in std::mem::take(&mut drift.unchecked) {
                health.not_checked(unchecked.tenants.iter().map(|name| name.as_str().to_owned()), unchecked.reason);
            }
            health.drift = drift;
        }
        Err(reason) => {
            health.not_checked(tenants.iter().map(name), format!("no reference: {reason}"));
            if !matches!(reason, ReferenceError::Failed { .. } | ReferenceError::ChangesOutside { .. }) {
                health.reference_error = Some(reason);
            }
        }
    }
    Ok(health)
}

/// Compares the tracker and the migrations with what was applied first.
fn check_migrations(db: &mut Database, tenancy: &Tenancy, health: &mut Health) -> Result<(), Error> {
    let server = db.server().clone();
    if !server.has_tracker {
        return Err(Error::TrackerMissing { database: server.database });
    }
    tracker::require_readable(&server)?;
    let pending = tracker::pending_public(db.connection(), &server, tenancy)?;
    if pending > 0 {
        health.findings.push(Finding::tracker_behind(pending));
    } else if server.needs_ledger_upgrade() {
        health.findings.push(Finding::ledger_behind());
    }
    if server.has_recorded_migrations && !server.may_read_recorded_migrations {
        health.unchecked.push(Unchecked {
            tenants: Vec::new(),
            reason: "whether migrations have changed: this role cannot read public.schema_migration and \
                  public.schema_acceptance"
                .to_owned(),
        });
    } else {
        health.findings.extend(integrity::changes(db, tenancy)?.iter().map(Finding::migration_changed));
    }
    Ok(())
}

/// Finds objects of tenants outside of the tracked schemas.
fn check_surroundings(
    db: &mut Database,
    tenancy: &Tenancy,
    reference: Option<&Reference>,
    choose: impl Fn(&str) -> bool,
    health: &mut Health,
) -> Result<(), Error> {
    let server = db.server().clone();
    let spares = operations::spare_schemas(db)?;
    let conn = db.connection();
    if server.has_recorded_migrations && server.may_read_recorded_migrations {
        let mut applied = BTreeSet::new();
        if server.has_public_ledger {
            applied.extend(ledger::public::read_own(conn)?);
        }
        let unreadable = match ledger::public::read_diesel(conn) {
            Ok(Some(diesels)) => {
                applied.extend(diesels);
                None
            }
            Ok(None) => Some("this role cannot read it".to_owned()),
            Err(error @ Error::LedgerUnusable { .. }) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Some(reason) = unreadable {
            let reason = format!("whether public.{} records tenant migrations: {reason}", ledger::TABLE);
            health.unchecked.push(Unchecked { tenants: Vec::new(), reason });
        }
        let stray = checks::tenant_migrations_in_public(conn, &applied, tenancy)?;
        let ever = reference.map(Reference::tables_ever).unwrap_or_default();
        health.findings.extend(checks::tables_in_public(conn, &stray, &ever, tenancy)?);
        health.findings.extend(checks::ledger_in_public(stray));
    }
    let tables = reference.map(Reference::tables_now).unwrap_or_default();
    let orphans = operations::orphans(conn, tenancy.tenant_migrations(), &tables, &spares)?;
    health.findings.extend(orphans.iter().filter(|orphan| choose(orphan.name.as_str())).map(Finding::orphan));
    Ok(())
}

/// The tenants in a transitional state that a session is working on. The others are read again, because they may have been
/// finished since.
fn in_progress(conn: &mut PgConnection, set: &MigrationSet, fleet: &mut Fleet) -> Result<HashSet<String>, Error> {
    let mut busy = checks::in_progress(conn, fleet)?;
    let idle: Vec<TenantName> = fleet
        .tenants
        .iter()
        .filter(|tenant| checks::is_transitional(tenant) && !busy.contains(tenant.name.as_str()))
        .map(|tenant| tenant.name.clone())
        .collect();
    if !idle.is_empty() {
        let again = Fleet::read_some(conn, set, &idle)?;
        busy.extend(checks::in_progress(conn, &again)?);
        fleet.tenants.retain(|tenant| idle.binary_search(&tenant.name).is_err());
        fleet.tenants.extend(again.tenants);
        fleet.tenants.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(busy)
}
