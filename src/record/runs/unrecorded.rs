//! Runs without a record: on a database of an earlier release, or for the migrations that create the record.

use super::Run;
use crate::database::Database;
use crate::error::Error;

impl Run {
    /// Records the start of a run, if the database has the tables for it.
    ///
    /// # Errors
    /// The server's error.
    pub(crate) fn begin_recorded_or_not(db: &mut Database, command: &str) -> Result<Self, Error> {
        if db.server().has_runs { Self::begin(db, command) } else { Ok(Self::unrecorded()) }
    }

    /// A run that is not recorded. Its random negative id distinguishes its sessions from those of other runs.
    pub(crate) fn unrecorded() -> Self {
        Self { id: -1 - i64::from(fastrand::u32(..)), detects_lost_clients: false, horizon: 0 }
    }

    /// Whether the run is recorded.
    pub(super) fn is_recorded(self) -> bool {
        self.id > 0
    }

    /// The id of the record, if the run is recorded.
    pub(crate) fn recorded_id(self) -> Option<i64> {
        self.is_recorded().then_some(self.id)
    }
}
