//! `pg_dump`, which prints the definition of a schema.

use std::ffi::OsStr;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::binaries::{first_line_of, is_program, packaged, parse_version, split_path};
use super::error::{LastLines, LocalError};
use crate::model::SchemaName;
use crate::postgres::DatabaseUrl;
use crate::sql::quote::Identifier;

/// The `pg_dump` of an installation.
#[derive(Debug, Clone)]
pub struct PgDump {
    program: PathBuf,
}

impl PgDump {
    /// Finds a `pg_dump` that can dump a server of the major version `server`: pg_dump refuses servers that are newer than
    /// itself. With `chosen`, only that directory is searched, otherwise the directories of `path`, a search path like `PATH`,
    /// and then those of packages, the newest version first.
    ///
    /// # Errors
    /// [`LocalError::PgDumpNotFound`] if there is none, [`LocalError::PgDumpTooOld`] if all of them are older.
    pub fn find(chosen: Option<&Path>, path: Option<&OsStr>, server: u32) -> Result<Self, LocalError> {
        let folders: Box<dyn Iterator<Item = PathBuf>> = match chosen {
            Some(folder) => Box::new(iter::once(folder.to_owned())),
            None => Box::new(path.map(split_path).unwrap_or_default().into_iter().chain(packaged())),
        };
        let mut newest_older = None;
        for program in folders.map(|folder| folder.join("pg_dump")).filter(|program| is_program(program)) {
            let Some((_, major)) = first_line_of(&program, "--version").and_then(|line| parse_version(&line)) else {
                continue;
            };
            if major >= server {
                return Ok(Self { program });
            }
            newest_older = newest_older.max(Some((major, program)));
        }
        Err(match newest_older {
            Some((version, program)) => LocalError::PgDumpTooOld { program, version, server },
            None => LocalError::PgDumpNotFound { folder: chosen.map(Path::to_owned) },
        })
    }

    /// The definition of a schema as a plain script, without data. The password is passed in the environment, and nothing
    /// reads one from the terminal.
    ///
    /// # Errors
    /// [`LocalError::Spawn`]; [`LocalError::Failed`] with the messages of pg_dump, for example if this role cannot read the
    /// schema; [`LocalError::SecretsOfUrl`] if the URL contains secrets other than the password.
    pub fn schema(&self, url: &DatabaseUrl, schema: &SchemaName) -> Result<String, LocalError> {
        let (conninfo, password) = url.without_secrets().ok_or(LocalError::SecretsOfUrl)?;
        // In quotes, the pattern stands for this name only.
        let pattern = format!("--schema={}", Identifier::from(schema));
        let mut command = Command::new(&self.program);
        command
            .args(["--schema-only", "--format=plain", "--encoding=UTF8", "--no-publications", "--no-password"])
            .args(["--lock-wait-timeout=10s", &pattern, "--dbname", &conninfo])
            .stdin(Stdio::null());
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        let shown = || format!("{} {pattern}", self.program.display());
        let output = command.output().map_err(|source| LocalError::Spawn { command: shown(), source })?;
        let messages = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let source = LastLines::of([url.redact(&messages).as_str()]);
            return Err(LocalError::Failed { command: shown(), status: output.status, source });
        }
        String::from_utf8(output.stdout).map_err(|_| LocalError::Failed {
            command: shown(),
            status: output.status,
            source: LastLines::of(["the output is not UTF-8"]),
        })
    }
}
