//! What tenantry's own guards raise in the server. They are known by their texts, which no locale translates.

use super::path;

/// A guard's violation. Each is the text of an error that tenantry itself raises in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardViolation {
    /// Another session holds the lock of the schema.
    Busy,
    /// What was read before is no longer so.
    Changed,
    /// The path does not lead to the schema.
    WrongSchema,
    /// A migration that is under way is not the one that was begun.
    Edited,
    /// A migration is not as it was recorded when it was first applied.
    NotRecorded,
    /// The transaction changed objects outside the tenant's schema; its detail names them.
    Outside,
    /// Whether the transaction changed objects outside cannot be told from its locks alone.
    NeedsThoroughCheck,
    /// The ledger does not record the versions that the transaction has written to it.
    LedgerMismatch,
    /// Another session holds the lock of the recorded migrations.
    RecordLocked,
}

/// The text of [`GuardViolation::Changed`].
pub(crate) const CHANGED: &str = GuardViolation::Changed.message();

impl GuardViolation {
    const ALL: [Self; 9] = [
        Self::Busy,
        Self::Changed,
        Self::WrongSchema,
        Self::Edited,
        Self::NotRecorded,
        Self::Outside,
        Self::NeedsThoroughCheck,
        Self::LedgerMismatch,
        Self::RecordLocked,
    ];

    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Busy => "tenantry: another session is working on the schema",
            Self::Changed => "tenantry: the schema or the tracker is not as it was read",
            Self::WrongSchema => path::WRONG_SCHEMA,
            Self::Edited => "tenantry: the statements that have taken effect are not those of the migration",
            Self::NotRecorded => "tenantry: the migrations are not as they were recorded",
            Self::Outside => "tenantry: objects outside the schema were changed",
            Self::NeedsThoroughCheck => "tenantry: the transaction must be looked at more closely",
            Self::LedgerMismatch => "tenantry: the ledger does not record what was written to it",
            Self::RecordLocked => "tenantry: another session holds the lock of the recorded migrations",
        }
    }

    /// The violation that a server message reports, if it reports one.
    pub(crate) fn from_message(message: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|violation| violation.message() == message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_identified_by_its_message() {
        for violation in GuardViolation::ALL {
            assert_eq!(GuardViolation::from_message(violation.message()), Some(violation));
            assert!(!violation.message().contains(['%', '\'', '"']), "it stands in a format of RAISE");
        }
        assert_eq!(GuardViolation::from_message("relation \"x\" does not exist"), None);
    }
}
