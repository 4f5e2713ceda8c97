//! The address of the server that a connection string leads to, for messages.

use super::DatabaseUrl;

/// The default port of libpq.
const DEFAULT_PORT: &str = "5432";

impl DatabaseUrl {
    /// The address of the server, for messages: `db.example.com:5433`, `the socket in /run/postgresql`, `service "billing"`,
    /// several hosts joined by `, `. Contains neither user nor password.
    ///
    /// `env` looks up an environment variable: `PGHOST`, `PGHOSTADDR`, `PGPORT` and `PGSERVICE` are the defaults of options
    /// that the string does not set. The service file is not read. If it may set the host, the service is named; if it may
    /// set the port, the port is omitted.
    #[must_use]
    pub fn address(&self, env: impl Fn(&str) -> Option<String>) -> String {
        let setting = |key, variable| self.get(key).map(str::to_owned).or_else(|| env(variable)).unwrap_or_default();
        let service = setting("service", "PGSERVICE");
        if !service.is_empty() && self.get("host").is_none() && self.get("hostaddr").is_none() {
            return format!("service \"{service}\"");
        }

        let hosts = setting("host", "PGHOST");
        let addresses = setting("hostaddr", "PGHOSTADDR");
        let ports = setting("port", "PGPORT");
        let port_is_known = service.is_empty() || self.get("port").is_some();

        let hosts: Vec<_> = hosts.split(',').collect();
        let addresses: Vec<_> = addresses.split(',').collect();
        let ports: Vec<_> = ports.split(',').map(str::trim).collect();
        let endpoints: Vec<_> = (0..hosts.len().max(addresses.len()))
            .map(|index| {
                let nth = |list: &[&str]| list.get(index).copied().unwrap_or_default().to_owned();
                // A single port applies to every host.
                let port = if let [port] = ports[..] { port.to_owned() } else { nth(&ports) };
                let port = if port.is_empty() { DEFAULT_PORT } else { &port };
                endpoint(&nth(&hosts), &nth(&addresses), port_is_known.then_some(port))
            })
            .collect();
        endpoints.join(", ")
    }
}

/// One of the endpoints of a connection string. `port` is `None` if it is unknown.
fn endpoint(host: &str, address: &str, port: Option<&str>) -> String {
    let with_port = |host: &str| match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let with_unusual_port = |socket: &str| match port {
        Some(port) if port != DEFAULT_PORT => format!("{socket} (port {port})"),
        _ => socket.to_owned(),
    };
    match (host, address) {
        // The directory is compiled into libpq.
        ("", "") => with_unusual_port("libpq's default socket"),
        (directory, "") if directory.starts_with(['/', '@']) => {
            with_unusual_port(&format!("the socket in {directory}"))
        }
        (host, "") | ("", host) => with_port(host),
        (host, address) => format!("{} at {address}", with_port(host)),
    }
}
