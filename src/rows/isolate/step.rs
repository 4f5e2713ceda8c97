//! The steps of an isolation.

use std::fmt;

/// A statement, when it runs and who runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationStep {
    /// When it runs.
    pub phase: IsolationPhase,
    /// The table; `None` for roles, schemas and the function that verifies contexts.
    pub table: Option<String>,
    /// The statement, or several, without a semicolon at the end.
    pub sql: String,
}

/// When a step runs. The phases follow each other in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationPhase {
    /// Roles, schemas, privileges and owners, in one transaction as the connected role.
    SetUp,
    /// Columns, in one transaction with short locks. This phase and those up to [`Validate`](Self::Validate) run as the owner.
    Prepare,
    /// Rows that have no tenant yet, in batches. A step is repeated until it changes no row.
    Assign,
    /// Indexes and checks, one by one and without a transaction. They do not block writes.
    Build,
    /// Keys, policies and privileges, in one transaction with short locks.
    Switch,
    /// The validation of foreign keys, one by one. It does not block writes.
    Validate,
    /// The record of what was replaced, in one transaction as the connected role.
    CleanUp,
}

/// What isolation cannot do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The table.
    pub table: String,
    /// The problem.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl IsolationPhase {
    /// Whether the steps of the phase run in one transaction.
    pub fn is_transaction(self) -> bool {
        matches!(self, Self::SetUp | Self::Prepare | Self::Switch | Self::CleanUp)
    }
}

impl fmt::Display for IsolationPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SetUp => "roles and schemas, in one transaction",
            Self::Prepare => "columns, in one transaction",
            Self::Assign => "rows without a tenant, in batches",
            Self::Build => "indexes and checks, without blocking writes",
            Self::Switch => "keys, policies and privileges, in one transaction",
            Self::Validate => "validation of foreign keys, without blocking writes",
            Self::CleanUp => "the record, in one transaction",
        })
    }
}
