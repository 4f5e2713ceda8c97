//! `pg_dump`, which prints the definition of a schema or writes an archive of it, and `pg_restore`, which reads the archive.

use std::ffi::OsStr;
#[cfg(feature = "cli")]
use std::fs::File;
use std::iter;
use std::path::{Path, PathBuf};
#[cfg(feature = "cli")]
use std::process::Child;
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
        let mut newest_older = None;
        for (major, program) in programs("pg_dump", chosen, path) {
            if major >= server {
                return Ok(Self { program });
            }
            newest_older = newest_older.max(Some((major, program)));
        }
        Err(match newest_older {
            Some((version, program)) => LocalError::PgDumpTooOld { program, version, server },
            None => LocalError::PgDumpNotFound { program: "pg_dump", folder: chosen.map(Path::to_owned) },
        })
    }

    /// The definition of a schema as a plain script, without data. The password is passed in the environment, and nothing
    /// reads one from the terminal.
    ///
    /// # Errors
    /// [`LocalError::Spawn`]; [`LocalError::Failed`] with the messages of pg_dump, for example if this role cannot read the
    /// schema; [`LocalError::SecretsOfUrl`] if the URL contains secrets other than the password.
    pub fn schema(&self, url: &DatabaseUrl, schema: &SchemaName) -> Result<String, LocalError> {
        let mut command = self.command(url, schema)?;
        command.args(["--schema-only", "--format=plain"]);
        let shown = self.shown(schema);
        let output = command.output().map_err(|source| LocalError::Spawn { command: shown.clone(), source })?;
        let messages = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let source = LastLines::of([url.redact(&messages).as_str()]);
            return Err(LocalError::Failed { command: shown, status: output.status, source });
        }
        String::from_utf8(output.stdout).map_err(|_| LocalError::Failed {
            command: shown,
            status: output.status,
            source: LastLines::of(["the output is not UTF-8"]),
        })
    }

    /// Writes a schema with its data to a file, in the custom format, as the snapshot with this id shows it. The password is
    /// passed in the environment.
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    #[cfg(feature = "cli")]
    pub(crate) fn archive(
        &self,
        url: &DatabaseUrl,
        schema: &SchemaName,
        snapshot: &str,
        file: File,
    ) -> Result<(), LocalError> {
        let mut command = self.command(url, schema)?;
        command.args(["--format=custom", "--no-subscriptions"]).arg(format!("--snapshot={snapshot}")).stdout(file);
        let shown = self.shown(schema);
        let output = command
            .stderr(Stdio::piped())
            .output()
            .map_err(|source| LocalError::Spawn { command: shown.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        let source = LastLines::of([url.redact(&messages).as_str()]);
        Err(LocalError::Failed { command: shown, status: output.status, source })
    }

    fn command(&self, url: &DatabaseUrl, schema: &SchemaName) -> Result<Command, LocalError> {
        let (conninfo, password) = url.without_secrets().ok_or(LocalError::SecretsOfUrl)?;
        let mut command = Command::new(&self.program);
        command
            .args(["--encoding=UTF8", "--no-publications", "--no-password", "--lock-wait-timeout=10s"])
            .args([&pattern(schema), "--dbname", &conninfo])
            .stdin(Stdio::null());
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        Ok(command)
    }

    fn shown(&self, schema: &SchemaName) -> String {
        format!("{} {}", self.program.display(), pattern(schema))
    }
}

/// The option for a schema. In quotes, the pattern stands for this name only.
fn pattern(schema: &SchemaName) -> String {
    format!("--schema={}", Identifier::from(schema))
}

/// The major versions and the paths of the programs of this name.
fn programs(name: &str, chosen: Option<&Path>, path: Option<&OsStr>) -> impl Iterator<Item = (u32, PathBuf)> + use<> {
    let folders: Box<dyn Iterator<Item = PathBuf>> = match chosen {
        Some(folder) => Box::new(iter::once(folder.to_owned())),
        None => Box::new(path.map(split_path).unwrap_or_default().into_iter().chain(packaged())),
    };
    let name = name.to_owned();
    folders.map(move |folder| folder.join(&name)).filter(|program| is_program(program)).filter_map(|program| {
        let (_, major) = first_line_of(&program, "--version").and_then(|line| parse_version(&line))?;
        Some((major, program))
    })
}

/// The `pg_restore` of an installation.
#[cfg(feature = "cli")]
#[derive(Debug, Clone)]
pub(crate) struct PgRestore {
    program: PathBuf,
}

/// A `pg_restore` that prints an archive as SQL.
#[cfg(feature = "cli")]
pub(crate) struct PrintingArchive {
    child: Child,
    shown: String,
}

#[cfg(feature = "cli")]
impl PgRestore {
    /// Finds the newest `pg_restore`, which reads the archives of all older versions, as [`PgDump::find`] finds `pg_dump`.
    ///
    /// # Errors
    /// [`LocalError::PgDumpNotFound`] if there is none.
    pub(crate) fn find(chosen: Option<&Path>, path: Option<&OsStr>) -> Result<Self, LocalError> {
        let newest = programs("pg_restore", chosen, path).max_by_key(|(major, _)| *major);
        newest
            .map(|(_, program)| Self { program })
            .ok_or_else(|| LocalError::PgDumpNotFound { program: "pg_restore", folder: chosen.map(Path::to_owned) })
    }

    /// Starts to print an archive as SQL, without the objects of the server and the database.
    ///
    /// # Errors
    /// [`LocalError::Spawn`], or [`LocalError::Io`] if the file cannot be read.
    pub(crate) fn print(&self, archive: &Path) -> Result<PrintingArchive, LocalError> {
        let file = File::open(archive).map_err(LocalError::io("read", archive))?;
        let shown = format!("{} {}", self.program.display(), archive.display());
        let child = Command::new(&self.program)
            .args(["--file=-", "--no-publications", "--no-subscriptions", "--no-security-labels", "--no-tablespaces"])
            .stdin(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| LocalError::Spawn { command: shown.clone(), source })?;
        Ok(PrintingArchive { child, shown })
    }
}

#[cfg(feature = "cli")]
impl PrintingArchive {
    /// What it prints. It can be taken once.
    pub(crate) fn output(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("a pipe")
    }

    /// Waits for its end, after its output was read.
    ///
    /// # Errors
    /// [`LocalError::Failed`] with its messages, for example if the file is not an archive.
    pub(crate) fn finish(mut self) -> Result<(), LocalError> {
        let mut messages = Vec::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What cannot be read is missing in the error only.
            let _ = std::io::Read::read_to_end(&mut stderr, &mut messages);
        }
        let failed = |source| LocalError::Spawn { command: self.shown.clone(), source };
        let status = self.child.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let source = LastLines::of([String::from_utf8_lossy(&messages).as_ref()]);
        Err(LocalError::Failed { command: std::mem::take(&mut self.shown), status, source })
    }
}

#[cfg(feature = "cli")]
impl Drop for PrintingArchive {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
