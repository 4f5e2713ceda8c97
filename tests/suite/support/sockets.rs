//! The TCP connections of a process, as the kernel reports them.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Copied descriptors of another process.
pub struct Sockets(Vec<OwnedFd>);

/// How a connection detects that the other host is unreachable.
#[derive(Debug, PartialEq, Eq)]
pub struct TcpOptions {
    pub keepalive: bool,
    /// Seconds without traffic before the first probe.
    pub idle: u64,
    /// Seconds between probes.
    pub interval: u64,
    /// Probes without an answer.
    pub count: u32,
    /// Milliseconds that sent data may stay without acknowledgement.
    pub user_timeout: u32,
}

impl Sockets {
    /// The sockets of a process of the same user.
    pub fn of(pid: u32) -> Self {
        let id = Pid::from_raw(pid.cast_signed()).expect("a process id");
        let process = pidfd_open(id, PidfdFlags::empty()).expect("the process runs");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
        let numbers = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Self(numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()).collect())
    }

    /// The options of the TCP connections to a port.
    pub fn connected_to(&self, port: u16) -> Vec<TcpOptions> {
        let is_wanted = |socket: &&OwnedFd| {
            let peer = rustix::net::getpeername(socket).ok().flatten();
            peer.and_then(|peer| SocketAddr::try_from(peer).ok()).is_some_and(|peer| peer.port() == port)
        };
        self.0.iter().filter(is_wanted).map(|socket| TcpOptions::of(socket).expect("the options of a socket")).collect()
    }
}

impl TcpOptions {
    fn of(socket: &OwnedFd) -> rustix::io::Result<Self> {
        Ok(Self {
            keepalive: sockopt::socket_keepalive(socket)?,
            idle: sockopt::tcp_keepidle(socket)?.as_secs(),
            interval: sockopt::tcp_keepintvl(socket)?.as_secs(),
            count: sockopt::tcp_keepcnt(socket)?,
            user_timeout: sockopt::tcp_user_timeout(socket)?,
        })
    }
}
