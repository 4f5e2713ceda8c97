//! Single changes to a tenant of the base, and the differences that `diff` must report.
//!
//! The changes are made to the tenant `acme`; another tenant of the same base is `globex`. The expected differences
//! follow from what the statement does, not from what any tool reports.

mod columns;
mod constraints;
mod indexes;
mod others;
mod relations;
mod rights;
mod routines;
mod sequences;
mod triggers;
mod types;
mod views;

/// A change to a database, and the differences that are expected.
pub struct Change {
    /// A short, unique description.
    pub what: &'static str,
    /// The messages, sent one after another on one connection.
    pub messages: Vec<Message>,
    /// Differences that must be reported, among others. If empty, no difference may be reported.
    pub expected: Vec<ExpectedDifference>,
    /// Whether `pg_dump --schema-only` of the tenant's schema shows the change.
    pub in_dump: bool,
    /// The first major version of PostgreSQL that accepts the statements.
    pub since: u32,
}

/// Statements that are sent together.
pub struct Message {
    pub sql: &'static str,
    /// Whether the server must refuse it, with effects that remain.
    pub refused: bool,
}

/// A difference that must be reported.
pub struct ExpectedDifference {
    /// Its code, or the beginning of one up to the dot if several properties show the change.
    pub code: &'static str,
    /// The name of the object.
    pub name: &'static str,
    /// Its level, if the level matters.
    pub level: Option<&'static str>,
}

/// Every mutation.
pub fn all() -> Vec<Change> {
    [
        relations::all(),
        columns::all(),
        constraints::all(),
        indexes::all(),
        sequences::all(),
        views::all(),
        routines::all(),
        triggers::all(),
        types::all(),
        others::all(),
        rights::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A change that must be reported.
fn change(what: &'static str, sql: &'static str) -> Change {
    Change { what, messages: vec![Message { sql, refused: false }], expected: Vec::new(), in_dump: true, since: 0 }
}

/// A change that must not be reported.
pub fn silent(what: &'static str, sql: &'static str) -> Change {
    Change { in_dump: false, ..change(what, sql) }
}

impl Change {
    /// Adds a difference that must be reported.
    fn expects(mut self, code: &'static str, name: &'static str) -> Self {
        self.expected.push(ExpectedDifference { code, name, level: None });
        self
    }

    /// Sets the level of the last expected difference.
    fn level(mut self, level: &'static str) -> Self {
        self.expected.last_mut().expect("a difference was added before").level = Some(level);
        self
    }

    /// Marks the last expected difference as a reference to another tenant, which has the level security.
    fn references_globex(self) -> Self {
        self.level("security")
    }

    /// Whether an expected difference is a reference to another tenant.
    pub fn references_another_tenant(&self) -> bool {
        self.expected.iter().any(|difference| difference.level == Some("security"))
    }

    /// Adds a message, for statements that cannot share one with those before.
    pub fn then(mut self, sql: &'static str) -> Self {
        self.messages.push(Message { sql, refused: false });
        self
    }

    /// Adds a message that the server refuses after a part of it took effect.
    pub fn then_refused(mut self, sql: &'static str) -> Self {
        self.messages.push(Message { sql, refused: true });
        self
    }

    /// Marks a change that `pg_dump` does not show.
    fn not_in_dump(self) -> Self {
        Self { in_dump: false, ..self }
    }

    /// Marks a change that `pg_dump` shows although `diff` must not report it.
    pub fn in_dump(self) -> Self {
        Self { in_dump: true, ..self }
    }

    /// Sets the first major version of PostgreSQL that accepts the statements.
    pub fn since(self, major: u32) -> Self {
        Self { since: major, ..self }
    }
}
