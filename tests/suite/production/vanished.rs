//! The server's host becomes unreachable: the network drops all packets, and no connection is closed.

use std::process::Command;

use diesel::connection::SimpleConnection;
use tenantry::local::Ephemeral;

use super::{at, gated_in, names};
use crate::support::sockets::{Sockets, TcpOptions};
use crate::support::{Database, FOREVER, Tenantry, assert_whole, binaries, with};

/// A server that accepts TCP connections from any address.
fn server() -> &'static Ephemeral {
    let options = Ephemeral::options().tcp().setting("listen_addresses", "*").access("host all all all trust");
    Box::leak(Box::new(options.start(binaries()).unwrap()))
}

fn with_tracker(server: &'static Ephemeral) -> Database {
    let db = Database::on(server);
    db.tenantry(["migrate-public"]).run().assert_code(0);
    db
}

#[test]
#[cfg(target_os = "linux")]
fn each_connection_detects_an_unreachable_host() {
    let server = server();
    let (db, mut holder, migrations) = gated_in(with_tracker(server), 6);
    let url = server.tcp_url(db.name()).unwrap();
    let args = ["migrate-all", "--jobs", "3", "--lock-timeout", FOREVER];
    let run = with(&db, &migrations, &args).env("DATABASE_URL", url).spawn();
    db.wait_for_waiters(3);
    let sockets = Sockets::of(run.pid()).connected_to(server.tcp_port().unwrap());
    // The connections of the command, of the fleet lock and of the workers. libpq gives up after 30 seconds in total.
    assert!(sockets.len() >= 5, "{} connections", sockets.len());
    for socket in sockets {
        let expected = TcpOptions { keepalive: true, idle: 15, interval: 5, count: 3, user_timeout: 30_000 };
        assert_eq!(socket, expected);
    }
    holder.batch_execute("COMMIT").unwrap();
    run.wait().assert_code(0);
}

/// A network namespace, and a link to it that can be taken down.
struct Network {
    name: String,
    link: String,
    subnet: u32,
}

impl Network {
    /// `None` if this user may not create one.
    fn create() -> Option<Self> {
        let pid = std::process::id();
        let network = Self { name: format!("tenantry-{pid}"), link: format!("tn{pid}"), subnet: pid % 250 };
        let (name, link, ours, theirs) = (&network.name, &network.link, network.ours(), network.theirs());
        if !ip(&format!("netns add {name}")) {
            return None;
        }
        for command in [
            format!("link add {link} type veth peer name inside netns {name}"),
            format!("addr add {ours}/30 dev {link}"),
            format!("link set {link} up"),
            format!("-n {name} addr add {theirs}/30 dev inside"),
            format!("-n {name} link set inside up"),
        ] {
            assert!(ip(&command), "ip {command}");
        }
        Some(network)
    }

    fn ours(&self) -> String {
        format!("10.213.{}.1", self.subnet)
    }

    fn theirs(&self) -> String {
        format!("10.213.{}.2", self.subnet)
    }

    /// Connects the namespace, or drops all packets to and from it.
    fn set(&self, state: &str) {
        assert!(ip(&format!("link set {} {state}", self.link)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // This removes the link as well.
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
}

/// Without the permission to create a network, only the test above covers this.
#[test]
#[ignore = "long: make test-long"]
#[cfg(target_os = "linux")]
fn run_resumes_when_an_unreachable_host_returns() {
    let Some(network) = Network::create() else { return };
    let server = server();
    let (db, mut holder, migrations) = gated_in(with_tracker(server), 6);
    let url = format!("postgresql://postgres@{}:{}/{}", network.ours(), server.tcp_port().unwrap(), db.name());
    let run = Tenantry::of_program("ip")
        .args(["netns", "exec", &network.name, env!("CARGO_BIN_EXE_tenantry"), "migrate-all", "--jobs", "3"])
        .args(["--lock-timeout", FOREVER, "--reconnect-for", FOREVER, "--tenant-migrations"])
        .arg(migrations.path())
        .env("DATABASE_URL", url)
        .spawn();
    db.wait_for_waiters(3);
    network.set("down");
    run.wait_for_stderr_line("lost connection to the server");
    holder.batch_execute("COMMIT").unwrap();
    network.set("up");
    let output = run.wait();
    output.assert_code(0);
    assert_eq!(at(&db, "2"), names(6).into_iter().collect());
    assert_whole(&db, &["b", "c"], "2");
}
