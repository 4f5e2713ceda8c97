//! Problems of a server of a fleet, as its own database and the directory show.

use diesel::pg::PgConnection;

use super::inspect::{ServerFacts, TlsUse};
use super::placements::{self, Placement};
use super::server::FleetServer;
use crate::error::Error;
use crate::tenants::tracker;

/// The kind of a [`ServerFinding`]. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerFindingKind {
    /// The server has a tenant that the directory does not have.
    PlacementMissing,
    /// The directory has a tenant that the server does not have.
    PlacementOutdated,
    /// Two servers have a tenant with the same name.
    DuplicateTenant,
    /// The connection to the server crosses the network without encryption.
    NotEncrypted,
}

impl ServerFindingKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::PlacementMissing, Self::PlacementOutdated, Self::DuplicateTenant, Self::NotEncrypted];

    /// Its name on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlacementMissing => "placement-missing",
            Self::PlacementOutdated => "placement-outdated",
            Self::DuplicateTenant => "duplicate-tenant",
            Self::NotEncrypted => "not-encrypted",
        }
    }

    /// Whether it makes a check fail only on request.
    pub fn is_warning(self) -> bool {
        matches!(self, Self::NotEncrypted)
    }
}

/// A problem of a server of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFinding {
    /// Its kind.
    pub kind: ServerFindingKind,
    /// The tenant, if it concerns one.
    pub tenant: Option<String>,
    /// The problem, in one line.
    pub message: String,
    /// How to fix it.
    pub fix: &'static str,
}

/// The problems of a server, sorted by kind and tenant. `placed` has the placements of all servers.
///
/// # Errors
/// The server's error.
pub fn find(conn: &mut PgConnection, server: &FleetServer, placed: &[Placement]) -> Result<Vec<ServerFinding>, Error> {
    let tracked = tracker::names(conn)?;
    let differences = placements::differences(server.id, &tracked, placed, None);
    let of_tenants = |names: &[String], kind, message: &str, fix| {
        let finding =
            |name: &String| ServerFinding { kind, tenant: Some(name.clone()), message: message.to_owned(), fix };
        names.iter().map(finding).collect::<Vec<_>>()
    };
    let mut findings = of_tenants(
        &differences.added,
        ServerFindingKind::PlacementMissing,
        "the directory of servers does not have this tenant",
        "any command that names the tenant adds it to the directory",
    );
    findings.extend(of_tenants(
        &differences.removed,
        ServerFindingKind::PlacementOutdated,
        "the directory has this tenant on the server, which does not have it",
        "find out who removed it; 'server sync' removes it from the directory",
    ));
    findings.extend(of_tenants(
        &differences.elsewhere,
        ServerFindingKind::DuplicateTenant,
        "another server has a tenant with this name",
        "rename or drop one of them, with --server",
    ));
    if ServerFacts::read(conn)?.tls() == TlsUse::None {
        findings.push(ServerFinding {
            kind: ServerFindingKind::NotEncrypted,
            tenant: None,
            message: format!("the connection to server {} is not encrypted", server.name),
            fix: "'server set NAME --url' with sslmode=verify-full and sslrootcert=FILE",
        });
    }
    Ok(findings)
}
