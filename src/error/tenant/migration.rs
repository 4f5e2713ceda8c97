//! Failures of migrations.

use std::fmt;

use crate::migration::Version;
use crate::postgres::ServerMessage;

/// The failure of a migration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("migration {folder}/{file}{} failed: {server}", At(.at.as_ref()))]
pub struct MigrationFailure {
    /// The version of the migration.
    pub version: Version,
    /// The folder of the migration.
    pub folder: String,
    /// The executed file: `up.sql` or `down.sql`.
    pub file: &'static str,
    /// The failed statement. None if the failure occurred at the commit or did not occur again.
    pub at: Option<FailedStatement>,
    /// The message of the server.
    pub server: ServerMessage,
    /// Which statements of the migration remain in effect.
    pub effect: Effect,
    /// The number of migrations that the same run applied and committed before this one.
    pub applied_before: usize,
}

/// A statement of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStatement {
    /// The line in the file, counted from 1: the error position that the server reports, or the start of the statement.
    pub line: usize,
    /// The text of the statement.
    pub sql: String,
}

/// Which statements of a failed migration remain in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// None: the migration was rolled back.
    RolledBack,
    /// The first statements of a non-transactional migration. The tracker records how many.
    InEffect {
        /// The number of executed statements.
        statements: usize,
        /// The number of all statements.
        of: usize,
    },
}

impl MigrationFailure {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "migration-failed"
    }

    /// How to continue after a partially executed migration, or what a guard of Tenantry's own advises.
    pub fn hint(&self) -> Option<String> {
        match self.effect {
            Effect::RolledBack => self.server.advice.map(str::to_owned),
            Effect::InEffect { statements, of } => Some(format!(
                "the migration is not transactional: {statements} of its {of} statements were executed, and the next run \
                 resumes after them"
            )),
        }
    }
}

struct At<'a>(Option<&'a FailedStatement>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, ":{}", at.line),
            None => Ok(()),
        }
    }
}
