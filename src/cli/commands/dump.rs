//! `dump`

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use chrono::Utc;
use serde::Serialize;

use super::local::BinariesArgs;
use super::rows;
use crate::backup::{self, ArchivePrograms, Backups, Overwrite};
use crate::cli::context::{Context, Usage};
use crate::cli::exit::Exit;
use crate::cli::files::require_writable;
use crate::cli::fleet::named_tenants;
use crate::cli::output::{count, size};
use crate::cli::progress::Progress;
use crate::cli::settings::Connection;
use crate::database::Database;
use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::TenantName;
use crate::operations::{self, DropPlan, DropReport};
use crate::tenants::Tenancy;
use crate::text::shell_word;

/// Write a tenant to an archive of pg_dump
///
/// The archive has the structure, the rows, the privileges and the migration ledger as one snapshot shows them. It is read back, and
/// each table in it must have as many rows as in the snapshot. The tenant can be used meanwhile; its migration waits.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Name of the tenant
    #[arg(value_name = "NAME")]
    tenant: TenantName,

    /// File of the archive, in the custom format of pg_dump
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    binaries: BinariesArgs,

    #[command(flatten)]
    connection: Connection,
}

/// The directory for archives of tenants that are dropped.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BackupOptions {
    /// Before a tenant is dropped, write it to an archive in this directory and read it back
    #[arg(long, value_name = "DIR")]
    pub(super) backup: Option<PathBuf>,

    #[command(flatten)]
    binaries: BinariesArgs,
}

impl BackupOptions {
    /// Drops the tenants of a plan, after their archives were written if a directory is given.
    pub(super) fn drop_tenants(
        &self,
        context: &Context,
        db: &mut Database,
        tenancy: &Tenancy,
        plan: DropPlan,
        progress: &mut Progress,
    ) -> Result<DropReport> {
        let Some(directory) = &self.backup else {
            return Ok(operations::drop_tenants(db, tenancy, plan, &context.stop(), progress)?);
        };
        let programs = self.binaries.archive_programs(db)?;
        let connector = db.connector().clone();
        let mut backups = Backups { connector, programs: &programs, directory, at: Utc::now() };
        Ok(operations::drop_with_backup(db, tenancy, plan, &mut backups, &context.stop(), progress)?)
    }

    /// The option for a command to suggest.
    pub(super) fn as_words(&self) -> String {
        let directory = self.backup.as_ref().map(|directory| shell_word(&directory.to_string_lossy()));
        directory.map_or_else(String::new, |directory| format!(" --backup {directory}"))
    }

    /// Checks the directory and the programs, before anything is confirmed.
    pub(super) fn check(&self, db: &Database) -> Result<()> {
        let Some(directory) = &self.backup else { return Ok(()) };
        let unusable = |error: &dyn std::fmt::Display| {
            let message = format!("cannot write to directory {}: {error}", directory.display());
            Usage::with_hint("unwritable-file", message, "name a directory that exists")
        };
        // The file is removed again.
        tempfile::tempfile_in(directory).map_err(|error| unusable(&error))?;
        self.binaries.archive_programs(db).map(|_| ())
    }
}

impl BinariesArgs {
    /// `pg_dump` and `pg_restore` for the server.
    pub(super) fn archive_programs(&self, db: &Database) -> Result<ArchivePrograms> {
        Ok(ArchivePrograms::find(self.folder(), env::var_os("PATH").as_deref(), db.server().version)?)
    }
}

named_tenants!(Args, one tenant);

pub(super) fn run(args: Args, context: &Context) -> Result<Exit> {
    if args.output.as_os_str() == "-" {
        let message = "an archive is not written to standard output, because it is read back";
        return Err(Usage::with_hint("unwritable-file", message, "name a file").into());
    }
    require_writable(&args.output)?;
    let overwrite = if args.force { Overwrite::Replace } else { Overwrite::Refuse };
    if overwrite == Overwrite::Refuse && args.output.exists() {
        let message = format!("{} exists", args.output.display());
        return Err(Usage::with_hint("file-exists", message, "name another file, or add --force to replace it").into());
    }
    let mut db = context.database(&args.connection)?;
    rows::require_schemas(&mut db, "dump")?;
    let programs = args.binaries.archive_programs(&db)?;
    let tenancy = Tenancy::new(MigrationSet::none()).map_err(Error::from)?;
    let dumped = backup::dump(&mut db, &tenancy, &programs, &args.tenant, (&args.output, overwrite))?;
    let output = context.output();
    let file = args.output.to_str().context("the name of the file is not UTF-8")?;
    if output.is_json() {
        output.json(&Document {
            tenant: args.tenant.to_string(),
            file: file.to_owned(),
            tables: dumped.tables,
            rows: dumped.rows,
            bytes: dumped.bytes,
        })?;
    }
    let bytes = i64::try_from(dumped.bytes).unwrap_or(i64::MAX);
    output.status(format_args!(
        "{} dumped to {file}: {} with {}, {}",
        args.tenant,
        count(dumped.tables, "table"),
        count(usize::try_from(dumped.rows).unwrap_or_default(), "row"),
        size(bytes)
    ));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Document {
    tenant: String,
    file: String,
    tables: usize,
    rows: i64,
    /// The size of the file.
    bytes: u64,
}
