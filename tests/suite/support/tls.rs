//! A server that is reached over TCP and refuses unencrypted connections.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use diesel::connection::SimpleConnection;
use tenantry::local::{Ephemeral, SUPERUSER};

use super::{binaries, database, explained, percent_encoded};

/// A superuser role that needs a password.
pub const ROLE: &str = "keeper";

/// The role's password, which is encoded in a URL: `open%2Fsesame%257`.
pub const PASSWORD: &str = "open/sesame%7";

/// The configuration of `openssl` for the certificates, independent of the machine's own.
const EXTENSIONS: &str = "\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// The server with its certificate for `localhost` and 127.0.0.1, signed by its own CA.
pub struct Tls {
    server: Ephemeral,
    ca_file: PathBuf,
}

/// The shared server with TLS.
pub fn tls() -> &'static Tls {
    static TLS: LazyLock<Tls> = LazyLock::new(Tls::start);
    &TLS
}

impl Tls {
    /// The server, for [`Database::on`](super::Database::on); its own URLs use the unencrypted socket.
    pub fn server(&self) -> &Ephemeral {
        &self.server
    }

    /// The certificate of the CA.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.tcp_port().expect("it was asked for")
    }

    /// Parameters of a URL that connect to the server as `localhost`, independent of the addresses of that name.
    pub const ADDRESS: &str = "hostaddr=127.0.0.1";

    /// The URL of a database at `localhost`, with verification of the server and without a password.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, "verify-full", database)
    }

    /// The same with another `sslmode`.
    pub fn url_with_mode(&self, sslmode: &str, database: &str) -> String {
        self.url_as(SUPERUSER, sslmode, database)
    }

    /// The URL of a database for [`ROLE`], including [`PASSWORD`].
    pub fn password_url(&self, database: &str) -> String {
        self.url_as(&format!("{ROLE}:{}", percent_encoded(PASSWORD)), "verify-full", database)
    }

    fn url_as(&self, user: &str, sslmode: &str, database: &str) -> String {
        format!(
            "postgresql://{user}@localhost:{}/{}?{}&sslmode={sslmode}&sslrootcert={}",
            self.port(),
            percent_encoded(database),
            Self::ADDRESS,
            percent_encoded(&self.ca_file.to_string_lossy()),
        )
    }

    fn start() -> Self {
        let [ca, certificate, key] = certificates();
        let server = Ephemeral::options()
            .tcp()
            .access(&format!("hostssl all {ROLE} 127.0.0.1/32 scram-sha-256"))
            .access("hostssl all all 127.0.0.1/32 trust")
            .file("ca.crt", ca)
            .file("server.crt", certificate)
            .file("server.key", key)
            .setting("ssl", "on")
            .setting("password_encryption", "scram-sha-256")
            .start(binaries())
            .unwrap_or_else(|error| panic!("{}", explained(&error)));
        database::connect(&server.url("postgres"))
            .batch_execute(&format!("CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"))
            .expect("the role can be made");
        Self { ca_file: server.data_folder().join("ca.crt"), server }
    }
}

/// The CA's certificate, the server's, and the server's key.
fn certificates() -> [Vec<u8>; 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let openssl = |command: &str| openssl(folder.path(), command);
    fs::write(folder.path().join("conf"), EXTENSIONS).expect("the configuration");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config conf";
    openssl(&format!("req -x509 {key} -subj /CN=suite -extensions authority -days 2 -keyout ca.key -out ca.crt"));
    openssl(&format!("req -new {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 2 -extfile conf -extensions server \
         -out server.crt",
    );
    ["ca.crt", "server.crt", "server.key"].map(|name| fs::read(folder.path().join(name)).expect("what openssl made"))
}

fn openssl(folder: &Path, command: &str) {
    let output = Command::new("openssl")
        .args(command.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("the tests need openssl: {error}\nhint: install the package openssl"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {command}: {said}");
}
