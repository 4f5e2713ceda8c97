//! Resetting the state of a session, so that the migrations of one tenant do not affect the next tenant.

/// Which advisory locks a reset releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locks {
    /// All session-level locks.
    All,
    /// None: the session holds locks of tenantry.
    None,
}

/// The settings that Diesel makes when it connects, and that `RESET ALL` reverts.
const DIESEL: &str = "SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8';";

/// SQL that resets settings, role, temporary tables, sequence caches, prepared statements and notifications of a session.
/// Together with [`CLOSE_CURSORS`] it is equivalent to `DISCARD ALL`, which cannot run in a transaction.
pub(crate) fn reset(locks: Locks) -> String {
    let unlock = match locks {
        Locks::All => " SELECT pg_catalog.pg_advisory_unlock_all();",
        Locks::None => "",
    };
    format!(
        "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {DIESEL} DISCARD TEMP; DISCARD SEQUENCES; DEALLOCATE ALL; \
         UNLISTEN *;{unlock}"
    )
}

/// SQL that closes cursors which would outlive the transaction. It also closes tenantry's cursors and therefore runs last.
pub(crate) const CLOSE_CURSORS: &str = "CLOSE ALL;";

/// SQL that runs the pending triggers of deferred constraints. Constraints are not deferred afterwards, until the end of the
/// transaction.
pub(crate) const RUN_DEFERRED_TRIGGERS: &str = "SET CONSTRAINTS ALL IMMEDIATE;";
