//! Parts of the messages of errors.

use std::fmt;

use super::Contention;
use crate::error::BlockingSession;
use crate::postgres::ServerMessage;

/// The message of the server and the blocking sessions.
pub(super) struct BlockedBy<'a>(pub(super) &'a ServerMessage, pub(super) &'a [BlockingSession]);

impl fmt::Display for BlockedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.1.iter().try_for_each(|holder| write!(f, "; blocked by {holder}"))
    }
}

/// `1 difference`, `2 differences`.
pub(super) struct DifferenceCount(pub(super) usize);

impl fmt::Display for DifferenceCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} difference{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// The first differences of the list.
pub(super) fn first_of(differences: &[String]) -> String {
    const FEW: usize = 3;
    let more = if differences.len() > FEW { ", …" } else { "" };
    differences.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ") + more
}

/// The sessions, one after the other.
pub(super) struct ListedSessions<'a>(pub(super) &'a [BlockingSession]);

impl fmt::Display for ListedSessions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, session) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{session}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Contention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LockTimeout => "lock timeout",
            Self::Deadlock => "deadlock",
            Self::Serialization => "serialization failure",
        })
    }
}
