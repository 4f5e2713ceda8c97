//! Whether the current role can read a tenant's ledger.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::error::{LedgerPrivilege, UnreadableLedger};

/// The columns of [`LedgerAccess`], for a query with the `pg_namespace` row `n` and the `pg_class` row `ledger`. A row that
/// does not exist needs no privilege.
pub(crate) const COLUMNS: &str = "CURRENT_USER::pg_catalog.text AS role, \
    n.oid IS NULL OR pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS has_usage, \
    ledger.oid IS NULL OR pg_catalog.has_table_privilege(ledger.oid, 'SELECT') AS has_select";

/// The privileges of the current role on a tenant's ledger.
#[derive(QueryableByName)]
pub(crate) struct LedgerAccess {
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Bool)]
    has_usage: bool,
    #[diesel(sql_type = Bool)]
    has_select: bool,
}

impl LedgerAccess {
    /// Why the ledger cannot be read; `None` if the role has all privileges.
    pub(crate) fn into_problem(self) -> Option<UnreadableLedger> {
        let privileges = [(LedgerPrivilege::SchemaUsage, self.has_usage), (LedgerPrivilege::Select, self.has_select)];
        let missing: Vec<LedgerPrivilege> =
            privileges.into_iter().filter(|(_, has)| !has).map(|(privilege, _)| privilege).collect();
        (!missing.is_empty()).then_some(UnreadableLedger::PermissionDenied { role: self.role, missing })
    }
}
