//! The reference: the structure that the tenant migrations produce, at each version that tenants are at.
//!
//! It is made by the migrations themselves ([`Reference::make`]); or it is an existing tenant's structure
//! ([`Reference::of_tenant`]), or one that was saved ([`Reference::load`]).

mod committed;
mod confined;
mod file;
mod owner;
mod replay;
mod scratch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::MigrationSet;
use crate::model::TenantName;
use crate::schema::structure::{self, Structure};
use crate::tenants::{Tenancy, Tenant};

/// The versions of the migrations that have been applied, in order: what a ledger records.
pub type Applied = Vec<String>;

/// The structure that the tenant migrations produce.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The tables after the first n migrations, for each n from 0; of a tenant or a file, those that it has.
    tables: Vec<BTreeSet<String>>,
    /// With markers where the schema's own name was, which only that of a tenant keeps. The keys have no retired versions.
    structures: BTreeMap<Applied, Structure>,
    /// The migrations that it was made for. Their retired versions make no difference to the structure.
    set: MigrationSet,
}

/// Where the reference comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// The tenant migrations make it.
    #[default]
    Migrations,
    /// It is the structure of a tenant.
    Tenant(TenantName),
    /// It was saved.
    File(PathBuf),
}

impl Reference {
    /// Replays the tenant migrations in an empty schema, and reads the structure after each of the `wanted` sets of
    /// migrations. Nothing is left in the database.
    ///
    /// The migrations run in a transaction that is rolled back. If one of them needs a commit before it, they run in a
    /// schema of their own, each committed, and the schema is dropped afterwards. If this process is killed meanwhile, the
    /// next replay drops the schema. A migration that changes objects outside the schema is never committed.
    ///
    /// # Errors
    /// The server's error for one of tenantry's own statements. An unavailable reference is the inner result.
    pub fn make(
        db: &mut Database,
        tenancy: &Tenancy,
        wanted: &BTreeSet<Applied>,
    ) -> Result<Result<Self, ReferenceError>, Error> {
        let set = tenancy.tenant_migrations();
        let wanted = wanted.iter().map(|applied| without_retired(applied, set)).collect();
        replay::make(db, tenancy, &wanted)
    }

    /// The reference from any source; see [`Reference::make`], [`Reference::of_tenant`] and [`Reference::load`].
    ///
    /// # Errors
    /// Theirs.
    pub fn from_source(
        db: &mut Database,
        tenancy: &Tenancy,
        source: &Source,
        wanted: &BTreeSet<Applied>,
    ) -> Result<Result<Self, ReferenceError>, Error> {
        match source {
            Source::Migrations => Self::make(db, tenancy, wanted),
            Source::Tenant(name) => Self::of_tenant(db, tenancy, name).map(Ok),
            Source::File(path) => {
                let loaded = Self::load(path, db.server().version)?;
                Ok(Ok(loaded.for_set(tenancy.tenant_migrations())))
            }
        }
    }

    /// The tables that all migrations together produce; none where that cannot be found out.
    ///
    /// # Errors
    /// As [`Reference::make`].
    pub fn tables(db: &mut Database, tenancy: &Tenancy) -> Result<Vec<String>, Error> {
        Ok(Self::make(db, tenancy, &BTreeSet::new())?.map(|reference| reference.tables_now()).unwrap_or_default())
    }

    /// A tenant's structure, which serves as reference for tenants with the same migrations.
    ///
    /// # Errors
    /// [`Error::Tenant`], [`Error::CannotCompare`], or what the server answered.
    pub fn of_tenant(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<Self, Error> {
        let (structure, ledger) = structure::read_with_ledger(db, tenancy, name)?;
        let reference = Self::of_one(ledger.applied.clone(), structure.with_its_name_marked());
        Ok(reference.for_set(tenancy.tenant_migrations()))
    }

    /// The same for ledgers of a set: versions that the set has retired make no difference.
    fn for_set(mut self, set: &MigrationSet) -> Self {
        self.structures = self
            .structures
            .into_iter()
            .map(|(applied, structure)| (without_retired(&applied, set), structure))
            .collect();
        self.set = set.clone();
        self
    }

    /// The reference of those that have just these migrations.
    fn of_one(applied: Applied, structure: Structure) -> Self {
        Self {
            tables: vec![structure.tables().map(str::to_owned).collect()],
            structures: BTreeMap::from([(applied, structure)]),
            set: MigrationSet::none(),
        }
    }

    /// The tables that all migrations together produce.
    pub fn tables_now(&self) -> Vec<String> {
        self.tables.last().into_iter().flatten().cloned().collect()
    }

    /// Every table that some migration produces, also those that a later one drops.
    pub fn tables_ever(&self) -> BTreeSet<String> {
        self.tables.iter().flatten().cloned().collect()
    }

    /// The structure to compare a tenant with whose ledger records `applied`, if known.
    pub fn structure(&self, applied: &[String]) -> Option<&Structure> {
        self.structures.get(&self.selecting(applied))
    }

    /// The versions that select the structure of a ledger that records `applied`: all but the retired ones.
    pub(crate) fn selecting(&self, applied: &[String]) -> Applied {
        without_retired(applied, &self.set)
    }

    /// The structures that it has, by what a ledger records.
    pub fn structures(&self) -> impl Iterator<Item = (&Applied, &Structure)> {
        self.structures.iter()
    }
}

/// What a ledger records, without the versions that were accepted as removed: later migrations contain what they did.
fn without_retired(applied: &[String], set: &MigrationSet) -> Applied {
    applied.iter().filter(|version| !set.is_retired(version)).cloned().collect()
}

/// What the ledgers of tenants record, where a reference can be made for it.
pub fn wanted<'a>(tenants: impl IntoIterator<Item = &'a Tenant>) -> BTreeSet<Applied> {
    tenants.into_iter().filter_map(applied).cloned().collect()
}

/// What the ledger of a tenant records, where a reference can be made for it: the set knows all of its migrations.
pub fn applied(tenant: &Tenant) -> Option<&Applied> {
    tenant.ledger().filter(|ledger| ledger.unknown.is_empty()).map(|ledger| &ledger.applied)
}
