//! The tracker: `public.schema_tracker`, one row for each tenant.

use std::fmt;
use std::str::FromStr;

use diesel::pg::PgConnection;

use crate::error::Error;
use crate::ledger;
use crate::postgres::Server;
use crate::tenancy::Tenancy;

pub use schema::schema_tracker;

/// The table as Diesel sees it.
#[allow(missing_docs)]
mod schema {
    diesel::table! {
        /// One row for each tenant.
        public.schema_tracker (id) {
            id -> Uuid,
            name -> Text,
            state -> Text,
            created_at -> Timestamptz,
            unfinished_version -> Nullable<Text>,
            unfinished_statements -> Nullable<Integer>,
            unfinished_digest -> Nullable<Text>,
            unfinished_in_doubt -> Nullable<Bool>,
        }
    }
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Written into the tracker by hand; its schema may not exist yet.
    Registered,
    /// `create` has begun it; `create` or `migrate-all` completes it.
    Creating,
    /// Its schema exists.
    Active,
    /// `drop` has begun on it; `drop` completes it.
    Dropping,
}

/// A text that is no [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no state of a tenant")]
pub struct UnknownState;

/// How far a non-transactional migration has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its version.
    pub version: String,
    /// How many of its statements have taken effect.
    pub statements: usize,
    /// Whether the next one may have, too: the connection was lost before it was answered.
    pub in_doubt: bool,
}

impl State {
    /// The state of a row of the tracker, or what is wrong with it: a later version may know more states.
    pub(crate) fn of_row(text: Option<&str>) -> Result<Self, String> {
        let text = text.ok_or("its state is NULL")?;
        text.parse().map_err(|_| format!("its state {text:?} is unknown to this version"))
    }

    /// As it stands in the tracker.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Creating => "creating",
            Self::Active => "active",
            Self::Dropping => "dropping",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Registered, Self::Creating, Self::Active, Self::Dropping]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownState)
    }
}

/// Makes sure that the tracker is there and as the public migrations make it.
///
/// # Errors
/// [`Error::TrackerMissing`] or [`Error::TrackerBehind`].
pub fn require(conn: &mut PgConnection, server: &Server, tenancy: &Tenancy) -> Result<(), Error> {
    if server.tracker_is_hidden {
        return Err(Error::TrackerHidden);
    }
    let database = || server.database.clone();
    match pending_public(conn, server, tenancy)? {
        _ if !server.has_tracker => Err(Error::TrackerMissing { database: database() }),
        0 => Ok(()),
        pending => Err(Error::TrackerBehind { database: database(), pending }),
    }
}

/// How many public migrations are not applied.
pub(crate) fn pending_public(conn: &mut PgConnection, server: &Server, tenancy: &Tenancy) -> Result<usize, Error> {
    let applied = match (server.has_public_ledger, server.has_diesel_ledger) {
        (true, _) => ledger::public::read_own(conn)?,
        (false, true) => ledger::public::read(conn, tenancy)?.applied,
        (false, false) => Vec::new(),
    };
    Ok(ledger::Ledger::new(applied, tenancy.public_migrations()).pending.len())
}
