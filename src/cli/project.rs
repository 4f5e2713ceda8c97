//! Finds the tenant migrations of the project in the working directory.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::context::Usage;
use crate::migration::MigrationSet;

/// The configuration of Diesel.
const DIESEL_TOML: &str = "diesel.toml";

/// The default directory of the tenant migrations.
pub(crate) const TENANT_MIGRATIONS: &str = "migrations/tenant";

#[derive(Deserialize)]
struct DieselToml {
    migrations_directory: Option<MigrationsDirectory>,
}

#[derive(Deserialize)]
struct MigrationsDirectory {
    dir: Option<PathBuf>,
}

/// The directory of the project's tenant migrations: `dir` of `[migrations_directory]` in the nearest `diesel.toml`, in the
/// working directory or above; else `migrations/tenant` in the working directory; `None` if neither exists.
pub(crate) fn tenant_migrations() -> Result<Option<PathBuf>> {
    let here = env::current_dir().context("cannot read the working directory")?;
    if let Some(dir) = of_diesel(&here)? {
        return Ok(Some(shown(dir, &here)));
    }
    let dir = PathBuf::from(TENANT_MIGRATIONS);
    match fs::symlink_metadata(&dir) {
        Ok(_) => Ok(Some(dir)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(Usage::new("unreadable-file", format!("cannot read {}: {error}", dir.display())).into()),
    }
}

/// `dir` of the nearest `diesel.toml`, in the working directory or above.
fn of_diesel(here: &Path) -> Result<Option<PathBuf>> {
    for folder in here.ancestors() {
        let file = folder.join(DIESEL_TOML);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if is_missing(&error) => continue,
            Err(error) => {
                return Err(Usage::new("unreadable-file", format!("cannot read {}: {error}", file.display())).into());
            }
        };
        let parsed: DieselToml = toml::from_str(&text).map_err(|error| {
            Usage::new("invalid-file", format!("cannot read {}: {}", file.display(), error.message().trim_end()))
        })?;
        let dir = parsed.migrations_directory.and_then(|directory| directory.dir);
        return Ok(dir.map(|dir| folder.join(dir)));
    }
    Ok(None)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path relative to the working directory if it is inside it.
fn shown(dir: PathBuf, here: &Path) -> PathBuf {
    match dir.strip_prefix(here) {
        Ok(below) if !below.as_os_str().is_empty() => below.to_owned(),
        _ => dir,
    }
}

/// The error if no tenant migrations are specified.
pub(super) fn none_chosen() -> Usage {
    Usage::with_hint(
        "no-tenant-migrations",
        "no tenant migrations specified",
        format!(
            "set --tenant-migrations or TENANTRY_TENANT_MIGRATIONS, or run the command in a directory with {TENANT_MIGRATIONS} \
             or with [migrations_directory] in {DIESEL_TOML}"
        ),
    )
}

/// Shows which migrations are in use.
pub(crate) fn in_use(set: &MigrationSet) -> String {
    format!("tenant migrations: {}", set.summary())
}
