//! What an error that ends a command means: its code, its hint, its exit code, and whether a retry can succeed. Messages,
//! JSON documents and exit codes all follow from it.

use std::error::Error as StdError;

use super::confirm::Unconfirmed;
use super::context::{Context, Usage};
use super::exit::Exit;
use super::selection::NothingMatches;
use crate::backup::BackupError;
use crate::error::{Error, ReferenceError, TenantError};
use crate::local::LocalError;
use crate::migration::LoadError;
use crate::model::NameError;
use crate::postgres::ParseUrlError;

/// The first error of a chain whose type is known.
#[derive(Clone, Copy)]
pub(crate) enum Cause<'a> {
    Library(&'a Error),
    Usage(&'a Usage),
    NothingMatches(&'a NothingMatches),
    Unconfirmed(Unconfirmed),
    Url(&'a ParseUrlError),
    Migrations(&'a LoadError),
    Name(&'a NameError),
    Local(&'a LocalError),
    /// A file, a program or standard output.
    System,
}

impl<'a> Cause<'a> {
    pub(crate) fn of(error: &'a anyhow::Error) -> Self {
        error.chain().find_map(Self::known).unwrap_or(Self::System)
    }

    fn known(error: &'a (dyn StdError + 'static)) -> Option<Self> {
        None.or_else(|| error.downcast_ref().map(Self::Library))
            .or_else(|| error.downcast_ref().map(Self::Usage))
            .or_else(|| error.downcast_ref().map(Self::NothingMatches))
            .or_else(|| error.downcast_ref().copied().map(Self::Unconfirmed))
            .or_else(|| error.downcast_ref().map(Self::Url))
            .or_else(|| error.downcast_ref().map(Self::Migrations))
            .or_else(|| error.downcast_ref().map(Self::Name))
            .or_else(|| error.downcast_ref().map(Self::Local))
            .or_else(|| error.downcast_ref().map(Self::of_backup))
    }

    fn of_backup(error: &'a BackupError) -> Self {
        match error {
            BackupError::Database(error) => Self::Library(error),
            BackupError::Program(error) => Self::Local(error),
        }
    }

    /// The error of the library, if it is one.
    pub(crate) fn library(self) -> Option<&'a Error> {
        match self {
            Self::Library(error) => Some(error),
            _ => None,
        }
    }

    /// The stable name of the error.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Library(error) => error.code(),
            Self::Usage(usage) => usage.code(),
            Self::NothingMatches(_) => "nothing-matches",
            Self::Unconfirmed(why) => why.code(),
            Self::Url(error) => error.code(),
            Self::Migrations(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::Local(error) => error.code(),
            Self::System => "system-error",
        }
    }

    /// How to fix the error.
    pub(crate) fn hint(self, context: &Context) -> Option<String> {
        match self {
            Self::Library(error) => error.hint(&|line| context.command(line)),
            Self::Usage(usage) => usage.hint().map(str::to_owned),
            Self::NothingMatches(nothing) => Some(nothing.hint(context)),
            Self::Unconfirmed(why) => why.hint().map(str::to_owned),
            Self::Url(error) => error.hint().map(str::to_owned),
            Self::Migrations(_) => Some("nothing was run".to_owned()),
            Self::Local(error) => error.hint(),
            Self::Name(error) => error.hint().map(str::to_owned),
            Self::System => None,
        }
    }

    /// Whether the same command can succeed later without a change.
    pub(crate) fn is_retryable(self) -> bool {
        match self {
            Self::Library(error) => error.is_retryable(),
            Self::Local(LocalError::StartTimeout { .. } | LocalError::StopTimeout { .. }) => true,
            _ => false,
        }
    }

    /// The exit status.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Unconfirmed(_) => Exit::Unconfirmed,
            Self::NothingMatches(_) => Exit::Found,
            Self::Usage(_) | Self::Url(_) | Self::Migrations(_) | Self::Name(_) => Exit::Usage,
            Self::Library(
                Error::UnknownVersion { .. }
                | Error::UnknownMigration { .. }
                | Error::AmbiguousMigration { .. }
                | Error::NoExtensionSchema { .. }
                | Error::ForeignMigrations { .. }
                | Error::Migrations(_),
            ) => Exit::Usage,
            other if other.is_retryable() => Exit::Temporary,
            _ => Exit::Refused,
        }
    }

    /// The tenant that the error concerns, if it concerns one.
    pub(crate) fn tenant(self) -> Option<&'a str> {
        match self.library()? {
            Error::Tenant { name, .. }
            | Error::CannotCompare { name, .. }
            | Error::CannotClone { name, .. }
            | Error::CannotRestore { name, .. } => Some(name.as_str()),
            Error::CannotDump { name, .. } => Some(name.as_str()),
            Error::UnknownState { tenant, .. } => Some(tenant),
            _ => None,
        }
    }

    /// What the error lists: migrations, privileges, objects or valid values, one in each line.
    pub(crate) fn details(self) -> Vec<String> {
        let load_error = match self {
            Self::Migrations(error) | Self::Library(Error::Migrations(error)) => Some(error),
            _ => None,
        };
        if let Some(LoadError::Invalid(invalid)) = load_error {
            return invalid.problems.iter().map(|it| format!("{}: {}", it.location, it.message)).collect();
        }
        match self.library() {
            Some(Error::MigrationsChanged(changes)) => changes.0.iter().map(|change| change.summary()).collect(),
            Some(Error::MissingPrivileges { privileges, .. }) => privileges.clone(),
            Some(Error::UnknownVersion { known, .. }) => known.iter().map(ToString::to_string).collect(),
            Some(Error::NoReference(error)) => match error.as_ref() {
                ReferenceError::ChangesOutside { objects, .. } => objects.clone(),
                _ => Vec::new(),
            },
            Some(Error::Public(error) | Error::Tenant { error, .. }) => match error.as_ref() {
                TenantError::Dependents { objects } => objects.clone(),
                TenantError::UnknownMigrations { versions } => versions.clone(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}
