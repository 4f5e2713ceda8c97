//! A transaction pooler between the client and the server.

use std::env;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tenantry::local::{Ephemeral, SUPERUSER};

use super::{eventually, percent_encoded, socket_of};

/// The number of sessions that all clients of one database share.
pub const POOL_SIZE: usize = 4;

/// Runs the pooler until the end of its own input, whose other end only the test process holds: the kernel closes it
/// however the process ends.
const WATCHDOG: &str = r#"
"$@" >"$0" 2>&1 &
while read -r line; do :; done
kill -s KILL "$!"
"#;

/// PgBouncer in `pool_mode = transaction`, on a socket and on a port of 127.0.0.1. It accepts everyone as the server's
/// superuser, for every database.
pub struct PgBouncer {
    folder: TempDir,
    port: u16,
    watchdog: Child,
}

impl PgBouncer {
    /// Starts a pooler in front of a server. By default, it refuses startup packets with `options`.
    pub fn start(server: &Ephemeral) -> Self {
        Self::with_settings(server, &[])
    }

    /// Starts a pooler with more settings, such as `("ignore_startup_parameters", "options")`.
    pub fn with_settings(server: &Ephemeral, settings: &[(&str, &str)]) -> Self {
        Self::start_as(SUPERUSER, server, settings)
    }

    /// The same, with a role that it connects as.
    pub fn start_as(role: &str, server: &Ephemeral, settings: &[(&str, &str)]) -> Self {
        let program = program();
        // Like the server, it refuses to run as root, and it needs access to the server's socket: it runs as the
        // server's user, in the server's folder, which the server's watchdog removes.
        let home = server.data_folder().parent().expect("a data folder is in a folder").to_owned();
        let owner = fs::metadata(&home).expect("the server's folder");
        let folder = tempfile::Builder::new()
            .prefix("pgbouncer-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&home)
            .expect("a folder in the server's");
        let port = free_port();
        let ini = folder.path().join("pgbouncer.ini");
        fs::write(&ini, configuration(role, server, folder.path(), port, settings)).expect("the configuration");
        fs::set_permissions(&ini, Permissions::from_mode(0o644)).expect("a mode");

        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG]).arg(folder.path().join("log")).arg(program).arg(&ini);
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(owner.uid()), Some(owner.gid())).expect("the folder can be handed over");
            command.uid(owner.uid()).gid(owner.gid());
        }
        let watchdog = command.spawn().expect("/bin/sh runs");
        let pooler = Self { folder, port, watchdog };
        pooler.wait_until_ready();
        pooler
    }

    /// The URL of a database, over the socket.
    pub fn url(&self, database: &str) -> String {
        let folder = percent_encoded(&self.folder.path().to_string_lossy());
        format!("postgresql://{SUPERUSER}@/{}?host={folder}&port={}", percent_encoded(database), self.port)
    }

    /// The URL of a database, over TCP.
    pub fn tcp_url(&self, database: &str) -> String {
        format!("postgresql://{SUPERUSER}@127.0.0.1:{}/{}", self.port, percent_encoded(database))
    }

    fn wait_until_ready(&self) {
        let socket = self.folder.path().join(format!(".s.PGSQL.{}", self.port));
        let log = self.folder.path().join("log");
        // Only an answer shows that it is ready.
        eventually(format_args!("PgBouncer answers on {} (log: {})", socket.display(), log.display()), || {
            UnixStream::connect(&socket).is_ok()
        });
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Waiting closes the input first, and then the watchdog stops the pooler.
        let _ = self.watchdog.wait();
    }
}

fn configuration(role: &str, server: &Ephemeral, folder: &Path, port: u16, settings: &[(&str, &str)]) -> String {
    let (host, server_port) = socket_of(server);
    let size = POOL_SIZE.to_string();
    let port = port.to_string();
    let folder = folder.to_string_lossy();
    let ours = [
        ("listen_addr", "127.0.0.1"),
        ("listen_port", port.as_str()),
        ("unix_socket_dir", &folder),
        ("auth_type", "any"),
        ("pool_mode", "transaction"),
        ("default_pool_size", &size),
        ("max_client_conn", "500"),
    ];
    let lines: String = ours.iter().chain(settings).map(|(name, value)| format!("{name} = {value}\n")).collect();
    format!("[databases]\n* = host={host} port={server_port} user={role}\n\n[pgbouncer]\n{lines}")
}

fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian installs it in a folder that only root's search path contains.
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| File::open(program).is_ok())
        .unwrap_or_else(|| {
            panic!(
                "the tests need PgBouncer\nhint: apt install pgbouncer, dnf install pgbouncer, brew install pgbouncer"
            )
        })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
