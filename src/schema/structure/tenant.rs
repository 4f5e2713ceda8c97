//! Reads the structure of one tenant, by name.

use std::sync::Arc;

use super::{Structure, read};
use crate::database::Database;
use crate::error::{Error, TenantError};
use crate::model::{State, TenantName};
use crate::tenants::ledger::Ledger;
use crate::tenants::{Fleet, Schema, Tenancy, not_tracked};

/// A tenant's structure, and its ledger, which determines the expected structure.
pub(crate) fn read_with_ledger(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<(Structure, Arc<Ledger>), Error> {
    match read_tenant(db, tenancy, name)? {
        (structure, Schema::Ledger { ledger, .. }) => Ok((structure, ledger)),
        (_, Schema::NoLedger { empty: true, .. }) => Err(Error::cannot_compare(name, "its schema is empty")),
        _ => Err(tenant_error(name, TenantError::LedgerMissing)),
    }
}

/// Reads a tenant's structure, and what the fleet contains about its schema.
pub(crate) fn read_tenant(
    db: &mut Database,
    tenancy: &Tenancy,
    name: &TenantName,
) -> Result<(Structure, Schema), Error> {
    let fleet = Fleet::read_some(db.connection(), tenancy.tenant_migrations(), std::slice::from_ref(name))?;
    if let Some(invalid) = fleet.invalid.first() {
        return Err(tenant_error(name, TenantError::InvalidRow { reason: invalid.reason.clone() }));
    }
    let Some(tenant) = fleet.get(name) else {
        return Err(tenant_error(name, not_tracked(db.connection(), name)?));
    };
    if tenant.state == State::Dropping {
        return Err(tenant_error(name, TenantError::Dropping));
    }
    if tenant.state == State::Arriving {
        return Err(tenant_error(name, TenantError::Moving));
    }
    let oid = match &tenant.schema {
        Schema::Missing => return Err(tenant_error(name, TenantError::SchemaMissing { state: Some(tenant.state) })),
        Schema::Unreadable(reason) => return Err(tenant_error(name, TenantError::LedgerUnreadable(reason.clone()))),
        Schema::InvalidLedger { reason } => {
            return Err(tenant_error(name, TenantError::InvalidLedger { reason: reason.clone() }));
        }
        Schema::NoLedger { oid, .. } | Schema::Ledger { oid, .. } => *oid,
    };
    let version = db.server().version;
    let mut read = read(db.connection(), version, &[oid])?;
    let structure =
        read.remove(&oid).ok_or_else(|| Error::cannot_compare(name, "the tenant was dropped during the comparison"))?;
    Ok((structure, tenant.schema.clone()))
}

fn tenant_error(name: &TenantName, error: TenantError) -> Error {
    Error::Tenant { name: name.clone(), error: Box::new(error) }
}
