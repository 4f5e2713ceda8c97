//! The location of PostgreSQL's binaries.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::LocalError;

/// A directory with server binaries, which contains `initdb`, `pg_ctl` and `postgres`.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
    major: u32,
    psql: Option<PathBuf>,
}

impl Binaries {
    /// Finds the server binaries.
    ///
    /// With `chosen`, only that directory is used. Otherwise, the first complete one of these is used:
    ///
    /// 1. the directories of `path`, a search path like `PATH` (symbolic links are resolved),
    /// 2. the output of `pg_config --bindir`, for a `pg_config` on `path`,
    /// 3. the directories of packages, the newest version first: Debian's and Ubuntu's `/usr/lib/postgresql`, the PGDG's
    ///    `/usr/pgsql-…`, openSUSE's, Homebrew's and Postgres.app's.
    ///
    /// # Errors
    ///
    /// [`LocalError::BinariesIncomplete`] if a program is missing in `chosen` or its `postgres` does not run;
    /// [`LocalError::BinariesNotFound`] if no directory contains all programs.
    pub fn find(chosen: Option<&Path>, path: Option<&OsStr>) -> Result<Self, LocalError> {
        let search_path: Vec<PathBuf> = path.map(split_path).unwrap_or_default();
        let mut found = match chosen {
            Some(folder) => Self::at(folder)?,
            None => on_search_path(&search_path)
                .chain(from_pg_config(&search_path))
                .chain(packaged())
                .find_map(|folder| Self::at(&folder).ok())
                .ok_or(LocalError::BinariesNotFound)?,
        };
        found.psql = std::iter::once(&found.folder)
            .chain(&search_path)
            .map(|folder| folder.join("psql"))
            .find(|program| is_program(program));
        Ok(found)
    }

    /// The directory, absolute and without symbolic links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The full version, such as `15.14`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, such as `15`. A data directory of another major version cannot be used.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// `psql`, from the same folder, else from the search path.
    ///
    /// # Errors
    ///
    /// [`LocalError::PsqlNotFound`].
    pub fn psql(&self) -> Result<&Path, LocalError> {
        self.psql.as_deref().ok_or_else(|| LocalError::PsqlNotFound { folder: self.folder.clone() })
    }

    /// `psql` for a URI, without the variables that would override its connection parameters.
    pub(super) fn psql_command(&self, uri: &str) -> Result<Command, LocalError> {
        let mut command = Command::new(self.psql()?);
        command.env_remove("PGHOSTADDR").env_remove("PGSERVICE").arg(uri);
        Ok(command)
    }

    /// One of the server's programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn at(folder: &Path) -> Result<Self, LocalError> {
        let incomplete = |missing| LocalError::BinariesIncomplete { folder: folder.to_owned(), missing };
        // All three must be in one directory: initdb and pg_ctl look for `postgres` beside themselves, and Debian has
        // wrappers of some programs in /usr/bin.
        for name in ["initdb", "pg_ctl", "postgres"] {
            if !is_program(&folder.join(name)) {
                return Err(incomplete(name));
            }
        }
        let folder = fs::canonicalize(folder).map_err(LocalError::io("open", folder))?;
        let (version, major) = first_line_of(&folder.join("postgres"), "--version")
            .and_then(|line| parse_version(&line))
            .ok_or_else(|| incomplete("postgres"))?;
        Ok(Self { folder, version, major, psql: None })
    }
}

pub(super) fn split_path(path: &OsStr) -> Vec<PathBuf> {
    // An empty or relative entry would make the result depend on the working directory.
    std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect()
}

/// Directories of the search path with a `postgres`, with the link to the program resolved: links to programs outside
/// the search path are common, and other programs beside the link may have another version.
fn on_search_path(search_path: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    search_path.iter().flat_map(|folder| {
        let real = fs::canonicalize(folder.join("postgres")).ok();
        let real_folder = real.as_deref().and_then(Path::parent).map(Path::to_owned);
        real_folder.into_iter().chain([folder.clone()])
    })
}

fn from_pg_config(search_path: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    // Lazy: the program runs only if the search path has no server.
    search_path
        .iter()
        .map(|folder| folder.join("pg_config"))
        .filter(|program| is_program(program))
        .filter_map(|program| first_line_of(&program, "--bindir"))
        .map(PathBuf::from)
}

/// The directories of packages, in the order of this table and the newest version first.
pub(super) fn packaged() -> impl Iterator<Item = PathBuf> {
    const PLACES: [(&str, &str); 8] = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/usr/lib", "postgresql"),
        ("/usr/libexec", "postgresql"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
        ("/Applications/Postgres.app/Contents/Versions", ""),
    ];
    PLACES
        .into_iter()
        .flat_map(|(parent, prefix)| versions_in(Path::new(parent), prefix))
        .flat_map(|folder| [folder.join("bin"), folder])
}

/// Directories in `parent` whose names are `prefix` and a version, the newest first. Names without a version come last.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let version_of = |folder: &Path| -> Option<Vec<u32>> {
        let name = folder.file_name()?.to_str()?.strip_prefix(prefix)?;
        let name = name.trim_start_matches(['-', '@']);
        Some(name.split('.').map_while(|part| part.parse().ok()).collect())
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((version_of(&entry.path())?, entry.path())))
        .collect();
    found.sort_by_key(|(version, _)| Reverse(version.clone()));
    found.into_iter().map(|(_, folder)| folder).collect()
}

pub(super) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

pub(super) fn first_line_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// The version in `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, and its major part; `17beta1` counts as 17.
pub(super) fn parse_version(line: &str) -> Option<(String, u32)> {
    let version = line.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            let program = folder.path().join(name);
            fs::write(&program, "#!/bin/sh\necho 'postgres (PostgreSQL) 99.1'\n").expect("a program");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        folder
    }

    #[test]
    fn version_output_is_parsed() {
        let parsed = |line| parse_version(line).map(|(_, major)| major);
        assert_eq!(parsed("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(parsed("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parsed("postgres 15"), None);
    }

    #[test]
    fn directory_without_binaries_is_refused_and_named() {
        let empty = folder_with(&[]);
        let error = Binaries::find(Some(empty.path()), None).expect_err("nothing is there");
        assert!(matches!(error, LocalError::BinariesIncomplete { missing: "initdb", .. }));
    }

    #[test]
    fn wrappers_without_a_server_are_skipped() {
        let wrappers = folder_with(&["psql", "pg_ctl"]);
        assert!(Binaries::at(wrappers.path()).is_err());
    }

    #[test]
    fn symbolic_links_are_resolved() {
        let (real, links) = (folder_with(&["initdb", "pg_ctl", "postgres"]), folder_with(&["psql"]));
        std::os::unix::fs::symlink(real.path().join("postgres"), links.path().join("postgres")).expect("a link");
        let found = Binaries::find(None, Some(links.path().as_os_str())).expect("binaries");
        assert_eq!(found.folder(), fs::canonicalize(real.path()).expect("a path"));
        assert_eq!((found.version(), found.major()), ("99.1", 99));
        assert_eq!(found.psql().expect("psql"), links.path().join("psql"));
    }

    #[test]
    fn the_newest_version_comes_first() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        for name in ["pgsql-9.6", "pgsql-17", "pgsql-14", "other"] {
            fs::create_dir(parent.path().join(name)).expect("a folder");
        }
        let names: Vec<_> = versions_in(parent.path(), "pgsql-")
            .iter()
            .filter_map(|folder| folder.file_name()?.to_str().map(str::to_owned))
            .collect();
        assert_eq!(names, ["pgsql-17", "pgsql-14", "pgsql-9.6"]);
    }
}
