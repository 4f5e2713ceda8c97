//! Statements that the messages of a session execute by name.
//!
//! Planning the guards of a message takes the server several times as long as running them. A session that belongs to one
//! client prepares them once. Behind a pooler, and if code may have replaced a prepared statement, a message contains
//! them as text. [`Call`] makes both forms from one source.

use std::sync::Arc;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::{ServerMessage, path};
use crate::sql::quote::{Identifier, Literal};

/// A statement with arguments of type `text`.
#[derive(Debug)]
pub(crate) struct Call {
    template: Template,
    /// The arguments as SQL constants.
    arguments: Vec<String>,
    text: String,
}

/// A statement with parameters of type `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    sql: String,
    parameters: usize,
}

impl Call {
    /// A call with these arguments. `sql` writes the statement with an SQL expression for each of them.
    pub(crate) fn new<const N: usize>(arguments: [Option<&str>; N], sql: impl Fn([&str; N]) -> String) -> Self {
        let parameters: [String; N] = std::array::from_fn(|index| format!("${}", index + 1));
        let constants = arguments.map(|argument| match argument {
            Some(text) => Literal(text).to_string(),
            None => "NULL".to_owned(),
        });
        let typed = constants.each_ref().map(|constant| format!("{constant}::pg_catalog.text"));
        Self {
            template: Template { sql: sql(parameters.each_ref().map(String::as_str)), parameters: N },
            text: sql(typed.each_ref().map(String::as_str)),
            arguments: constants.into(),
        }
    }

    /// The statement with its parameters.
    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    /// The statement as text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The statement by its name, if it is prepared.
    pub(crate) fn execute(&self, prepared: &PreparedStatements) -> Option<String> {
        let name = prepared.name(&self.template)?;
        Some(format!("EXECUTE {}({});", Identifier::of_object(&name), self.arguments.join(", ")))
    }
}

/// The largest number of statements that a session prepares. A run uses a few; the limit is for a run whose tenants differ.
const MAX_STATEMENTS: usize = 16;

/// The statements that a session has prepared.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements {
    /// The prefix of the names. It is random, so that a pooler that was not detected leads to a missing statement, and not to
    /// one of another client.
    prefix: String,
    templates: Vec<Template>,
}

impl PreparedStatements {
    fn name(&self, template: &Template) -> Option<String> {
        let index = self.templates.iter().position(|prepared| prepared == template)?;
        Some(self.name_of(index))
    }

    fn name_of(&self, index: usize) -> String {
        format!("{}_{index}", self.prefix)
    }

    /// Whether a message of the server names one of the statements.
    pub(crate) fn are_named_in(&self, message: &str) -> bool {
        !self.prefix.is_empty() && message.contains(&self.prefix)
    }
}

/// Whether a session may execute statements by name.
#[derive(Debug)]
pub(super) enum Statements {
    /// It may execute these.
    Prepared(Arc<PreparedStatements>),
    /// It may not: code ran in the session, which may have replaced them, or the server did not accept them.
    Unusable,
}

impl Default for Statements {
    fn default() -> Self {
        Self::Prepared(Arc::default())
    }
}

impl Statements {
    /// The statements that can be executed by name.
    pub(super) fn prepared(&self) -> Arc<PreparedStatements> {
        match self {
            Self::Prepared(prepared) => Arc::clone(prepared),
            Self::Unusable => Arc::default(),
        }
    }

    /// Prepares more statements, with only the catalog on the path: a plan is used only with the path that it was made with.
    /// Returns whether there are more than before.
    pub(super) fn prepare(&mut self, conn: &mut PgConnection, templates: &[Template]) -> QueryResult<bool> {
        let Self::Prepared(before) = self else { return Ok(false) };
        let mut after = PreparedStatements { prefix: before.prefix.clone(), templates: before.templates.clone() };
        if after.prefix.is_empty() {
            after.prefix = format!("tenantry_{}", uuid::Uuid::new_v4().simple());
        }
        let mut sql = format!("BEGIN; {}", path::CATALOG_FOR_TRANSACTION);
        let free = MAX_STATEMENTS - after.templates.len();
        for template in templates.iter().take(free) {
            let name = after.name_of(after.templates.len());
            let types = vec!["pg_catalog.text"; template.parameters].join(", ");
            sql.push_str(&format!(" PREPARE {} ({types}) AS {}", Identifier::of_object(&name), template.sql));
            after.templates.push(template.clone());
        }
        if after.templates.len() == before.templates.len() {
            return Ok(false);
        }
        sql.push_str(" COMMIT;");
        match conn.batch_execute(&sql) {
            Ok(()) => *self = Self::Prepared(Arc::new(after)),
            Err(error) if ServerMessage::is_connection_lost(&error) => return Err(error),
            // The same statement as text shows the error where it belongs to a tenant.
            Err(_) => {
                *self = Self::Unusable;
                conn.batch_execute("ROLLBACK")?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_text_or_the_name_of_a_prepared_statement() {
        let call = Call::new([Some("it's"), None], |[name, version]| format!("SELECT f({name}, {version}), '$1';"));
        assert_eq!(call.text(), "SELECT f('it''s'::pg_catalog.text, NULL::pg_catalog.text), '$1';");
        assert_eq!(call.template().sql, "SELECT f($1, $2), '$1';");
        assert_eq!(call.execute(&PreparedStatements::default()), None);
        let prepared = PreparedStatements { prefix: "p".to_owned(), templates: vec![call.template().clone()] };
        assert_eq!(call.execute(&prepared).as_deref(), Some("EXECUTE \"p_0\"('it''s', NULL);"));
        assert!(prepared.are_named_in("prepared statement \"p_0\" does not exist"));
        assert!(!PreparedStatements::default().are_named_in("p_0"));
    }
}
