//! The health check: whether every tenant is as the tracker and the tenant migrations say. It changes nothing.

mod checks;
mod finding;

use std::collections::HashSet;

use diesel::pg::PgConnection;

use crate::database::Database;
use crate::drift::{self, Drift, NotCompared, Stamps};
use crate::error::Error;
use crate::fleet::{Fleet, Tenant};
use crate::migration::MigrationSet;
use crate::name::TenantName;
use crate::reference::{self, Reference, Source, Unavailable};
use crate::tenancy::Tenancy;
use crate::tracker::State;
use crate::{integrity, ledger, lifecycle, tracker};

pub use finding::{Finding, Kind, UnknownKind};

/// What a health check found.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// How many tenants were checked.
    pub checked: usize,
    /// What is amiss: first with the database, then tenant by tenant in the order of names.
    pub findings: Vec<Finding>,
    /// The tenants' structures held against the reference.
    pub drift: Drift,
    /// What could not be checked, and why; nothing is known to be amiss with it.
    pub unchecked: Vec<String>,
}

/// How the structures of tenants are checked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What they are held against.
    pub reference: Source,
    /// Whether those that have not been touched since the last check are read again.
    pub stamps: Stamps,
}

/// Checks the database and those tenants that `choose` picks.
///
/// # Errors
/// [`Error::TrackerMissing`], or what the server answered.
pub fn check(
    db: &mut Database,
    tenancy: &Tenancy,
    options: &Options,
    choose: impl Fn(&str) -> bool,
) -> Result<Health, Error> {
    let mut health = Health::default();
    let server = db.server().clone();
    if !server.has_tracker {
        return Err(Error::TrackerMissing { database: server.database });
    }
    if server.tracker_is_hidden {
        return Err(Error::TrackerHidden);
    }
    let pending = tracker::pending_public(db.connection(), &server, tenancy)?;
    if pending > 0 {
        health.findings.push(Finding::tracker_behind(pending));
    }
    match server.has_recorded_migrations && !server.may_read_recorded_migrations {
        true => health.unchecked.push(
            "whether the migrations are as they were first applied: this role may not read public.schema_migration and \
             public.schema_acceptance"
                .to_owned(),
        ),
        false => health.findings.extend(integrity::changes(db, tenancy)?.iter().map(Finding::migration_changed)),
    }
    let set = tenancy.tenant_migrations();
    let mut fleet = Fleet::read(db.connection(), set)?;
    let names: HashSet<String> = fleet.tenants.iter().map(|tenant| tenant.name.as_str().to_owned()).collect();
    fleet.tenants.retain(|tenant| choose(tenant.name.as_str()));
    fleet.misnamed.retain(|misnamed| choose(&misnamed.name));
    let wanted = reference::wanted(&fleet.tenants);
    let reference = match Reference::from_source(db, tenancy, &options.reference, &wanted)? {
        Ok(reference) => Some(reference),
        Err(why) => {
            match &why {
                Unavailable::NotAllowed(_) => health.unchecked.push(format!("the structures of the tenants: {why}")),
                Unavailable::Failed { folder, .. } => {
                    health.findings.push(Finding::reference_failed(folder, why.to_string()));
                }
            }
            None
        }
    };
    let tables = reference.as_ref().map(Reference::tables_now).unwrap_or_default();
    let ever = reference.as_ref().map(Reference::tables_ever).unwrap_or_default();
    let conn = db.connection();
    health.findings.extend(checks::tables_in_public(conn, &ever, tenancy.public_migrations())?);
    let public = ledger::read_public(conn)?;
    health.findings.extend(checks::ledger_in_public(&public, tenancy));
    for orphan in lifecycle::orphans(conn, set, &tables)?.iter().filter(|orphan| choose(orphan.name.as_str())) {
        health.findings.push(Finding::orphan(orphan));
    }

    let under_way = passing(conn, set, &mut fleet)?;
    health.checked = fleet.tenants.len() + fleet.misnamed.len();
    let mut findings: Vec<Finding> = fleet.misnamed.iter().map(Finding::bad_name).collect();
    for tenant in &fleet.tenants {
        checks::tenant(tenant, set, under_way.contains(tenant.name.as_str()), &mut findings);
    }
    findings.sort_by(|a, b| (&a.tenant, a.kind).cmp(&(&b.tenant, b.kind)));
    health.findings.extend(findings);
    if let Some(reference) = &reference {
        let settled = |tenant: &&Tenant| tenant.state == State::Active && !under_way.contains(tenant.name.as_str());
        let tenants: Vec<&Tenant> = fleet.tenants.iter().filter(settled).collect();
        health.drift = drift::check(db, tenancy, &tenants, reference, &names, options.stamps)?;
        for NotCompared { tenants, why } in &health.drift.not_compared {
            health.unchecked.push(format!("the structure of {}: {why}", list(tenants)));
        }
    }
    Ok(health)
}

/// Some names, and how many more.
fn list(tenants: &[TenantName]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<&str> = tenants.iter().take(SHOWN).map(TenantName::as_str).collect();
    match tenants.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Those tenants in a passing state that a session is working on. Of the others, some may have been finished since they
/// were read: they are looked at again.
fn passing(conn: &mut PgConnection, set: &MigrationSet, fleet: &mut Fleet) -> Result<HashSet<String>, Error> {
    let mut under_way = checks::under_way(conn, fleet)?;
    let suspects: Vec<TenantName> = fleet
        .tenants
        .iter()
        .filter(|tenant| checks::is_passing(tenant) && !under_way.contains(tenant.name.as_str()))
        .map(|tenant| tenant.name.clone())
        .collect();
    if !suspects.is_empty() {
        let again = Fleet::read_some(conn, set, &suspects)?;
        under_way.extend(checks::under_way(conn, &again)?);
        fleet.tenants.retain(|tenant| suspects.binary_search(&tenant.name).is_err());
        fleet.tenants.extend(again.tenants);
        fleet.tenants.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(under_way)
}
