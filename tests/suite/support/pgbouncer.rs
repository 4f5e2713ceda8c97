//! A transaction pooler between the client and the server, as many fleets have one.

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

/// How many sessions all clients of one database share.
pub const POOL_SIZE: usize = 4;

/// Runs the pooler until the end of its own input, the other end of which only the test process holds: the kernel closes
/// that however the process ends.
const WATCHDOG: &str = r#"
"$@" >"$0" 2>&1 &
while read -r line; do :; done
kill -s KILL "$!"
"#;

/// PgBouncer in `pool_mode = transaction`, on a socket and on a port of 127.0.0.1. It lets in everyone, as the server's
/// superuser, to every database.
pub struct PgBouncer {
    folder: TempDir,
    port: u16,
    watchdog: Child,
}

impl PgBouncer {
    /// Starts one in front of a server. It refuses startup packets with `options`, as it does unless told otherwise.
    pub fn start(server: &Ephemeral) -> Self {
        Self::with_settings(server, &[])
    }

    /// Starts one with more settings, such as `("ignore_startup_parameters", "options")`.
    pub fn with_settings(server: &Ephemeral, settings: &[(&str, &str)]) -> Self {
        let program = program();
        // Like the server it refuses to be root, and it has to reach the server's socket: it runs as the server does,
        // in the server's folder, which the server's watchdog takes away.
        let home = server.data_folder().parent().expect("a data folder is in a folder").to_owned();
        let owner = fs::metadata(&home).expect("the server's folder");
        let folder = tempfile::Builder::new()
            .prefix("pgbouncer-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&home)
            .expect("a folder in the server's");
        let port = free_port();
        let ini = folder.path().join("pgbouncer.ini");
        fs::write(&ini, configuration(server, folder.path(), port, settings)).expect("the configuration");
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
        // It has no way to say that it is ready but to answer.
        eventually(format_args!("PgBouncer answers on {} (log: {})", socket.display(), log.display()), || {
            UnixStream::connect(&socket).is_ok()
        });
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Waiting closes the input first, upon which the watchdog ends the pooler.
        let _ = self.watchdog.wait();
    }
}

fn configuration(server: &Ephemeral, folder: &Path, port: u16, settings: &[(&str, &str)]) -> String {
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
    format!("[databases]\n* = host={host} port={server_port} user={SUPERUSER}\n\n[pgbouncer]\n{lines}")
}

fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian puts it where only root's search path leads.
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
