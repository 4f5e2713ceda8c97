//! A server in a directory.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::{Cluster, Durability, START_PATIENCE};
use super::postmaster::{Ending, Postmaster};
use super::{Account, Binaries, LocalError, folders, text};

/// The port in the name of the socket. No TCP port is opened.
const PORT: u16 = 5432;

/// The prefix of temporary names of incomplete data directories.
const DRAFT_PREFIX: &str = "initdb-";

/// A PostgreSQL server in a directory, for one project on one machine.
///
/// The directory contains `data`, the log `server.log`, the directory `socket` and a lock. Values of this type hold no
/// resources: several values, also in several processes, may refer to the same server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalServer {
    folder: PathBuf,
}

/// The result of [`LocalServer::start`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The server was started, and created if necessary.
    Now,
    /// The server was already running.
    Already,
}

/// The result of [`LocalServer::stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The server was stopped.
    Now,
    /// The server was not running.
    NotRunning,
}

/// The state of a [`LocalServer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The directory contains no server.
    Absent,
    /// The server exists and is not running.
    Stopped,
    /// The server is running and accepts connections, or will soon.
    Running(Running),
}

/// A running [`LocalServer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Process id of the postmaster.
    pub pid: u32,
    /// Major version of PostgreSQL.
    pub version: u32,
    /// The folder of the socket, for `psql -h`.
    pub socket_folder: PathBuf,
    /// The data folder.
    pub data_folder: PathBuf,
}

