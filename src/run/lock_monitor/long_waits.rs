//! Waits for locks that are shown while they last.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::blockers::Waiting;
use crate::error::BlockingSession;
use crate::model::SchemaName;

/// How long a session waits before its wait is shown. Most waits are shorter, or end with the lock timeout.
const SHOWN_AFTER: Duration = Duration::from_secs(3);

/// A tenant's session that has waited for a lock for a few seconds, and the sessions that hold it.
///
/// An index that is built concurrently waits for transactions with an older snapshot, whatever they use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockWait {
    /// The tenant, or `public` for a public migration. A name that is too long for `application_name` is cut.
    pub tenant: String,
    /// How long the session had waited when this was observed.
    pub waited: Duration,
    /// The phase of an index that is built concurrently, as in `pg_stat_progress_create_index`.
    pub phase: Option<String>,
    /// The sessions that hold the lock.
    pub blocked_by: Vec<BlockingSession>,
}

impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No tenant has this name.
        let kind = if self.tenant == SchemaName::public().as_str() { "schema" } else { "tenant" };
        write!(f, "{kind} {} has waited {} s", self.tenant, self.waited.as_secs())?;
        if let Some(phase) = &self.phase {
            write!(f, " (index build: {phase})")?;
        }
        self.blocked_by.iter().enumerate().try_for_each(|(place, session)| {
            let separator = if place == 0 { ", blocked by" } else { "; and by" };
            write!(f, "{separator} {session}")
        })
    }
}

/// Collects long waits. A wait is shown again only if another session blocks it.
#[derive(Debug, Default)]
pub(super) struct LongWaits {
    /// The `application_name` of the waiting session and the process id of the blocking one, of the waits that last.
    known: HashSet<(String, i32)>,
    /// The same of the waits that ended with a lock timeout and were repeated.
    repeated: HashSet<(String, i32)>,
    new: Vec<LockWait>,
}

impl LongWaits {
    /// Notes the sessions that wait now. Their `application_name` is `prefix` and the tenant.
    pub(super) fn observe(&mut self, waiting: &[Waiting], prefix: &str) {
        let mut known = HashSet::new();
        for one in waiting.iter().filter(|one| one.waited >= SHOWN_AFTER) {
            let pairs: Vec<(String, i32)> =
                one.blocked_by.iter().map(|session| (one.session.clone(), session.pid)).collect();
            if pairs.iter().any(|pair| !self.known.contains(pair)) {
                self.new.push(LockWait {
                    tenant: one.session.strip_prefix(prefix).unwrap_or(&one.session).to_owned(),
                    waited: one.waited,
                    phase: one.phase.clone(),
                    blocked_by: one.blocked_by.clone(),
                });
            }
            known.extend(pairs);
        }
        self.known = known;
    }

    /// Notes a wait that ended with a lock timeout and is repeated. It is shown once while the same sessions hold the lock.
    pub(super) fn repeat(&mut self, wait: LockWait) {
        let pairs = wait.blocked_by.iter().map(|session| (wait.tenant.clone(), session.pid));
        let fresh: Vec<(String, i32)> = pairs.filter(|pair| !self.repeated.contains(pair)).collect();
        if !fresh.is_empty() {
            self.repeated.extend(fresh);
            self.new.push(wait);
        }
    }

    /// The waits that were not taken before.
    pub(super) fn take(&mut self) -> Vec<LockWait> {
        std::mem::take(&mut self.new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(seconds: u64, pids: &[i32]) -> [Waiting; 1] {
        let session = |pid: &i32| BlockingSession {
            lock: Some("virtualxid".to_owned()),
            pid: *pid,
            user: Some("postgres".to_owned()),
            application: None,
            database: None,
            since: None,
            query_start: None,
            state: None,
        };
        [Waiting {
            session: "tenantry/1 acme".to_owned(),
            waited: Duration::from_secs(seconds),
            phase: Some("waiting for old snapshots".to_owned()),
            blocked_by: pids.iter().map(session).collect(),
        }]
    }

    #[test]
    fn a_wait_is_shown_once_until_another_session_blocks_it() {
        let mut waits = LongWaits::default();
        let mut shown = |seconds, pids: &[i32]| {
            waits.observe(&waiting(seconds, pids), "tenantry/1 ");
            waits.take().iter().map(LockWait::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(shown(2, &[7]), "");
        assert_eq!(
            shown(3, &[7]),
            "tenant acme has waited 3 s (index build: waiting for old snapshots), blocked by process 7 (user postgres), \
             an older transaction"
        );
        assert_eq!(shown(4, &[7]), "");
        assert!(shown(5, &[7, 8]).ends_with("; and by process 8 (user postgres), an older transaction"));
        assert_eq!(shown(6, &[8]), "");
        assert_eq!(shown(0, &[]), "");
        assert!(shown(3, &[8]).starts_with("tenant acme has waited 3 s"));
    }
}
