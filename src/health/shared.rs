//! The check of a database whose tenants share tables: the migrations of the shared schema, and the isolation.

use super::finding::Finding;
use super::{Health, Unchecked, checks, in_progress};
use crate::database::Database;
use crate::error::Error;
use crate::rows::{Layout, findings};
use crate::tenants::{Fleet, Tenancy};

pub(super) fn check(db: &mut Database, tenancy: &Tenancy, layout: &Layout, health: &mut Health) -> Result<(), Error> {
    let set = tenancy.tenant_migrations();
    let mut fleet = Fleet::read(db.connection(), set)?;
    let in_progress = in_progress(db.connection(), set, &mut fleet)?;
    health.findings.extend(fleet.misnamed.iter().map(Finding::bad_name));
    health.findings.extend(fleet.invalid.iter().map(Finding::invalid_row));
    let mut found = Vec::new();
    for tenant in fleet.tenants.iter().filter(|tenant| !in_progress.contains(tenant.name.as_str())) {
        checks::tenant(tenant, set, &mut found);
    }
    health.findings.extend(found.into_iter().map(Finding::of_shared_tables));
    health.not_checked(in_progress, "another run is working on the schema");
    let found = findings::find(db, layout)?;
    health.findings.extend(found.findings.into_iter().map(Finding::isolation));
    health.unchecked.extend(found.unchecked.into_iter().map(|reason| Unchecked { tenants: Vec::new(), reason }));
    health.shared_tables = Some(found.tables);
    Ok(())
}
