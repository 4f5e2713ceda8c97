//! One tenant held against the reference, or against another.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use diesel::prelude::*;

use super::compare::compare;
use super::difference::Difference;
use crate::database::Database;
use crate::error::Error;
use crate::failure::TenantError;
use crate::fleet::{Fleet, Schema};
use crate::ledger::Ledger;
use crate::lifecycle;
use crate::name::TenantName;
use crate::reference::{Reference, Source};
use crate::structure::{self, Structure};
use crate::tenancy::Tenancy;
use crate::tracker::{State, schema_tracker};

/// In what one tenant differs.
#[derive(Debug, Clone)]
pub struct Diff {
    /// Its schema's name as the server quotes it.
    pub own_name: String,
    /// The differences, in the order of kinds and names.
    pub differences: Vec<Difference>,
}

/// A tenant's structure, and what it is to be.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The reference that it is held against.
    pub reference: Reference,
    /// What its ledger records.
    pub applied: Vec<String>,
    /// Its structure.
    pub structure: Structure,
    /// The names of all tenants.
    pub names: HashSet<String>,
}

impl Compared {
    /// What the tenant is held against.
    pub fn expected(&self) -> Option<&Structure> {
        self.reference.structure(&self.applied)
    }

    /// In what it differs.
    pub fn diff(&self) -> Diff {
        let differences =
            self.expected().map(|expected| compare(expected, &self.structure, &self.names)).unwrap_or_default();
        Diff { own_name: self.structure.own_name.clone(), differences }
    }
}

/// Reads a tenant, and the reference at the migrations that the tenant has.
///
/// # Errors
/// [`Error::Tenant`] or [`Error::CannotCompare`] when one of the two is not to be had, or what the server answered.
pub fn against_reference(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    source: &Source,
) -> Result<Compared, Error> {
    let (structure, ledger) = read_tenant(db, tenancy, name)?;
    if !ledger.unknown.is_empty() {
        return Err(cannot(name, "its ledger records migrations that are none of the tenant migrations"));
    }
    let applied = ledger.applied.clone();
    let reference = Reference::from_source(db, tenancy, source, &BTreeSet::from([applied.clone()]))?
        .map_err(|why| cannot(name, &why.to_string()))?;
    if reference.structure(&applied).is_none() {
        return Err(cannot(name, "there is no reference for the migrations that it has"));
    }
    Ok(Compared { reference, applied, structure, names: names(db)? })
}

/// Reads two tenants; the second one is what the first is held against, whichever migrations they have.
///
/// # Errors
/// As [`against_reference`].
pub fn against_tenant(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    other: &TenantName,
) -> Result<Compared, Error> {
    let (structure, _) = read(db, tenancy, name)?;
    let reference = Reference::of_tenant(db, tenancy, other)?;
    let applied = reference.structures().next().map(|(applied, _)| applied.clone()).unwrap_or_default();
    Ok(Compared { reference, applied, structure, names: names(db)? })
}

/// A tenant's structure, and its ledger, without which nothing tells what the structure is to be.
pub(crate) fn read_tenant(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<(Structure, Arc<Ledger>), Error> {
    match read(db, tenancy, name)? {
        (structure, Schema::Ledger { ledger, .. }) => Ok((structure, ledger)),
        (_, Schema::NoLedger { empty: true, .. }) => Err(cannot(name, "its schema is empty")),
        _ => Err(amiss(name, TenantError::LedgerMissing)),
    }
}

/// A tenant's structure, and what was found of its schema.
fn read(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<(Structure, Schema), Error> {
    let fleet = Fleet::read_some(db.connection(), tenancy.tenant_migrations(), std::slice::from_ref(name))?;
    let Some(tenant) = fleet.get(name) else {
        let schema_exists = lifecycle::schema_exists(db, name)?;
        return Err(amiss(name, TenantError::NotTracked { schema_exists }));
    };
    if tenant.state == State::Dropping {
        return Err(amiss(name, TenantError::Dropping));
    }
    let oid = match tenant.schema {
        Schema::Missing => return Err(amiss(name, TenantError::SchemaMissing { state: Some(tenant.state) })),
        Schema::Unreadable => return Err(amiss(name, TenantError::Unreadable)),
        Schema::NoLedger { oid, .. } | Schema::Ledger { oid, .. } => oid,
    };
    let version = db.server().version;
    let mut read = structure::read(db.connection(), version, &[oid])?;
    let structure = read.remove(&oid).ok_or_else(|| cannot(name, "it was dropped meanwhile"))?;
    Ok((structure, tenant.schema.clone()))
}

/// The names of all tenants.
fn names(db: &mut Database) -> Result<HashSet<String>, Error> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .load(db.connection())
        .map_err(Error::doing("read the tracker"))?;
    Ok(names.into_iter().collect())
}

fn cannot(name: &TenantName, why: &str) -> Error {
    Error::CannotCompare { name: name.clone(), why: why.to_owned() }
}

fn amiss(name: &TenantName, error: TenantError) -> Error {
    Error::Tenant { name: name.clone(), error: Box::new(error) }
}
