//! Runs without a record: over a database of an older release, or of the migrations that make the record.

use super::Run;
use crate::database::Database;
use crate::error::Error;

impl Run {
    /// Records that a run begins, where the database has the tables for it.
    pub(crate) fn begin_recorded_or_not(db: &mut Database, command: &str) -> Result<Self, Error> {
        match db.server().has_runs {
            true => Self::begin(db, command),
            false => Ok(Self::unrecorded()),
        }
    }

    /// A run that is not recorded. Its sessions can be told from those of others all the same, by a number that no record
    /// has.
    pub(crate) fn unrecorded() -> Self {
        Self { id: -1 - i64::from(fastrand::u32(..)), notices_clients: false, horizon: 0 }
    }

    /// Whether there is a record of it.
    pub(super) fn is_recorded(self) -> bool {
        self.id > 0
    }

    /// The id of its record.
    pub(crate) fn recorded_id(self) -> Option<i64> {
        self.is_recorded().then_some(self.id)
    }
}
