//! The state of a session: nothing that one tenant's migrations leave in it is met by the next.

/// Which advisory locks of the session are given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locks {
    /// All.
    All,
    /// None: the session has locks of the tool's own.
    None,
}

/// What Diesel sets when it connects, which `RESET ALL` takes back.
const DIESEL: &str = "SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8';";

/// SQL that resets a session from within a transaction: settings, role, temporary tables, the last values of sequences,
/// prepared statements and notifications. Together with [`CLOSE_CURSORS`] it does what `DISCARD ALL` does, which cannot run
/// in a transaction.
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

/// Closes cursors that would outlive the transaction. It closes those of the tool, too, and so comes last.
pub(crate) const CLOSE_CURSORS: &str = "CLOSE ALL;";
