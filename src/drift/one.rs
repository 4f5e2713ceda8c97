//! One tenant held against the reference, or against another.

use std::collections::{BTreeSet, HashSet};

use diesel::prelude::*;

use super::compare::compare;
use super::difference::Difference;
use crate::database::Database;
use crate::error::Error;
use crate::fleet::{Fleet, Tenant};
use crate::name::TenantName;
use crate::reference::{Reference, Source};
use crate::structure::{self, Structure};
use crate::tenancy::Tenancy;
use crate::tracker::schema_tracker;

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
/// [`Error::CannotCompare`] when one of the two is not to be had, or what the server answered.
pub fn against_reference(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    source: &Source,
) -> Result<Compared, Error> {
    let (tenant, names) = tenant(db, tenancy, name)?;
    let ledger = tenant.ledger().ok_or_else(|| cannot(name, "it has no schema and ledger that can be read"))?;
    let applied = ledger.applied.clone();
    let wanted = match ledger.unknown.is_empty() {
        true => BTreeSet::from([applied.clone()]),
        false => return Err(cannot(name, "its ledger records migrations that are none of the tenant migrations")),
    };
    let reference =
        Reference::from_source(db, tenancy, source, &wanted)?.map_err(|why| cannot(name, &why.to_string()))?;
    if reference.structure(&applied).is_none() {
        return Err(cannot(name, "there is no reference for the migrations that it has"));
    }
    let structure = read(db, name, &tenant)?;
    Ok(Compared { reference, applied, structure, names })
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
    let (tenant, names) = tenant(db, tenancy, name)?;
    let reference = Reference::of_tenant(db, tenancy, other)?;
    let applied = reference.structures().next().map(|(applied, _)| applied.clone()).unwrap_or_default();
    let structure = read(db, name, &tenant)?;
    Ok(Compared { reference, applied, structure, names })
}

fn tenant(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<(Tenant, HashSet<String>), Error> {
    let fleet = Fleet::read_some(db.connection(), tenancy.tenant_migrations(), std::slice::from_ref(name))?;
    let tenant = fleet.get(name).cloned().ok_or_else(|| cannot(name, "it is not tracked"))?;
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .load(db.connection())
        .map_err(Error::doing("read the tracker"))?;
    Ok((tenant, names.into_iter().collect()))
}

fn read(db: &mut Database, name: &TenantName, tenant: &Tenant) -> Result<Structure, Error> {
    let oid = tenant.schema_oid().ok_or_else(|| cannot(name, "it has no schema that can be read"))?;
    let version = db.server().version;
    let mut read = structure::read(db.connection(), version, &[oid])?;
    read.remove(&oid).ok_or_else(|| cannot(name, "it was dropped meanwhile"))
}

fn cannot(name: &TenantName, why: &str) -> Error {
    Error::CannotCompare { name: name.clone(), why: why.to_owned() }
}
