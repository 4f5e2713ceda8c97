//! Connections for the replication protocol.

use std::time::Duration;

use super::raw::RawSession;
use super::{Connector, Error};

impl Connector {
    /// Opens a connection for the replication protocol, in which waiting for a lock is limited.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub(crate) fn connect_for_replication(&self, lock_timeout: Duration) -> Result<RawSession, Error> {
        let limit = format!("-c lock_timeout={}", lock_timeout.as_millis());
        let url = self.with_option(self.url.clone(), &limit).with("replication", "database");
        RawSession::connect(&url.conninfo()).map_err(|message| self.unreachable(&message))
    }
}
