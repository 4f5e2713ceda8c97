//! Connections, one by one or from a pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{CacheSize, Connection, SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::sql_types::{Bool, Text};
use diesel::{QueryResult, RunQueryDsl};
use scheduled_thread_pool::ScheduledThreadPool;

use super::Error;
use super::url::DatabaseUrl;
use super::{path, pooler};
use crate::postgres::lock_holder::APPLICATION;

/// Opens connections to one database. It is what r2d2 calls a connection manager.
#[derive(Debug, Clone)]
pub struct Connector {
    url: DatabaseUrl,
    timeout: Duration,
    /// Where the database is, for messages.
    place: String,
    /// Passwords that are not in the URL, to be kept out of messages.
    secrets: Vec<String>,
    /// What `options` the user has for each session: those of the URL, or else of `PGOPTIONS`.
    options: String,
    /// Raised when a session is lost; see [`Session::is_current`].
    generation: Arc<AtomicU64>,
    /// What is found out once for all connections.
    found: Arc<Found>,
}

/// What a connector finds out about what it connects to.
#[derive(Debug, Default)]
struct Found {
    /// Whether startup options of our own are taken. A pooler may refuse them, or drop them without a word.
    takes_options: OnceLock<bool>,
    /// Whether a connection keeps one session of the server.
    keeps_session: OnceLock<bool>,
}

/// A connection of a [`Pool`].
pub struct Session {
    conn: PgConnection,
    discarded: bool,
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

/// SQL that limits how long a transaction that only reads waits for a lock, and how long each of its statements takes.
pub(crate) const READ_LIMITS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO '60s';";

/// Runs a query that locks tenants' tables to read them, in a read-only transaction with [`READ_LIMITS`], so that one locked
/// table does not stop the fleet. Not in a transaction.
pub(crate) fn with_lock_timeout<T>(
    conn: &mut PgConnection,
    query: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    conn.batch_execute(&format!("BEGIN READ ONLY; {READ_LIMITS}"))?;
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
        let url = url.with_default("connect_timeout", &seconds).with_default("fallback_application_name", APPLICATION);
        // Without these a host that is gone, with nobody left to close its connections, is waited for without end.
        let url = KEEPALIVE.iter().fold(url, |url, (key, value)| url.with_default(key, value));
        let options = url.get("options").map(str::to_owned).or_else(|| env("PGOPTIONS")).unwrap_or_default();
        let found = Found::default();
        // A service file may have options, which those of the connection string would replace.
        if url.get("service").is_some() || env("PGSERVICE").is_some() {
            let _ = found.takes_options.set(false);
        }
        Self {
            url,
            timeout,
            place,
            secrets: env("PGPASSWORD").into_iter().collect(),
            options,
            generation: Arc::default(),
            found: Arc::new(found),
        }
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
        self.connect_safely(self.url.clone())
    }

    /// Opens a connection whose session has this name in `pg_stat_activity` from its beginning to its end.
    ///
    /// # Errors
    /// As those of [`connect`](Self::connect).
    pub(crate) fn connect_as(&self, name: &str) -> Result<PgConnection, Error> {
        self.connect_safely(self.url.clone().with("application_name", name))
    }

    /// Opens a connection with [`path::SESSION_OPTIONS`]; without it, where a pooler refuses that. Statements of tenantry's
    /// own name every function, operator and type so that they are safe on any path.
    fn connect_safely(&self, url: DatabaseUrl) -> Result<PgConnection, Error> {
        let takes_options = &self.found.takes_options;
        if takes_options.get() == Some(&false) {
            return self.connect_with(&url);
        }
        let refused = match self.connect_with(&self.with_option(url.clone(), path::SESSION_OPTIONS)) {
            Ok(conn) => {
                takes_options.get_or_init(|| true);
                return Ok(conn);
            }
            Err(error) if takes_options.get().is_none() && refuses_options(&error) => error,
            Err(error) => return Err(error),
        };
        let conn = self.connect_with(&url).map_err(|_| refused)?;
        takes_options.get_or_init(|| false);
        Ok(conn)
    }

    /// Adds a startup option behind the user's: of two for the same setting the last one counts.
    fn with_option(&self, url: DatabaseUrl, option: &str) -> DatabaseUrl {
        url.with("options", format!("{} {option}", self.options).trim_start())
    }

    /// Whether a connection keeps one session of the server for as long as it lives: it reaches the server itself, or a pooler
    /// in session mode, and not one that gives each transaction any session. Found out once.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no connection can be made.
    pub fn has_dedicated_session(&self) -> Result<bool, Error> {
        if let Some(known) = self.found.keeps_session.get() {
            return Ok(*known);
        }
        // What is refused twice was not a link that broke just then.
        let answer = match self.has_its_mark().or_else(|_| self.has_its_mark()) {
            Ok(true) => true,
            Ok(false) | Err(_) => pooler::keeps_sessions_apart(|| self.connect())?,
        };
        Ok(*self.found.keeps_session.get_or_init(|| answer))
    }

    /// Whether a setting in the startup packet reaches the session that runs the queries: a server's session has it, while a
    /// pooler refuses the packet, drops the setting, or has another session run the query.
    fn has_its_mark(&self) -> Result<bool, Error> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let option = format!("{} -c tenantry.mark={mark}", path::SESSION_OPTIONS);
        let mut conn = self.connect_with(&self.with_option(self.url.clone(), &option))?;
        sql::<Bool>("SELECT COALESCE(pg_catalog.current_setting('tenantry.mark', true), '') = ")
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

/// How the client notices that the server's host is gone: after 15 seconds without traffic it asks every 5 seconds, and
/// gives up after 3 questions without an answer, or 30 seconds after it sent what is not acknowledged. libpq leaves out what
/// the operating system cannot do, and all of it on a socket of the local machine.
const KEEPALIVE: [(&str, &str); 5] = [
    ("keepalives", "1"),
    ("keepalives_idle", "15"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
];

/// Whether an error is that of a pooler that takes no startup options, and not one that a second try would meet, too.
fn refuses_options(error: &Error) -> bool {
    let Error::Unreachable { message, .. } = error else { return false };
    let message = message.to_ascii_lowercase();
    ["startup parameter", "options", "command-line", "unsupported"].iter().any(|word| message.contains(word))
}

impl Session {
    /// Has the connection closed instead of given back: its state is not what the next user expects.
    pub fn discard(&mut self) {
        self.discarded = true;
    }

    /// Notes that the connection is gone. Those that were open with it are likely to be gone, too: a server that goes away
    /// takes all with it.
    pub(crate) fn mark_lost(&mut self) {
        self.discarded = true;
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
        self.connect().map(|conn| Session { conn, discarded: false, generation, latest })
    }

    fn is_valid(&self, _: &mut Session) -> Result<(), Error> {
        Ok(())
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.discarded
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
