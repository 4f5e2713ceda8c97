//! Error codes: stable names for programs.

use super::{Error, ReferenceError};

impl Error {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Postgres(error) => error.code(),
            Self::NoFreeConnection => "no-free-connection",
            Self::Standby => "standby",
            Self::TrackerMissing { .. } => "tracker-missing",
            Self::TrackerBehind { .. } => "tracker-behind",
            Self::LedgerUnusable { .. } => "ledger-unusable",
            Self::UnknownState { .. } => "unknown-state",
            Self::InvalidPublicLedger { .. } => "invalid-public-ledger",
            Self::PublicMigration(_) => "public-migration-failed",
            Self::Public(error) | Self::Tenant { error, .. } => error.code(),
            Self::Busy { .. } => "busy",
            Self::MigrationsInUse(_) => "migrations-in-use",
            Self::FleetLocked(_) => "fleet-locked",
            Self::MigrationsChanged(_) => "migrations-changed",
            Self::ForeignMigrations { .. } => "foreign-migrations",
            Self::NothingToAccept { .. } => "nothing-to-accept",
            Self::ServerFault { .. } => "server-fault",
            Self::UnknownVersion { .. } | Self::UnknownMigration { .. } => "unknown-version",
            Self::AmbiguousMigration { .. } => "ambiguous-version",
            Self::TenantsCreatedDuringCleanup => "tenants-created",
            Self::NoPublicSchema { .. } => "no-public-schema",
            Self::TrackerHidden => "tracker-hidden",
            Self::MissingPrivileges { .. } => "missing-privileges",
            Self::NoDown { .. } => "no-down",
            Self::CannotClone { .. } => "cannot-clone",
            Self::CannotDump { .. } => "cannot-dump",
            Self::CannotRestore { .. } => "cannot-restore",
            Self::NoArchiveOwner { .. } => "no-archive-owner",
            Self::CannotPrewarm { .. } => "cannot-prewarm",
            Self::NoExtensionSchema { .. } => "no-extension-schema",
            Self::CannotCompare { .. } => "cannot-compare",
            Self::NoReference(error) => error.code(),
            Self::ReferenceFile { .. } => "reference-file",
            Self::Migrations(error) => error.code(),
            Self::RowTenancy(error) => error.code(),
            Self::Servers(error) => error.code(),
            Self::Move(error) => error.code(),
            Self::Probe(error) => error.code(),
            Self::Role(error) => error.code(),
        }
    }
}

impl ReferenceError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::ReadOnly { .. } => "read-only",
            Self::NoCreatePrivilege { .. } => "no-create-privilege",
            Self::TrackerUnreadable { .. } => "tracker-unreadable",
            Self::Pooler => "pooler",
            Self::Locked => "replay-blocked",
            Self::PermissionDenied { .. } => "replay-permission-denied",
            Self::Failed { .. } => "replay-failed",
            Self::ChangesOutside { .. } => "changes-outside",
            Self::CommitsOutside { .. } => "commits-outside",
        }
    }
}
