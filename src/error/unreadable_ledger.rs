//! The reason why a migration ledger cannot be read.

use crate::postgres::ServerMessage;
use crate::postgres::lock_holder::{self, HeldBy, LockHolder};
use crate::sql::quote::Identifier;

/// The reason why a migration ledger cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableLedger {
    /// The role has insufficient privileges.
    #[error("permission denied for role {role:?}")]
    PermissionDenied {
        /// The connected role.
        role: String,
        /// The missing privileges.
        missing: Vec<LedgerPrivilege>,
    },
    /// Another session holds a lock that conflicts with reading.
    #[error("locked, {}", HeldBy(.0.as_deref()))]
    Locked(Option<Box<LockHolder>>),
    /// The server failed to read it, for example because its file is damaged.
    #[error("{0}")]
    Failed(Box<ServerMessage>),
}

/// A privilege that is needed to read a migration ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerPrivilege {
    /// `USAGE` on the tenant's schema.
    SchemaUsage,
    /// `SELECT` on the ledger.
    Select,
}

impl UnreadableLedger {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unreadable"
    }

    /// The fix for the ledger of a tenant.
    pub(crate) fn hint(&self, tenant: &str) -> String {
        match self {
            Self::PermissionDenied { role, missing } => {
                let (schema, role) = (Identifier::of_object(tenant), Identifier::of_object(role));
                let grants: Vec<String> = missing
                    .iter()
                    .map(|privilege| match privilege {
                        LedgerPrivilege::SchemaUsage => format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
                        LedgerPrivilege::Select => {
                            format!("GRANT SELECT ON {schema}.__diesel_schema_migrations TO {role}")
                        }
                    })
                    .collect();
                format!("run as the owner: {}", grants.join("; "))
            }
            Self::Locked(holder) => lock_holder::hint(holder.as_deref()),
            Self::Failed(_) => {
                "check the server log; if the table is damaged, restore the schema from a backup".to_owned()
            }
        }
    }
}
