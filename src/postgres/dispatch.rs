//! How the statements of a transaction are sent: in one message, or one by one.
//!
//! Citus, with tenants as distributed schemas, sends the whole message of a statement such as `CREATE INDEX` or `ALTER TABLE`
//! to its workers again. A message with several statements therefore fails there.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::Connector;
use crate::sql::statement::split;

/// How the statements of a transaction are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dispatch {
    /// In one message, which is one round trip.
    #[default]
    Joined,
    /// Each in a message of its own, within the same transaction.
    Single,
}

/// The error of a statement.
pub(crate) struct DispatchError {
    pub(crate) error: DieselError,
    /// The number of characters before the message that failed: the server gives a position in that message.
    pub(crate) before: u32,
}

/// Makes `SET LOCAL` reach the workers of Citus. Only for statements that are sent one by one: Citus would otherwise send the
/// beginning of the message to the workers, too.
const REACH_WORKERS: &str = "SET LOCAL citus.propagate_set_commands TO 'local'";

impl Dispatch {
    /// Sends the statements of a transaction. `limits` are its `SET LOCAL` statements, which are sent again if it is not joined,
    /// so that lock timeouts apply to the workers.
    pub(crate) fn send(self, conn: &mut PgConnection, sql: &str, limits: &str) -> Result<(), DispatchError> {
        let joined = |error| DispatchError { error, before: 0 };
        let statements = match self {
            Self::Single => split(sql).ok(),
            Self::Joined => None,
        };
        let Some(statements) = statements else { return conn.batch_execute(sql).map_err(joined) };
        let limits = split(limits).unwrap_or_default();
        let mut characters = 0;
        let mut counted = 0;
        for statement in statements {
            characters += sql[counted..statement.offset()].chars().count();
            counted = statement.offset();
            let before = u32::try_from(characters).unwrap_or(u32::MAX);
            conn.batch_execute(statement.sql()).map_err(|error| DispatchError { error, before })?;
            let is =
                |words: &str| statement.sql().get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
            let begins = is("BEGIN");
            if begins || is("RESET ALL") {
                conn.batch_execute(REACH_WORKERS).map_err(joined)?;
            }
            if begins {
                limits.iter().try_for_each(|limit| conn.batch_execute(limit.sql())).map_err(joined)?;
            }
        }
        Ok(())
    }
}

impl Connector {
    /// How the statements of a transaction are sent, once the server was read.
    pub(crate) fn dispatch(&self) -> Dispatch {
        self.capabilities.dispatch.get().copied().unwrap_or_default()
    }

    /// Sets how the statements of a transaction are sent. The first call decides.
    pub(crate) fn set_dispatch(&self, dispatch: Dispatch) {
        self.capabilities.dispatch.get_or_init(|| dispatch);
    }
}
