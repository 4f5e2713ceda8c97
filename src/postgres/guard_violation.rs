//! Errors that tenantry's guards raise in the server. They are identified by their messages, which are not translated.

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
    /// Other sessions have taken all spare schemas.
    NoSpare,
}

/// The message of [`GuardViolation::Changed`].
pub(crate) const CHANGED: &str = GuardViolation::Changed.message();

impl GuardViolation {
    const ALL: [Self; 10] = [
        Self::Busy,
        Self::Changed,
        Self::WrongSchema,
        Self::Edited,
        Self::NotRecorded,
        Self::Outside,
        Self::NeedsThoroughCheck,
        Self::LedgerMismatch,
        Self::RecordLocked,
        Self::NoSpare,
    ];

    /// The message of the error.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Busy => "tenantry: another session holds the lock of the schema",
            Self::Changed => "tenantry: the schema or the tracker has changed since it was read",
            Self::WrongSchema => "tenantry: current_schema() is not the expected schema",
            Self::Edited => "tenantry: the executed statements differ from those of the migration",
            Self::NotRecorded => "tenantry: the migrations differ from the recorded ones",
            Self::Outside => "tenantry: objects outside the schema were changed",
            Self::NeedsThoroughCheck => "tenantry: the transaction needs a thorough check",
            Self::LedgerMismatch => "tenantry: the ledger does not contain the expected versions",
            Self::RecordLocked => "tenantry: another session holds the lock of the recorded migrations",
            Self::NoSpare => "tenantry: no spare schema is left",
        }
    }

    /// The violation that a server message reports, if it reports one. [`refuse`] has the server quote it, in the quotes of
    /// its locale.
    pub(crate) fn from_message(message: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|violation| message.contains(violation.message()))
    }
}

/// A condition in SQL, and what it violates when it is true. NULL is not.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    violation: GuardViolation,
    condition: String,
}

impl Refusal {
    pub(crate) fn new(violation: GuardViolation, condition: String) -> Self {
        Self { violation, condition }
    }

    /// A condition that is never true, and changes a setting until the end of the transaction. `value` is an SQL expression
    /// of type `text`.
    pub(crate) fn setting(name: &str, value: &str) -> Self {
        let condition = format!("pg_catalog.set_config('{name}', {value}, true) IS NULL");
        Self::new(GuardViolation::Changed, condition)
    }

    /// As a statement of PL/pgSQL.
    pub(crate) fn in_block(&self) -> String {
        format!("IF {} THEN RAISE EXCEPTION '{}'; END IF;", self.condition, self.violation.message())
    }
}

/// A statement that evaluates the conditions in their order, and fails with the first violation whose condition is true. The
/// search path may be a tenant's.
pub(crate) fn refuse(refusals: &[Refusal]) -> String {
    let arm = |one: &Refusal| format!(" WHEN {} THEN '{}'", one.condition, one.violation.message());
    let arms: String = refusals.iter().map(arm).collect();
    format!("SELECT {};", fail_with(&format!("CASE{arms} END")))
}

/// An expression that fails unless the text of `reason` is NULL, and has the server quote the text in its error: that of a
/// text that is no integer. The search path may be a tenant's.
///
/// A block of PL/pgSQL with the same conditions takes the server more than twice the time: it is compiled, and each of its
/// expressions is planned by itself.
pub(crate) fn fail_with(reason: &str) -> String {
    format!("({reason})::pg_catalog.text::pg_catalog.int4")
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
        assert_eq!(
            GuardViolation::from_message(&format!("invalid input syntax for type integer: \"{}\"", CHANGED)),
            Some(GuardViolation::Changed)
        );
        assert_eq!(GuardViolation::from_message("relation \"x\" does not exist"), None);
    }
}
