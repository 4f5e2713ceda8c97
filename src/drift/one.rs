//! One tenant held against the reference, or against another.

use std::collections::{BTreeSet, HashSet};

use diesel::prelude::*;

use super::compare::compare;
use super::difference::Difference;
use crate::database::Database;
use crate::error::Error;
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
/// [`Error::Tenant`] or [`Error::CannotCompare`] when one of the two is not to be had, or what the server answered.
pub fn against_reference(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    source: &Source,
) -> Result<Compared, Error> {
    let (structure, ledger) = structure::read_with_ledger(db, tenancy, name)?;
    if !ledger.unknown.is_empty() {
        return Err(Error::cannot_compare(
            name,
            "its ledger records migrations that are none of the tenant migrations",
        ));
    }
    let applied = ledger.applied.clone();
    let reference = Reference::from_source(db, tenancy, source, &BTreeSet::from([applied.clone()]))?
        .map_err(|why| Error::cannot_compare(name, &why.to_string()))?;
    if reference.structure(&applied).is_none() {
        return Err(Error::cannot_compare(name, "there is no reference for the migrations that it has"));
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
    let (structure, _) = structure::read_tenant(db, tenancy, name)?;
    let reference = Reference::of_tenant(db, tenancy, other)?;
    let applied = reference.structures().next().map(|(applied, _)| applied.clone()).unwrap_or_default();
    Ok(Compared { reference, applied, structure, names: names(db)? })
}

/// The names of all tenants.
fn names(db: &mut Database) -> Result<HashSet<String>, Error> {
    let names: Vec<String> = schema_tracker::table
        .select(schema_tracker::name)
        .load(db.connection())
        .map_err(Error::doing("read the tracker"))?;
    Ok(names.into_iter().collect())
}
