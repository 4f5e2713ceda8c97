//! The complete reset of a database: every tenant, then the public migrations, then the public ledger.

use super::drop::{self, DropPlan, DropReport, IfMissing, drop_tenants};
use super::orphans;
use crate::database::Database;
use crate::error::Error;
use crate::integrity;
use crate::ledger::{self, Ledger};
use crate::migration::Kind;
use crate::migrator::{self, Ended};
use crate::name::SchemaName;
use crate::reference::Reference;
use crate::tenancy::Tenancy;
use crate::tracker::schema_tracker;
use crate::workers::{Observer, Stop};

use diesel::prelude::*;

/// What [`cleanup`] does. Showing it is a dry run.
#[derive(Debug)]
pub struct CleanupPlan {
    /// The database.
    pub database: String,
    /// The tenants that go, and the orphans where asked for.
    pub tenants: DropPlan,
    /// The folders of the public migrations that are reverted, newest first.
    pub public: Vec<String>,
    /// How many versions the public ledger records that are none of the public migrations; they stay, and so does it.
    pub foreign_versions: usize,
    /// Whether there is a public ledger.
    pub has_ledger: bool,
}

impl CleanupPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let nothing_of_tenants = self.tenants.drops.is_empty() && self.tenants.failed.is_empty();
        nothing_of_tenants && self.public.is_empty() && !(self.has_ledger && self.foreign_versions == 0)
    }
}

/// What [`cleanup`] did.
#[derive(Debug, Default)]
pub struct CleanupReport {
    /// What became of the tenants. Unless all are gone, the rest was not begun.
    pub tenants: DropReport,
    /// The public migrations reverted, newest first.
    pub reverted: Vec<String>,
    /// Whether the public ledger is gone.
    pub ledger_dropped: bool,
    /// Why the public migrations are not all reverted.
    pub failed: Option<Error>,
}

/// Looks at what goes: nothing that was never tracked, unless `include_orphans`.
///
/// # Errors
/// [`Error::NoDown`], [`Error::Standby`], [`Error::MigrationsChanged`], or what the server answered.
pub fn plan_cleanup(db: &mut Database, tenancy: &Tenancy, include_orphans: bool) -> Result<CleanupPlan, Error> {
    db.require_primary(tenancy)?;
    integrity::check(db, tenancy)?;
    let set = tenancy.public_migrations();
    let ledger = Ledger::new(ledger::read_public(db.connection())?, set);
    let mut public = Vec::new();
    for index in (0..set.len()).rev().filter(|index| !ledger.pending.contains(index)) {
        let migration = set.at(index);
        if migration.down().is_none() {
            return Err(Error::NoDown { kind: Kind::Public, folder: migration.folder().to_owned() });
        }
        public.push(migration.folder().to_owned());
    }
    let tenants = match db.server().has_tracker {
        true => plan_tenants(db, tenancy, include_orphans)?,
        // An earlier cleanup came as far as this.
        false => DropPlan::default(),
    };
    let foreign_versions = ledger.unknown.len();
    Ok(CleanupPlan {
        database: db.server().database.clone(),
        tenants,
        public,
        foreign_versions,
        has_ledger: db.server().has_public_ledger,
    })
}

fn plan_tenants(db: &mut Database, tenancy: &Tenancy, include_orphans: bool) -> Result<DropPlan, Error> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .order(schema_tracker::name)
        .load(db.connection())
        .map_err(Error::doing("read the tracker"))?;
    let mut names: Vec<SchemaName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if include_orphans {
        let tables = Reference::tables(db, tenancy)?;
        let found = orphans(db.connection(), tenancy.tenant_migrations(), &tables)?;
        names.extend(found.into_iter().map(|orphan| orphan.name));
    }
    drop::plan(db, &names, include_orphans, IfMissing::Accept)
}

/// Carries out a plan. When it is interrupted, or a tenant fails, it is simply planned and run again.
///
/// # Errors
/// When the commits could not be made durable. What else goes wrong is in the report.
pub fn cleanup(
    db: &mut Database,
    tenancy: &Tenancy,
    plan: CleanupPlan,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<CleanupReport, Error> {
    let had_ledger = plan.has_ledger;
    let mut tenants = drop_tenants(db, tenancy, plan.tenants, stop, observer)?;
    if stop.is_requested() {
        tenants.ended.get_or_insert(Ended::Interrupted);
    }
    let reached = tenants.unfinished.is_empty() && tenants.not_reached.is_empty();
    let all_gone = tenants.failed.is_empty() && reached && !stop.is_requested();
    if !all_gone {
        return Ok(CleanupReport { tenants, reverted: Vec::new(), ledger_dropped: false, failed: None });
    }
    let mut reverted = Vec::new();
    let others = migrator::revert_public(db, tenancy, &mut reverted);
    let ledger_dropped = had_ledger && matches!(others, Ok(0));
    Ok(CleanupReport { tenants, reverted, ledger_dropped, failed: others.err() })
}
