//! Single changes to a tenant of the base, and what must be told of each.
//!
//! The changes are made to the tenant `acme`; there is another one, `globex`, of the same base. What is expected
//! follows from what the statement does, not from what any tool says of it.

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

/// A change to a database, and what is to be told of it.
pub struct Change {
    /// What is done, in a few words; no two are the same.
    pub what: &'static str,
    /// What is sent, one message after the other, on one connection.
    pub messages: Vec<Message>,
    /// Differences that must be among those told. None at all may be told where there are none.
    pub told: Vec<Told>,
    /// Whether `pg_dump --schema-only` of the tenant's schema shows the change.
    pub in_dump: bool,
    /// The first major version of PostgreSQL that takes the statements.
    pub since: u32,
}

/// Statements that are sent together.
pub struct Message {
    pub sql: &'static str,
    /// Whether the server is to refuse it, and leave something behind.
    pub refused: bool,
}

/// A difference that is to be told.
pub struct Told {
    /// Its code; or the beginning of one, up to the dot, where more than one fact tells of the change.
    pub code: &'static str,
    /// What it is told of.
    pub name: &'static str,
    /// Its level, where it matters.
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

/// A change that is told.
fn change(what: &'static str, sql: &'static str) -> Change {
    Change { what, messages: vec![Message { sql, refused: false }], told: Vec::new(), in_dump: true, since: 0 }
}

/// A change of nothing that counts.
pub fn silent(what: &'static str, sql: &'static str) -> Change {
    Change { in_dump: false, ..change(what, sql) }
}

impl Change {
    /// Adds a difference that must be told.
    fn told(mut self, code: &'static str, name: &'static str) -> Self {
        self.told.push(Told { code, name, level: None });
        self
    }

    /// Has the difference that was added last be of a level.
    fn level(mut self, level: &'static str) -> Self {
        self.told.last_mut().expect("a difference was added before").level = Some(level);
        self
    }

    /// Has the difference that was added last be one that leads to another tenant, which is a matter of security.
    fn references_globex(self) -> Self {
        self.level("security")
    }

    /// Whether a difference may lead to another tenant.
    pub fn leads_elsewhere(&self) -> bool {
        self.told.iter().any(|told| told.level == Some("security"))
    }

    /// Adds a message, for what cannot be in one with the statements before.
    pub fn then(mut self, sql: &'static str) -> Self {
        self.messages.push(Message { sql, refused: false });
        self
    }

    /// Adds a message that the server refuses half way.
    pub fn then_refused(mut self, sql: &'static str) -> Self {
        self.messages.push(Message { sql, refused: true });
        self
    }

    /// Says that `pg_dump` does not show it.
    fn not_in_dump(self) -> Self {
        Self { in_dump: false, ..self }
    }

    /// Says that `pg_dump` shows it, although it makes no difference.
    pub fn in_dump(self) -> Self {
        Self { in_dump: true, ..self }
    }

    /// Says which version came with it.
    pub fn since(self, major: u32) -> Self {
        Self { since: major, ..self }
    }
}
