//! The complete reset of a database: drops every tenant, then reverts the public migrations, then drops the public ledger.

use super::drop::{self, DropPlan, DropReport, IfMissing, Untracked, drop_tenants};
use crate::database::{Database, Stop};
use crate::error::Error;
use crate::model::SchemaName;
use crate::operations::migrate::{self, StopReason};
use crate::record::integrity;
use crate::roles;
use crate::run::Observer;
use crate::schema::reference::Reference;
use crate::tenants::Tenancy;
use crate::tenants::ledger::public;
use crate::tenants::tracker::schema_tracker;

use diesel::prelude::*;

/// What [`cleanup`] will do; a dry run only shows it.
#[derive(Debug)]
pub struct CleanupPlan {
    /// The database.
    pub database: String,
    /// The tenants to drop, with the orphaned schemas if asked for.
    pub tenants: DropPlan,
    /// The spare schemas to drop, which no tenant has taken.
    pub spares: Vec<SchemaName>,
    /// The folders of the public migrations to revert, newest first.
    pub public: Vec<String>,
    /// The versions of the public migrations that are not reverted because Diesel's ledger records them too, so that they
    /// belong to diesel_cli.
    pub kept: Vec<String>,
    /// How many versions the public ledger records that are not in the set of public migrations. They are not reverted,
    /// and the public ledger is kept for them.
    pub foreign_versions: usize,
    /// Whether the database has a public ledger, or public migrations recorded in Diesel's ledger by an earlier release.
    pub has_ledger: bool,
}

impl CleanupPlan {
    /// Whether the plan is empty.
    pub fn is_empty(&self) -> bool {
        let nothing_of_tenants = self.tenants.drops.is_empty() && self.tenants.failed.is_empty();
        nothing_of_tenants
            && self.spares.is_empty()
            && self.public.is_empty()
            && !(self.has_ledger && self.foreign_versions == 0)
    }
}

/// How [`plan_cleanup`] treats orphaned schemas, which were never tracked but look like a tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// They are kept.
    Keep,
    /// They are dropped, too.
    Drop,
}

/// What [`cleanup`] did.
#[derive(Debug, Default)]
pub struct CleanupReport {
    /// The tenants dropped and those that failed. Unless all are dropped, no public migration is reverted.
    pub tenants: DropReport,
    /// The number of spare schemas dropped.
    pub spares: usize,
    /// The folders of the public migrations reverted, newest first.
    pub reverted: Vec<String>,
    /// The group of the tenants' roles, which was dropped.
    pub group: Option<String>,
    /// Whether the public ledger was dropped.
    pub ledger_dropped: bool,
    /// The error that stopped the public migrations from being reverted.
    pub failed: Option<Error>,
}

/// Plans a cleanup. Writes nothing.
///
/// # Errors
/// [`Error::NoDown`], [`Error::Standby`], [`Error::MigrationsChanged`], or the server's error.
pub fn plan_cleanup(db: &mut Database, tenancy: &Tenancy, orphans: Orphans) -> Result<CleanupPlan, Error> {
    db.require_primary(tenancy)?;
    integrity::check(db, tenancy)?;
    let set = tenancy.public_migrations();
    let ledger = public::read(db.connection(), tenancy)?;
    let to_revert = migrate::to_revert(tenancy, &ledger)?;
    let public = to_revert.into_iter().map(|index| set.at(index).folder().to_owned()).collect();
    let is_foreign = |version: &&String| set.position(version).is_none() && !ledger.shared.contains(*version);
    let foreign_versions = ledger.applied.iter().filter(is_foreign).count();
    let is_applied = |version: &String| ledger.applied.contains(version);
    let kept = ledger.shared.iter().filter(|version| is_applied(version)).cloned().collect();
    let spares = if db.server().has_tracker { super::spare_schemas(db)? } else { Vec::new() };
    let tenants = if db.server().has_tracker {
        plan_tenants(db, tenancy, orphans, &spares)?
    } else {
        // An earlier cleanup was interrupted after it reverted the tracker.
        DropPlan::default()
    };
    Ok(CleanupPlan {
        database: db.server().database.clone(),
        tenants,
        spares,
        public,
        kept,
        foreign_versions,
        has_ledger: ledger.exists || !ledger.applied.is_empty(),
    })
}

fn plan_tenants(
    db: &mut Database,
    tenancy: &Tenancy,
    orphans: Orphans,
    spares: &[SchemaName],
) -> Result<DropPlan, Error> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .filter(schema_tracker::name.is_not_null())
        .order(schema_tracker::name)
        .load(db.connection())
        .map_err(Error::doing("read the tracker"))?;
    let mut names: Vec<SchemaName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let untracked = match orphans {
        Orphans::Keep => Untracked::Refuse,
        Orphans::Drop => Untracked::Drop,
    };
    if orphans == Orphans::Drop {
        let tables = Reference::tables(db, tenancy)?;
        let found = super::orphans(db.connection(), tenancy.tenant_migrations(), &tables, spares)?;
        names.extend(found.into_iter().map(|orphan| orphan.name));
    }
    drop::plan(db, &names, untracked, IfMissing::Accept)
}

/// Carries out a plan. If it is interrupted or a tenant fails, plan and run it again.
///
/// # Errors
/// If commits cannot be made durable. Other errors are in the report.
pub fn cleanup(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: CleanupPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<CleanupReport, Error> {
    let spares = super::prewarm::drop_all(db.connection(), tenancy, &plan.spares)?;
    let mut tenants = drop_tenants(db, tenancy, plan.tenants, stop, observer)?;
    if stop.is_requested() {
        tenants.ended.get_or_insert(StopReason::Interrupted);
    }
    let reached = tenants.unfinished.is_empty() && tenants.not_reached.is_empty();
    let all_gone = tenants.failed.is_empty() && reached && !stop.is_requested();
    if !all_gone {
        let (reverted, failed) = (Vec::new(), None);
        return Ok(CleanupReport { tenants, spares, group: None, reverted, ledger_dropped: false, failed });
    }
    let group = match roles::drop_group(db) {
        Ok(group) => group,
        Err(error) => {
            let (reverted, failed) = (Vec::new(), Some(error));
            return Ok(CleanupReport { tenants, spares, group: None, reverted, ledger_dropped: false, failed });
        }
    };
    let mut reverted = Vec::new();
    let dropped = migrate::revert_public(db, tenancy, stop, &mut reverted);
    let ledger_dropped = matches!(dropped, Ok(true));
    Ok(CleanupReport { tenants, spares, group, reverted, ledger_dropped, failed: dropped.err() })
}