impl LocalServer {
    /// The server in `folder`, which need not exist. See [`default_folder`](super::default_folder) for the default.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { folder: std::path::absolute(&folder).unwrap_or(folder) }
    }

    /// The directory, absolute.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts the server if it is not running, and waits until it accepts connections (at most 60 s).
    ///
    /// The first start creates it, with the database [`DATABASE`](super::DATABASE). Concurrent starts are safe: the
    /// second waits for the first, by a lock that ends with its process. An interrupted start leaves nothing that a
    /// later one considers complete. The files of a crashed server do not prevent a start.
    ///
    /// # Errors
    ///
    /// [`LocalError::Unreachable`] if the server runs as another user, who cannot enter the directory;
    /// [`LocalError::ForeignFolder`] if the directory belongs to another user; [`LocalError::OtherMajorVersion`] if
    /// another version created it; [`LocalError::StartTimeout`] if it is running and does not become ready;
    /// [`LocalError::Failed`] with PostgreSQL's message otherwise.
    pub fn start(&self, binaries: &Binaries) -> Result<Started, LocalError> {
        let account = match self.account() {
            Some(account) => account,
            None => Account::for_servers()?,
        };
        account.check_reach(binaries.folder())?;
        account.check_reach(&self.folder)?;
        folders::prepare_server_folder(&self.folder, &account)?;
        let _lock = self.lock()?;
        if let Some(postmaster) = self.postmaster()? {
            postmaster.wait_until_ready(START_PATIENCE)?;
            return Ok(Started::Already);
        }

        let cluster = Cluster {
            binaries: binaries.clone(),
            socket_folder: folders::socket_folder(&self.folder, &account),
            account,
            folder: self.folder.clone(),
            group: None,
        };
        match self.version()? {
            None => self.create(&cluster)?,
            Some(version) if version == binaries.major() => {}
            Some(version) => {
                return Err(LocalError::OtherMajorVersion {
                    folder: self.data(),
                    data: version,
                    bin: binaries.folder().to_owned(),
                    binaries: binaries.major(),
                });
            }
        }
        folders::prepare_socket_folder(&self.folder, &cluster.account)?;
        cluster.configure(PORT, &[])?;
        cluster.start(PORT)?;
        Ok(Started::Now)
    }

    /// Stops the server, terminating open sessions, and waits until it has stopped (at most 60 s).
    ///
    /// # Errors
    ///
    /// [`LocalError::StopTimeout`] if it does not end; [`LocalError::Io`] if its files cannot be read or it cannot be
    /// signalled, because it belongs to another user.
    pub fn stop(&self) -> Result<Stopped, LocalError> {
        if self.version()?.is_none() {
            return Ok(Stopped::NotRunning);
        }
        let _lock = self.lock()?;
        match self.postmaster()? {
            None => Ok(Stopped::NotRunning),
            Some(postmaster) => postmaster.stop(Ending::Fast).map(|()| Stopped::Now),
        }
    }

    /// The state of the server.
    ///
    /// # Errors
    ///
    /// [`LocalError::Io`] if its files cannot be read, because they belong to another user.
    pub fn status(&self) -> Result<Status, LocalError> {
        let Some(version) = self.version()? else {
            return Ok(Status::Absent);
        };
        Ok(match self.postmaster()? {
            None => Status::Stopped,
            Some(postmaster) => Status::Running(Running {
                pid: postmaster.pid(),
                version,
                socket_folder: self.socket_folder(),
                data_folder: self.data(),
            }),
        })
    }

    /// The libpq URI of a database, even if the server is not running.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        text::socket_uri(&self.socket_folder(), PORT, database)
    }

    /// A `psql` command connected to a database, without further arguments.
    ///
    /// # Errors
    ///
    /// [`LocalError::PsqlNotFound`].
    pub fn psql_command(&self, binaries: &Binaries, database: &str) -> Result<Command, LocalError> {
        binaries.psql_command(&self.url(database))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn socket_folder(&self) -> PathBuf {
        let account = self.account().or_else(|| Account::for_servers().ok());
        match account {
            Some(account) => folders::socket_folder(&self.folder, &account),
            None => self.folder.join("socket"),
        }
    }

    fn postmaster(&self) -> Result<Option<Postmaster>, LocalError> {
        Postmaster::of(&self.data(), &folders::socket_file(&self.socket_folder(), PORT))
    }

    /// The account of the data directory, if it exists.
    fn account(&self) -> Option<Account> {
        let metadata = fs::symlink_metadata(self.data()).ok()?;
        Some(Account::of_owner(&metadata))
    }

    /// The major version that created the data directory, or `None` if it does not exist.
    fn version(&self) -> Result<Option<u32>, LocalError> {
        let file = self.data().join("PG_VERSION");
        let failed = LocalError::io("read the version in", &file);
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse() {
                Ok(version) => Ok(Some(version)),
                Err(error) => Err(failed(io::Error::new(ErrorKind::InvalidData, error))),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits for the lock on this server, which is released with the returned file or its process.
    fn lock(&self) -> Result<File, LocalError> {
        let path = self.folder.join("lock");
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(LocalError::io("lock", &path))
    }

    /// Creates the data directory under a temporary name and renames it when it is complete.
    ///
    /// The name is new each time: the initdb of a killed start may still be writing.
    fn create(&self, cluster: &Cluster) -> Result<(), LocalError> {
        self.clear_drafts()?;
        let failed = |action| LocalError::io(action, &self.folder);
        // git must not look into a directory that may belong to another user.
        fs::write(self.folder.join(".gitignore"), "*\n").map_err(failed("write to"))?;
        let draft = tempfile::Builder::new()
            .prefix(DRAFT_PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&self.folder)
            .map_err(failed("make a folder in"))?;
        cluster.account.adopt(draft.path())?;
        cluster.create(draft.path(), Durability::Kept)?;
        fs::rename(draft.path(), self.data()).map_err(failed("rename the new data folder in"))?;
        let _ = draft.keep(); // it has the other name now
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed("write"))
    }

    fn clear_drafts(&self) -> Result<(), LocalError> {
        let entries = fs::read_dir(&self.folder).map_err(LocalError::io("read", &self.folder))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(DRAFT_PREFIX) {
                // Best effort: remaining files do no harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}
