//! The failure of a migration, and what remains of it.

use std::fmt;

use crate::migration::Version;
use crate::postgres::ServerMessage;

/// How a migration failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("migration {folder}/{file}{} failed: {server}", At(.at.as_ref()))]
pub struct MigrationFailure {
    /// Its version.
    pub version: Version,
    /// Its folder.
    pub folder: String,
    /// The file that was run: `up.sql` or `down.sql`.
    pub file: &'static str,
    /// The statement that failed. None when it did not fail again as it was looked for, or failed at the commit.
    pub at: Option<FailedStatement>,
    /// What the server said.
    pub server: ServerMessage,
    /// What is left of it.
    pub effect: Effect,
    /// How many migrations were applied before it in the same run, and stay.
    pub applied_before: usize,
}

/// A statement of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStatement {
    /// The line in the file, counted from 1: where the server points to, or else where the statement begins.
    pub line: usize,
    /// The statement.
    pub sql: String,
}

/// What a failed migration leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it was rolled back, and the tenant is as before.
    RolledBack,
    /// It is not transactional, and its first statements are in effect. The tracker remembers how many.
    InEffect {
        /// How many.
        statements: usize,
        /// Of how many.
        of: usize,
    },
}

impl MigrationFailure {
    /// What is left of the migration, and what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self.effect {
            Effect::RolledBack => None,
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
