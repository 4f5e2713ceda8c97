//! Comments that mark the roles that Tenantry has created, for which database and tenant.
//!
//! A role cannot change its own comment without CREATEROLE. Names are quoted, so that no name looks like another mark.

use crate::sql::quote::Identifier;

/// The beginning of every mark of a database.
pub(super) fn of_database(database: &str) -> String {
    format!("tenantry: database {}: ", Identifier::of_object(database))
}

/// The mark of a tenant's role.
pub(crate) fn of_tenant(database: &str, tenant: &str) -> String {
    format!("{}role of tenant {}", of_database(database), Identifier::of_object(tenant))
}

/// The mark of the group of the tenants' roles.
pub(super) fn of_group(database: &str) -> String {
    of_database(database) + "group of the roles of tenants"
}
