//! Errors that tenantry's guards raise in the server. They are identified by their messages, which are not translated.

use super::path;

/// A violation of a guard, which is raised as an error in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardViolation {
    /// Another session holds the tenant's lock.
    Busy,
    /// The schema or its tracker row has changed since it was read.
    Changed,
    /// `current_schema()` is not the expected schema.
    WrongSchema,
    /// The executed statements of an interrupted migration differ from those of the migration.
    Edited,
    /// A migration differs from the recorded one.
    NotRecorded,
    /// The transaction changed objects outside the tenant's schema. The detail of the error lists them.
    Outside,
    /// The locks of the transaction do not show whether it changed objects outside the tenant's schema.
    NeedsThoroughCheck,
    /// The ledger does not contain the versions that the transaction inserted.
    LedgerMismatch,
    /// Another session holds the lock of the recorded migrations.
    RecordLocked,
}

/// The message of [`GuardViolation::Changed`].
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

    /// The message of the error.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Busy => "tenantry: another session holds the lock of the schema",
            Self::Changed => "tenantry: the schema or the tracker has changed since it was read",
            Self::WrongSchema => path::WRONG_SCHEMA,
            Self::Edited => "tenantry: the executed statements differ from those of the migration",
            Self::NotRecorded => "tenantry: the migrations differ from the recorded ones",
            Self::Outside => "tenantry: objects outside the schema were changed",
            Self::NeedsThoroughCheck => "tenantry: the transaction needs a thorough check",
            Self::LedgerMismatch => "tenantry: the ledger does not contain the expected versions",
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
            assert!(!violation.message().contains(['%', '\'', '"']), "the message is part of a RAISE format");
        }
        assert_eq!(GuardViolation::from_message("relation \"x\" does not exist"), None);
    }
}
