//! Failures of migrations.

use std::fmt;

use crate::migration::Version;
use crate::postgres::ServerMessage;
use crate::sql::quote::Identifier;

/// The failure of a migration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("migration {folder}/{file}{} failed: {server}", At(.at.as_ref()))]
pub struct MigrationFailure {
    /// The version of the migration.
    pub version: Version,
    /// The folder of the migration; `repeatable` if it is repeatable.
    pub folder: String,
    /// The executed file: `up.sql` or `down.sql`, or that of a repeatable migration.
    pub file: String,
    /// The failed statement. None if the failure occurred at the commit or did not occur again.
    pub at: Option<FailedStatement>,
    /// The message of the server.
    pub server: ServerMessage,
    /// Which statements of the migration remain in effect.
    pub effect: Effect,
    /// The extension that has an object that does not exist, if the server reported one.
    pub missing: Option<MissingExtension>,
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

    /// How to install or find a missing extension, how to continue after a partially executed migration, or what a guard of
    /// Tenantry's own advises.
    pub fn hint(&self) -> Option<String> {
        let effect = match self.effect {
            Effect::RolledBack => self.server.advice.map(str::to_owned),
            Effect::InEffect { statements, of } => Some(format!(
                "the migration is not transactional: {statements} of its {of} statements were executed, and the next run \
                 resumes after them"
            )),
        };
        let missing = self.missing.as_ref().map(MissingExtension::hint);
        let hints: Vec<String> = missing.into_iter().chain(effect).collect();
        (!hints.is_empty()).then(|| hints.join("; "))
    }
}

/// An extension that has an object that a migration did not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingExtension {
    /// The extension is installed in a schema that is not on the search path.
    NotOnPath {
        /// The name of the object.
        object: String,
        /// The extension.
        extension: String,
        /// Its schema.
        schema: String,
    },
    /// The extension is available on the server and not installed in the database.
    NotInstalled {
        /// The name of the object.
        object: String,
        /// The extension.
        extension: String,
        /// The database.
        database: String,
        /// Whether a role with the privilege `CREATE` on the database can install it, and not only a superuser.
        trusted: bool,
        /// A schema on the search path for it; `None` if the path has only the tenant's schema.
        schema: Option<String>,
    },
}

impl MissingExtension {
    fn hint(&self) -> String {
        match self {
            Self::NotOnPath { object, extension, schema } => format!(
                "{object} belongs to the extension {extension} in the schema {schema}: add --extension-schema {schema}"
            ),
            Self::NotInstalled { object, extension, database, trusted, schema } => {
                let role = if *trusted { "a role with CREATE on the database" } else { "a superuser" };
                let extension_name = Identifier::of_object(extension);
                let install = match schema {
                    Some(schema) => {
                        format!("CREATE EXTENSION {extension_name} SCHEMA {}", Identifier::of_object(schema))
                    }
                    None => format!(
                        "CREATE SCHEMA extensions; CREATE EXTENSION {extension_name} SCHEMA extensions, and add \
                         --extension-schema extensions"
                    ),
                };
                format!(
                    "{object} belongs to the extension {extension}, which is not installed in database {database:?}: as \
                     {role}, run {install}"
                )
            }
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
