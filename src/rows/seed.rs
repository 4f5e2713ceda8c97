//! Runs seeds for tenants that share tables.

use super::TENANT_SETTING;
use super::layout::Layout;
use super::registry::RegisteredTenant;
use crate::database::Database;
use crate::migration::SeedFile;
use crate::operations::scripts::{TenantLock, begin};
use crate::operations::seed::{FailedSeed, execute, shared};
use crate::postgres::session;
use crate::run::Commit;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::Tenancy;

/// Runs files for a tenant as the application's role, each in one transaction in which the policies show the rows of that
/// tenant. Stops at the first file that fails; those before it are committed.
///
/// # Errors
/// [`FailedSeed`].
pub fn seed(
    db: &mut Database,
    tenancy: &Tenancy,
    layout: &Layout,
    tenant: &RegisteredTenant,
    files: &[SeedFile],
) -> Result<(), Box<FailedSeed>> {
    let target = shared(tenancy, &layout.schema);
    files.iter().try_for_each(|file| {
        let mut batch = begin(target, Commit::Durable, TenantLock::Acquire);
        batch.push(&format!("SELECT pg_catalog.set_config('{TENANT_SETTING}', {}, true);", Literal(&tenant.id)));
        batch.push(&format!("SET LOCAL ROLE {};", Identifier::from(&layout.roles.app)));
        batch.push(&tenancy.path(&layout.schema).set_for_transaction());
        batch.script(0, file.script().text());
        // At the commit they would run as the connected role, and without the tenant.
        batch.push(session::RUN_DEFERRED_TRIGGERS);
        batch.after_code(session::Locks::All);
        execute(db, file, batch)
    })
}
