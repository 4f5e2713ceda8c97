//! The reference: the structure that the tenant migrations produce, at each version that tenants are at.
//!
//! The migrations produce it ([`Reference::make`]), or it is an existing tenant's structure ([`Reference::of_tenant`]), or
//! it is read from a file ([`Reference::load`]).

mod committed;
mod confined;
mod file;
mod leftovers;
mod make;
mod owner;
mod replay;
mod scratch;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::database::Database;
use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::TenantName;
use crate::schema::structure::{self, Structure};
use crate::tenants::{Tenancy, Tenant};

/// The versions of applied migrations, in order, as in a ledger.
pub type Applied = Vec<String>;

/// The structure that the tenant migrations produce.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The tables after the first n migrations, for each n from 0; only the tables of the structure for a tenant or a file.
    tables: Vec<BTreeSet<String>>,
    /// By applied migrations without retired versions. Markers stand for the schema's name, which only the structure of a
    /// tenant keeps.
    structures: BTreeMap<Applied, Structure>,
    /// The migrations for which it was made. Retired versions do not affect the structure.
    set: MigrationSet,
}

/// The source of a reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// The result of the tenant migrations.
    #[default]
    Migrations,
    /// The structure of a tenant.
    Tenant(TenantName),
    /// A file that `reference --output` wrote.
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
    /// [`Error::NoReference`] with the reason, or the server's error.
    pub fn make(db: &mut Database, tenancy: &Tenancy, wanted: &BTreeSet<Applied>) -> Result<Self, Error> {
        let set = tenancy.tenant_migrations();
        let wanted = wanted.iter().map(|applied| without_retired(applied, set)).collect();
        make::make(db, tenancy, &wanted)
    }

    /// Makes or reads the reference from a source.
    ///
    /// # Errors
    /// Those of [`Reference::make`], [`Reference::of_tenant`] and [`Reference::load`].
    pub fn from_source(
        db: &mut Database,
        tenancy: &Tenancy,
        source: &Source,
        wanted: &BTreeSet<Applied>,
    ) -> Result<Self, Error> {
        match source {
            Source::Migrations => Self::make(db, tenancy, wanted),
            Source::Tenant(name) => Self::of_tenant(db, tenancy, name),
            Source::File(path) => {
                let loaded = Self::load(path, db.server().version)?;
                Ok(loaded.for_set(tenancy.tenant_migrations()))
            }
        }
    }

    /// The tables that all migrations together produce; none if there is no reference.
    ///
    /// # Errors
    /// The server's error.
    pub fn tables(db: &mut Database, tenancy: &Tenancy) -> Result<Vec<String>, Error> {
        match Self::make(db, tenancy, &BTreeSet::new()) {
            Ok(reference) => Ok(reference.tables_now()),
            Err(Error::NoReference(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// A reference from the structure of a tenant, for tenants with the same migrations.
    ///
    /// # Errors
    /// [`Error::Tenant`], [`Error::CannotCompare`], or the server's error.
    pub fn of_tenant(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<Self, Error> {
        let (structure, ledger) = structure::read_with_ledger(db, tenancy, name)?;
        let reference = Self::of_one(ledger.effective.clone(), structure.with_name_marked());
        Ok(reference.for_set(tenancy.tenant_migrations()))
    }

    /// The same reference for the ledgers of a set, ignoring the versions that the set has retired.
    fn for_set(mut self, set: &MigrationSet) -> Self {
        self.structures = self
            .structures
            .into_iter()
            .map(|(applied, structure)| (without_retired(&applied, set), structure))
            .collect();
        self.set = set.clone();
        self
    }

    /// The reference of tenants with exactly these migrations.
    pub(crate) fn of_one(applied: Applied, structure: Structure) -> Self {
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

    /// Every table that some migration produces, including those that a later one drops.
    pub fn tables_ever(&self) -> BTreeSet<String> {
        self.tables.iter().flatten().cloned().collect()
    }

    /// The expected structure of a tenant whose ledger records `applied`; `None` if it is not known.
    pub fn structure(&self, applied: &[String]) -> Option<&Structure> {
        self.structures.get(&self.selecting(applied))
    }

    /// The key of the structure of a tenant whose ledger records `applied`: the versions without the retired ones.
    pub(crate) fn selecting(&self, applied: &[String]) -> Applied {
        without_retired(applied, &self.set)
    }

    /// The structures, by applied migrations.
    pub fn structures(&self) -> impl Iterator<Item = (&Applied, &Structure)> {
        self.structures.iter()
    }
}

pub(crate) use make::{Products, products};
pub(crate) use scratch::name as scratch_name;
pub(crate) use transaction::ROLL_BACK;

/// The applied versions without the retired ones, whose effects later migrations contain.
fn without_retired(applied: &[String], set: &MigrationSet) -> Applied {
    applied.iter().filter(|version| !set.is_retired(version)).cloned().collect()
}

/// The sets of applied migrations of tenants for which a reference can be made.
pub fn wanted<'a>(tenants: impl IntoIterator<Item = &'a Tenant>) -> BTreeSet<Applied> {
    tenants.into_iter().filter_map(applied).cloned().collect()
}

/// The applied migrations of a tenant for which a reference can be made: the set contains all of them.
pub fn applied(tenant: &Tenant) -> Option<&Applied> {
    tenant.ledger().filter(|ledger| ledger.unknown.is_empty()).map(|ledger| &ledger.effective)
}
