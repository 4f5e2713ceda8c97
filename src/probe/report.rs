//! What probes have shown.

use super::kind::ProbeKind;

/// The results of probes.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// The probed role.
    pub role: String,
    /// The tenants whose schemas were aimed at; empty if tenants share tables.
    pub aimed_at: Vec<String>,
    /// A result for each probe and object, in the order of the probes.
    pub results: Vec<ProbeResult>,
    /// The probes for which the database has no object, such as a large object.
    pub absent: Vec<ProbeKind>,
}

/// The result of a probe of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The probe.
    pub probe: ProbeKind,
    /// The object, such as a table.
    pub object: String,
    /// The statements; empty if there were none. Their parameters are not shown.
    pub statement: String,
    /// The outcome.
    pub outcome: ProbeOutcome,
}

/// The outcome of a probe of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The server refused it, or it reached nothing.
    Held,
    /// It succeeded, with what was observed.
    Breach(String),
    /// It was not tried or was inconclusive, for this reason.
    NotTried(String),
}

impl ProbeReport {
    pub(super) fn new(role: &str, aimed_at: Vec<String>) -> Self {
        Self { role: role.to_owned(), aimed_at, results: Vec::new(), absent: Vec::new() }
    }

    /// Whether there is a result of this probe.
    pub(super) fn has(&self, probe: ProbeKind) -> bool {
        self.results.iter().any(|result| result.probe == probe)
    }

    /// The breaches.
    pub fn breaches(&self) -> impl Iterator<Item = &ProbeResult> {
        self.results.iter().filter(|result| matches!(result.outcome, ProbeOutcome::Breach(_)))
    }

    /// What was not tried.
    pub fn untried(&self) -> impl Iterator<Item = &ProbeResult> {
        self.results.iter().filter(|result| matches!(result.outcome, ProbeOutcome::NotTried(_)))
    }
}
