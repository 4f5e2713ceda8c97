//! Compares one tenant with the reference, or with another tenant.

use std::collections::{BTreeSet, HashSet};

use diesel::prelude::*;

use super::archived::restore_grants;
use super::compare::compare;
use super::difference::Difference;
use crate::database::Database;
use crate::error::Error;
use crate::model::TenantName;
use crate::schema::reference::{self, Reference, Source};
use crate::schema::structure::{self, Structure};
use crate::tenants::tracker::schema_tracker;
use crate::tenants::{Fleet, Tenancy, Tenant};

/// The differences of one tenant.
#[derive(Debug, Clone)]
pub struct Diff {
    /// The name of its schema, quoted if necessary.
    pub own_name: String,
    /// The differences, ordered by kind and name.
    pub differences: Vec<Difference>,
}

/// A tenant's structure with the reference.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The reference.
    pub reference: Reference,
    /// The applied migrations, which select the expected structure.
    pub applied: Vec<String>,
    /// The tenant's structure.
    pub structure: Structure,
    /// The names of all tenants.
    pub names: HashSet<String>,
}

impl Compared {
    /// The expected structure.
    pub fn expected(&self) -> Option<&Structure> {
        self.reference.structure(&self.applied)
    }

    /// The differences.
    pub fn diff(&self) -> Diff {
        let differences =
            self.expected().map(|expected| compare(expected, &self.structure, &self.names)).unwrap_or_default();
        Diff { own_name: self.structure.own_name.clone(), differences }
    }
}

/// Reads a tenant, and the reference for its applied migrations. If the tenant is migrated in the meantime, it is read
/// again.
///
/// # Errors
/// [`Error::Tenant`], [`Error::CannotCompare`] if the tenant or the reference is not available, or the server's error.
pub fn against_reference(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    source: &Source,
) -> Result<Compared, Error> {
    for _ in 0..ATTEMPTS {
        let before = tenant(db, tenancy, name)?;
        // Fails for a tenant without a ledger or schema.
        let (mut structure, _) = structure::read_with_ledger(db, tenancy, name)?;
        let Some(applied) = before.as_ref().and_then(reference::applied).cloned() else {
            return Err(Error::cannot_compare(name, "its ledger records migrations that are not tenant migrations"));
        };
        let after = tenant(db, tenancy, name)?;
        if after.as_ref().and_then(reference::applied) != Some(&applied) {
            continue;
        }
        let reference = Reference::from_source(db, tenancy, source, &BTreeSet::from([applied.clone()]))?;
        let Some(expected) = reference.structure(&applied) else {
            return Err(Error::cannot_compare(name, "there is no reference for its set of applied migrations"));
        };
        if let Some(tenant) = &after {
            restore_grants(tenant, &mut structure, expected);
        }
        return Ok(Compared { reference, applied, structure, names: names(db)? });
    }
    Err(Error::cannot_compare(name, "the tenant changed during each of 3 attempts to read it"))
}

/// The number of attempts to read a tenant that is migrated in the meantime.
const ATTEMPTS: usize = 3;

fn tenant(db: &mut Database, tenancy: &Tenancy, name: &TenantName) -> Result<Option<Tenant>, Error> {
    let fleet = Fleet::read_some(db.connection(), tenancy.tenant_migrations(), std::slice::from_ref(name))?;
    Ok(fleet.tenants.into_iter().next())
}

/// Reads two tenants, to compare the first one with the second, even if they have different migrations.
///
/// # Errors
/// As [`against_reference`].
pub fn against_tenant(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
    other: &TenantName,
) -> Result<Compared, Error> {
    let (mut structure, _) = structure::read_tenant(db, tenancy, name)?;
    let reference = Reference::of_tenant(db, tenancy, other)?;
    if let (Some(tenant), Some((_, expected))) = (self::tenant(db, tenancy, name)?, reference.structures().next()) {
        restore_grants(&tenant, &mut structure, expected);
    }
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
