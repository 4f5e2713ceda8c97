//! The session of the lock monitor.

use diesel::pg::PgConnection;

use crate::error::Error;
use crate::postgres::Connector;
use crate::record::runs::Run;

/// The monitor's session. It is opened at the first use, so that a short run has none.
///
/// In a run without the lock of the fleet, it has the name of the run from its startup packet. It shows that the run is in
/// progress while no worker has a session. Behind a pooler it has no name: the server's session would keep it after the run.
pub(super) struct MonitorSession<'a> {
    connector: &'a Connector,
    run: Run,
    name: SessionName,
    conn: Option<PgConnection>,
}

/// The name of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionName {
    /// That of the run, which no other session has while no worker is connected.
    OfRun,
    /// That of every session: the one with the lock of the fleet has the name of the run.
    Default,
}

impl<'a> MonitorSession<'a> {
    pub(super) fn new(connector: &'a Connector, run: Run, name: SessionName) -> Self {
        Self { connector, run, name, conn: None }
    }

    /// The connection, opened if it is not open.
    pub(super) fn open(&mut self) -> Result<&mut PgConnection, Error> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect()?,
        };
        Ok(self.conn.insert(conn))
    }

    /// Closes the connection after an error. The next use opens another one.
    pub(super) fn close(&mut self) {
        self.conn = None;
    }

    fn connect(&self) -> Result<PgConnection, Error> {
        if self.name == SessionName::OfRun && self.connector.has_dedicated_session()? {
            return Ok(self.connector.connect_as(&self.run.session_name("watch"))?);
        }
        Ok(self.connector.connect()?)
    }
}
