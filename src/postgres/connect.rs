//! Connections, one by one or from a pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{CacheSize, Connection, SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::sql_types::{Bool, Text};
use diesel::{QueryResult, RunQueryDsl};
use scheduled_thread_pool::ScheduledThreadPool;

use super::url::DatabaseUrl;
use crate::error::Error;

/// Opens connections to one database. It is what r2d2 calls a connection manager.
#[derive(Debug, Clone)]
pub struct Connector {
    url: DatabaseUrl,
    timeout: Duration,
    /// Where the database is, for messages.
    place: String,
    /// Passwords that are not in the URL, to be kept out of messages.
    secrets: Vec<String>,
    /// Raised when a session is lost; see [`Session::is_current`].
    generation: Arc<AtomicU64>,
}

/// A connection of a [`Pool`].
pub struct Session {
    conn: PgConnection,
    spent: bool,
    generation: u64,
    latest: Arc<AtomicU64>,
}

/// Connections that workers share.
pub type Pool = r2d2::Pool<Connector>;

/// How often who waits for a session looks whether it still wants one.
const TICK: Duration = Duration::from_millis(100);

/// A session of a pool, waited for as long as the pool does, and `most`, unless it is not wanted any more. The error is why
/// none could be opened.
pub(crate) fn session(
    pool: &Pool,
    most: Duration,
    is_wanted: impl Fn() -> bool,
) -> Result<r2d2::PooledConnection<Connector>, String> {
    let until = Instant::now() + pool.connection_timeout().min(most);
    let mut why = None;
    loop {
        let error = match pool.get_timeout(TICK) {
            Ok(session) => return Ok(session),
            Err(error) => error.to_string(),
        };
        // What it says of itself is only that it waited.
        why = error.strip_prefix("timed out waiting for connection: ").map(str::to_owned).or(why);
        if Instant::now() >= until || !is_wanted() {
            return Err(why.unwrap_or(error));
        }
    }
}

/// Does a query that locks tables of tenants to look at them. Somebody who has one locked is not waited for without end,
/// as a whole fleet would be. Not in a transaction.
pub(crate) fn impatient<T>(
    conn: &mut PgConnection,
    query: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    conn.batch_execute("BEGIN READ ONLY; SET LOCAL lock_timeout TO '2s'")?;
    let result = query(conn);
    let ended = conn.batch_execute("ROLLBACK");
    let result = result?;
    ended.map(|()| result)
}

impl Connector {
    /// A connector for `url`; a try to connect takes `timeout` at most (libpq rounds it up to whole seconds, and takes it
    /// for each address of the host), unless the URL has a `connect_timeout` of its own.
    ///
    /// `env` looks up the variables that libpq reads, for messages: where it goes by default, and the password that must
    /// not show.
    pub fn new(url: DatabaseUrl, timeout: Duration, env: impl Fn(&str) -> Option<String>) -> Self {
        let place = url.place(&env);
        let seconds = timeout.as_secs_f64().ceil().max(1.0).to_string();
        let url = url.with_default("connect_timeout", &seconds).with_default("fallback_application_name", "tenantry");
        Self { url, timeout, place, secrets: env("PGPASSWORD").into_iter().collect(), generation: Arc::default() }
    }

    /// The host and port, or the folder of the socket.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with what libpq said, without passwords.
    pub fn connect(&self) -> Result<PgConnection, Error> {
        self.connect_with(&self.url)
    }

    /// Opens a connection whose session has this name in `pg_stat_activity` from its beginning to its end.
    ///
    /// # Errors
    /// As those of [`connect`](Self::connect).
    pub(crate) fn connect_as(&self, name: &str) -> Result<PgConnection, Error> {
        self.connect_with(&self.url.clone().with("application_name", name))
    }

    /// Whether a connection reaches the server itself, and not a pooler that hands each transaction to any session.
    ///
    /// A setting goes along in the startup packet: a server's session has it, while a pooler refuses the packet, drops the
    /// setting, or has another session run the query.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when a connection without the setting cannot be made either.
    pub fn reaches_a_session_of_its_own(&self) -> Result<bool, Error> {
        // What is refused twice was not a link that broke just then.
        match self.has_its_mark().or_else(|_| self.has_its_mark()) {
            Ok(answer) => Ok(answer),
            Err(_) => self.connect().map(|_| false),
        }
    }

    fn has_its_mark(&self) -> Result<bool, Error> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let options = format!("{} -c tenantry.mark={mark}", self.url.get("options").unwrap_or_default());
        let mut conn = self.connect_with(&self.url.clone().with("options", options.trim_start()))?;
        sql::<Bool>("SELECT coalesce(current_setting('tenantry.mark', true), '') = ")
            .bind::<Text, _>(mark)
            .get_result(&mut conn)
            .map_err(Error::doing("find out whether there is a pooler before the server"))
    }

    /// A pool of exactly `size` connections, opened all at once and kept.
    pub fn pool(&self, size: usize) -> Pool {
        let size = size.max(1);
        r2d2::Pool::builder()
            .max_size(u32::try_from(size).unwrap_or(u32::MAX))
            .min_idle(Some(0))
            // A check costs a round trip each time; a dead connection shows at its first use.
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connection_timeout(self.timeout.max(Duration::from_secs(1)))
            .thread_pool(Arc::new(ScheduledThreadPool::builder().num_threads(size).build()))
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(self.clone())
    }

    fn connect_with(&self, url: &DatabaseUrl) -> Result<PgConnection, Error> {
        let mut conn = PgConnection::establish(&url.conninfo()).map_err(|error| {
            let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
            let message = self.url.redact_with(&error.to_string(), &secrets);
            Error::Unreachable { place: self.place.clone(), message: message.trim_end().to_owned() }
        })?;
        // Without names for prepared statements each query is one round trip, and safe behind a transaction pooler.
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(conn)
    }
}

impl Session {
    /// Has the connection closed instead of given back: its state is not what the next user expects.
    pub fn spend(&mut self) {
        self.spent = true;
    }

    /// Notes that the connection is gone. Those that were open with it are likely to be gone, too: a server that goes away
    /// takes all with it.
    pub(crate) fn lose(&mut self) {
        self.spent = true;
        self.latest.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether no session was lost since this one was opened.
    pub(crate) fn is_current(&self) -> bool {
        self.generation == self.latest.load(Ordering::Acquire)
    }
}

impl r2d2::ManageConnection for Connector {
    type Connection = Session;
    type Error = Error;

    fn connect(&self) -> Result<Session, Error> {
        let generation = self.generation.load(Ordering::Acquire);
        let latest = Arc::clone(&self.generation);
        self.connect().map(|conn| Session { conn, spent: false, generation, latest })
    }

    fn is_valid(&self, _: &mut Session) -> Result<(), Error> {
        Ok(())
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.spent
            || std::thread::panicking()
            || <PgConnection as Connection>::TransactionManager::is_broken_transaction_manager(&mut session.conn)
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
