//! The sizes of tenants, and when they were last changed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::sizes::{Size, measure};
use crate::database::Database;
use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::{State, TenantName};
use crate::postgres::CHUNK;
use crate::record::runs;
use crate::tenants::{Fleet, Tenant};

/// The sizes of the tenants.
#[derive(Debug, Clone, Default)]
pub struct FleetStats {
    /// The tenants, sorted by name.
    pub tenants: Vec<TenantStats>,
    /// Whether sizes are estimates, from `pg_class.relpages`: of more than 500 tenants, or where a session held a lock on a
    /// table.
    pub sizes_estimated: bool,
}

/// A tenant with its size.
#[derive(Debug, Clone)]
pub struct TenantStats {
    /// The name.
    pub name: TenantName,
    /// The state in the tracker.
    pub state: State,
    /// The newest version in its ledger; `None` without a ledger that can be read.
    pub version: Option<String>,
    /// When a recorded run last changed the tenant.
    pub changed_at: Option<DateTime<Utc>>,
    /// The contents of the schema; `None` if it does not exist or its ledger cannot be read.
    pub size: Option<TenantSize>,
}

/// The contents of a tenant's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantSize {
    /// The number of tables without the ledger.
    pub tables: i64,
    /// The number of rows, estimated by the last ANALYZE.
    pub estimated_rows: i64,
    /// The number of dead rows, by the statistics of the server.
    pub dead_rows: i64,
    /// The size of tables, indexes and materialized views on disk in bytes.
    pub bytes: i64,
}

/// Reads the sizes of the tenants that `choose` selects. Changes nothing.
///
/// # Errors
/// [`Error::TrackerMissing`] and other errors of [`Fleet::read`], or the server's error.
pub fn stats(db: &mut Database, choose: impl Fn(&str) -> bool) -> Result<FleetStats, Error> {
    let mut fleet = Fleet::read(db.connection(), &MigrationSet::none())?;
    fleet.tenants.retain(|tenant| choose(tenant.name.as_str()));
    let changed = if db.server().has_runs { runs::last_changes(db.connection())? } else { HashMap::new() };
    let oids: Vec<u32> = fleet.tenants.iter().filter_map(Tenant::schema_oid).collect();
    let mut stats = FleetStats::default();
    let mut sizes: HashMap<u32, TenantSize> = HashMap::with_capacity(oids.len());
    for chunk in oids.chunks(CHUNK) {
        let measured = measure(db.connection(), chunk, oids.len()).map_err(Error::doing("measure the schemas"))?;
        stats.sizes_estimated |= measured.estimated;
        sizes.extend(measured.sizes.into_iter().map(|Size { oid, tables, estimated_rows, dead_rows, bytes }| {
            (oid, TenantSize { tables, estimated_rows, dead_rows, bytes })
        }));
    }
    stats.tenants = fleet
        .tenants
        .into_iter()
        .map(|tenant| TenantStats {
            version: tenant.ledger().and_then(|ledger| ledger.version()).map(str::to_owned),
            changed_at: changed.get(tenant.name.as_str()).copied(),
            size: tenant.schema_oid().and_then(|oid| sizes.get(&oid).copied()),
            name: tenant.name,
            state: tenant.state,
        })
        .collect();
    Ok(stats)
}
