//! What tenantry's own guards raise in the server. They are known by their texts, which no locale translates.

use super::path;

/// A guard's objection. Each is the text of an error that tenantry itself raises in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
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
    LookCloser,
    /// The ledger does not record the versions that the transaction has written to it.
    LedgerLost,
    /// Another session holds the lock of the recorded migrations.
    RecordLocked,
}

/// The text of [`Objection::Changed`].
pub(crate) const CHANGED: &str = Objection::Changed.message();

impl Objection {
    const ALL: [Self; 9] = [
        Self::Busy,
        Self::Changed,
        Self::WrongSchema,
        Self::Edited,
        Self::NotRecorded,
        Self::Outside,
        Self::LookCloser,
        Self::LedgerLost,
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
            Self::LookCloser => "tenantry: the transaction must be looked at more closely",
            Self::LedgerLost => "tenantry: the ledger does not record what was written to it",
            Self::RecordLocked => "tenantry: another session holds the lock of the recorded migrations",
        }
    }

    /// The objection that a server's message is.
    pub(crate) fn in_message(message: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|objection| objection.message() == message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objection_is_known_by_its_text_alone() {
        for objection in Objection::ALL {
            assert_eq!(Objection::in_message(objection.message()), Some(objection));
            assert!(!objection.message().contains(['%', '\'', '"']), "it stands in a format of RAISE");
        }
        assert_eq!(Objection::in_message("relation \"x\" does not exist"), None);
    }
}
