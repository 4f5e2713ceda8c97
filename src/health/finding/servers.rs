//! Findings about servers.

use super::{Finding, FindingKind, Fix};
use crate::servers::findings::ServerFinding;

impl Finding {
    /// A problem of a server of a fleet.
    #[cfg(feature = "cli")]
    pub(crate) fn server(finding: ServerFinding) -> Self {
        let ServerFinding { kind, tenant, message, fix } = finding;
        Self { tenant, kind: FindingKind::Server(kind), message, items: Vec::new(), fix: Fix::Advice(fix.to_owned()) }
    }
}
