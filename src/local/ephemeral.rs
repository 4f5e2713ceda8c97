//! A server that does not outlive its owner.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::{Cluster, Durability};
use super::postmaster::Ending;
use super::watchdog::WatchedFolder;
use super::{Account, Binaries, LocalError, text};

/// The port in the name of the socket if no TCP port is opened.
const SOCKET_PORT: u16 = 5432;

/// The number of free ports that are tried: another program may use one before the server does.
const PORT_TRIES: usize = 5;

/// A server in a temporary directory, for demonstrations, tests and benchmarks.
///
/// It is stopped and its directory removed when the value is dropped, and also when the process ends in any other way,
/// including SIGKILL. Its data is temporary, so `fsync`, `synchronous_commit` and `full_page_writes` are off by
/// default.
#[derive(Debug)]
pub struct Ephemeral {
    cluster: Cluster,
    port: u16,
    tcp: Tcp,
    /// Stops the server when dropped.
    _folder: WatchedFolder,
}

/// The options of an [`Ephemeral`]. Start with [`Ephemeral::options`].
#[derive(Debug, Clone)]
pub struct EphemeralOptions {
    settings: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    access: Vec<String>,
    tcp: Tcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tcp {
    Closed,
    Loopback,
}

impl Ephemeral {
    /// Starts a server with some settings of postgresql.conf, such as `("max_connections", "500")`.
    ///
    /// # Errors
    ///
    /// As [`EphemeralOptions::start`].
    pub fn start(binaries: &Binaries, settings: &[(&str, &str)]) -> Result<Self, LocalError> {
        settings.iter().fold(Self::options(), |options, (name, value)| options.setting(name, value)).start(binaries)
    }

    /// A server on a socket only, whose options can be set.
    #[must_use]
    pub fn options() -> EphemeralOptions {
        let careless = ["fsync", "synchronous_commit", "full_page_writes"];
        EphemeralOptions {
            settings: careless.map(|name| (name.to_owned(), "off".to_owned())).into(),
            files: Vec::new(),
            access: Vec::new(),
            tcp: Tcp::Closed,
        }
    }

    /// The libpq URI of a database, over the socket. [`DATABASE`](super::DATABASE) and `postgres` exist.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        text::socket_uri(&self.cluster.socket_folder, self.port, database)
    }

    /// The libpq URI of a database over TCP, if [`EphemeralOptions::tcp`] was requested.
    #[must_use]
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        self.tcp_port().map(|port| text::tcp_uri(port, database))
    }

    /// The TCP port on 127.0.0.1, if [`EphemeralOptions::tcp`] was requested. It does not change.
    #[must_use]
    pub fn tcp_port(&self) -> Option<u16> {
        (self.tcp == Tcp::Loopback).then_some(self.port)
    }

    /// A `psql` command connected to a database, without further arguments.
    ///
    /// # Errors
    ///
    /// [`LocalError::PsqlNotFound`].
    pub fn psql_command(&self, database: &str) -> Result<Command, LocalError> {
        self.cluster.binaries.psql_command(&self.url(database))
    }

    /// The process id of the postmaster, or `None` if the server was stopped or killed.
    ///
    /// # Errors
    ///
    /// [`LocalError::Io`] if the server's files cannot be read.
    pub fn pid(&self) -> Result<Option<u32>, LocalError> {
        let running = self.cluster.postmaster(self.port)?;
        Ok(running.map(|postmaster| postmaster.pid()))
    }

    /// Stops the server as a crash does: sessions are aborted, and the next start recovers. Does nothing if the server
    /// is not running.
    ///
    /// # Errors
    ///
    /// [`LocalError::StopTimeout`] if it does not end within 60 s.
    pub fn stop_immediate(&self) -> Result<(), LocalError> {
        self.stop(Ending::Immediate)
    }

    /// Starts the server again. A running server is stopped in an orderly way first.
    ///
    /// # Errors
    ///
    /// [`LocalError::StopTimeout`] if it does not end, [`LocalError::Failed`] if it does not start.
    pub fn restart(&self) -> Result<(), LocalError> {
        self.stop(Ending::Fast)?;
        self.cluster.start(self.port)
    }

    /// The data folder.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.cluster.data()
    }

    /// The server's log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.cluster.log()
    }

    fn stop(&self, ending: Ending) -> Result<(), LocalError> {
        match self.cluster.postmaster(self.port)? {
            Some(postmaster) => postmaster.stop(ending),
            None => Ok(()),
        }
    }
}

impl EphemeralOptions {
    /// Sets a value of postgresql.conf; the last value for a name applies. The port and the socket directory must not
    /// be set, because the URIs would be wrong.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Also opens a free TCP port on 127.0.0.1, on which only [`access`](Self::access) allows connections.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = Tcp::Loopback;
        self
    }

    /// Adds a line to pg_hba.conf, such as `hostssl all all 127.0.0.1/32 trust`. The first matching line applies; the
    /// last line allows every connection on the socket.
    #[must_use]
    pub fn access(mut self, line: &str) -> Self {
        self.access.push(line.to_owned());
        self
    }

    /// Adds a file to the data directory, such as `server.key`, with mode 0600 and the server's user as its owner.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Creates the server, starts it and waits until it accepts connections (at most 60 s).
    ///
    /// # Errors
    ///
    /// [`LocalError::Failed`] with PostgreSQL's message; [`LocalError::NoAccount`], [`LocalError::Unreachable`] for
    /// root; [`LocalError::Io`] if a file or directory cannot be created. An incomplete server is removed.
    pub fn start(self, binaries: &Binaries) -> Result<Ephemeral, LocalError> {
        let account = Account::for_servers()?;
        account.check_reach(binaries.folder())?;
        let folder = WatchedFolder::new(&account)?;
        let cluster = Cluster {
            binaries: binaries.clone(),
            account,
            folder: folder.path().to_owned(),
            socket_folder: folder.path().to_owned(),
            group: Some(folder.group()),
        };
        let data = cluster.data();
        cluster.account.make_folder(&data)?;
        cluster.create(&data, Durability::Fleeting)?;
        self.add_files(&cluster, &data)?;
        let port = self.start_on_some_port(&cluster)?;
        Ok(Ephemeral { cluster, port, tcp: self.tcp, _folder: folder })
    }

    fn add_files(&self, cluster: &Cluster, data: &Path) -> Result<(), LocalError> {
        let standard = ["local all all trust", "local replication all trust"];
        let given = self.access.iter().map(String::as_str);
        let access: Vec<&str> = given.chain(standard).collect();
        let access = access.join("\n") + "\n";
        cluster.account.write(&data.join("pg_hba.conf"), access.as_bytes())?;
        self.files.iter().try_for_each(|(name, content)| cluster.account.write(&data.join(name), content))
    }

    fn start_on_some_port(&self, cluster: &Cluster) -> Result<u16, LocalError> {
        if self.tcp == Tcp::Closed {
            cluster.configure(SOCKET_PORT, &self.settings)?;
            return cluster.start(SOCKET_PORT).map(|()| SOCKET_PORT);
        }
        let mut settings = vec![("listen_addresses".to_owned(), Ipv4Addr::LOCALHOST.to_string())];
        settings.extend_from_slice(&self.settings);
        let mut tries = 0;
        loop {
            tries += 1;
            let port = free_port().map_err(LocalError::io("find a free port for", &cluster.folder))?;
            cluster.configure(port, &settings)?;
            match cluster.start(port) {
                Err(error) if tries < PORT_TRIES && error.says("Address already in use") => {}
                outcome => return outcome.map(|()| port),
            }
        }
    }
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}
