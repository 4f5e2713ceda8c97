//! Archives of tenants: `pg_dump` writes them from one snapshot, and they are restored as tenants.
//!
//! A dump is read back before it counts: each table in it has as many rows as in the snapshot. What an archive contains is the
//! work of the tenant: it is restored in one transaction, with the rights of the owner of the schema, which its code cannot extend.

mod archive;
mod dump;
mod file;
mod inspect;
mod load;
mod restore;
mod roles;
mod rows;

pub(crate) use dump::{Backups, dump};
pub(crate) use file::Overwrite;
pub(crate) use restore::{RestoredTenant, restore};

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::local::{LocalError, PgDump, PgRestore};

/// Why a dump or a restore failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Program(#[from] LocalError),
}

/// `pg_dump` and `pg_restore`.
pub(crate) struct ArchivePrograms {
    dump: PgDump,
    restore: PgRestore,
}

impl ArchivePrograms {
    /// Finds the programs for a server of this version, as in `server_version_num`.
    ///
    /// # Errors
    /// As [`PgDump::find`].
    pub(crate) fn find(chosen: Option<&Path>, path: Option<&OsStr>, server: i32) -> Result<Self, LocalError> {
        let major = u32::try_from(server / 10_000).unwrap_or_default();
        Ok(Self { dump: PgDump::find(chosen, path, major)?, restore: PgRestore::find(chosen, path)? })
    }
}
