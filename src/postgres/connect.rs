//! Connections and connection pools.

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
use super::dispatch::Dispatch;
use super::prepared::{PreparedStatements, Statements, Template};
use super::raw::RawSession;
use super::url::DatabaseUrl;
use super::{path, ping, pooler};
use crate::postgres::lock_holder::APPLICATION;

/// Opens connections to a database. Implements r2d2's `ManageConnection`.
#[derive(Debug, Clone)]
pub struct Connector {
    pub(super) url: DatabaseUrl,
    timeout: Duration,
    /// The address of the server, for messages.
    address: String,
    /// Passwords from outside the URL that must not appear in messages.
    secrets: Vec<String>,
    /// The user's startup options: `options` of the URL, or else `PGOPTIONS`.
    options: String,
    /// Incremented when a session is lost; see [`Session::is_current`].
    generation: Arc<AtomicU64>,
    /// Capabilities of the connection, detected once.
    pub(super) capabilities: Arc<Capabilities>,
}

/// Capabilities of the server or the pooler in front of it.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    /// Whether startup options are accepted. A pooler may reject or ignore them.
    startup_options: OnceLock<bool>,
    /// Whether a startup option has an effect on the session that runs the queries.
    effective_options: OnceLock<bool>,
    /// Whether each connection has a dedicated server session.
    dedicated_session: OnceLock<bool>,
    /// How the statements of a transaction are sent.
    pub(super) dispatch: OnceLock<Dispatch>,
}

/// A pooled connection.
pub struct Session {
    conn: PgConnection,
    discarded: bool,
    generation: u64,
    latest: Arc<AtomicU64>,
    statements: Statements,
    dispatch: Dispatch,
}

/// A pool of connections.
pub type Pool = r2d2::Pool<Connector>;

/// How often a waiting caller checks whether it still needs a session.
const TICK: Duration = Duration::from_millis(100);

/// Takes a session from the pool. Waits at most for `max_wait` and the timeout of the pool, and only while `is_wanted`
/// returns true. The error is the reason why no session could be opened.
pub(crate) fn session(
    pool: &Pool,
    max_wait: Duration,
    is_wanted: impl Fn() -> bool,
) -> Result<r2d2::PooledConnection<Connector>, String> {
    let until = Instant::now() + pool.connection_timeout().min(max_wait);
    let mut why = None;
    loop {
        let error = match pool.get_timeout(TICK) {
            Ok(session) => return Ok(session),
            Err(error) => error.to_string(),
        };
        // r2d2's own message says only that the timeout expired.
        why = error.strip_prefix("timed out waiting for connection: ").map(str::to_owned).or(why);
        if Instant::now() >= until || !is_wanted() {
            return Err(why.unwrap_or(error));
        }
    }
}

/// SQL that sets the lock timeout and the statement timeout of a read-only transaction.
pub(crate) const READ_LIMITS: &str = "SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO '60s';";

/// Runs a query in a read-only transaction with [`READ_LIMITS`], so that one locked table does not block the run. Must not be
/// called in a transaction.
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
    /// A connector for `url`. `timeout` is the connection timeout unless the URL has a `connect_timeout`. libpq rounds it up to
    /// whole seconds and applies it to each address of the host.
    ///
    /// `env` looks up the environment variables that libpq reads: the default address for messages, and the password, which
    /// messages must not contain.
    pub fn new(url: DatabaseUrl, timeout: Duration, env: impl Fn(&str) -> Option<String>) -> Self {
        let address = url.address(&env);
        let seconds = timeout.as_secs_f64().ceil().max(1.0).to_string();
        let url = url.with_default("connect_timeout", &seconds).with_default("fallback_application_name", APPLICATION);
        // Without keepalives, a connection to an unreachable host would wait forever.
        let url = KEEPALIVE.iter().fold(url, |url, (key, value)| url.with_default(key, value));
        let options = url.get("options").map(str::to_owned).or_else(|| env("PGOPTIONS")).unwrap_or_default();
        let capabilities = Capabilities::default();
        // A service file may set options, which ours would replace.
        if url.get("service").is_some() || env("PGSERVICE").is_some() {
            let _ = capabilities.startup_options.set(false);
        }
        Self {
            url,
            timeout,
            address,
            secrets: env("PGPASSWORD").into_iter().collect(),
            options,
            generation: Arc::default(),
            capabilities: Arc::new(capabilities),
        }
    }

    /// The host and port, or the directory of the socket, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The connection string, with the defaults of the connector.
    #[cfg(feature = "cli")]
    pub(crate) fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with the message of libpq, without passwords.
    pub fn connect(&self) -> Result<PgConnection, Error> {
        self.connect_safely(self.url.clone())
    }

    /// Opens a connection. While the server cannot be reached or is starting up, retries for up to `wait`, and calls `waiting`
    /// once with the first error.
    ///
    /// # Errors
    /// The error of the last attempt. A server that refuses the role, the password or the database is not waited for.
    pub fn connect_within(&self, wait: Duration, mut waiting: impl FnMut(&Error)) -> Result<PgConnection, Error> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.connect() {
                Ok(conn) => return Ok(conn),
                Err(error) => error,
            };
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(error);
            }
            if !ping::is_not_ready(&self.url.conninfo()) {
                // It may have become ready since.
                return self.connect();
            }
            if pause == FIRST_PAUSE {
                waiting(&error);
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens a connection with an `application_name` for its whole lifetime.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub(crate) fn connect_as(&self, name: &str) -> Result<PgConnection, Error> {
        self.connect_safely(self.url.clone().with("application_name", name))
    }

    /// Opens a connection with the settings that every session of its role begins with, besides what the URL sets.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub(crate) fn connect_raw(&self) -> Result<RawSession, Error> {
        let url = self.url.clone().with_default("client_encoding", "UTF8");
        RawSession::connect(&url.conninfo()).map_err(|message| self.unreachable(&message))
    }

    pub(super) fn unreachable(&self, message: &str) -> Error {
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let message = self.url.redact_with(message, &secrets);
        Error::Unreachable { address: self.address.clone(), message: message.trim_end().to_owned() }
    }

    /// Opens a connection with [`path::SESSION_OPTIONS`], or without them if a pooler rejects them. Tenantry's own statements
    /// qualify all names, so that they are safe with any `search_path`.
    fn connect_safely(&self, url: DatabaseUrl) -> Result<PgConnection, Error> {
        let startup_options = &self.capabilities.startup_options;
        if startup_options.get() == Some(&false) {
            return self.connect_with(&url);
        }
        let rejection = match self.connect_with(&self.with_option(url.clone(), path::SESSION_OPTIONS)) {
            Ok(conn) => {
                startup_options.get_or_init(|| true);
                return Ok(conn);
            }
            Err(error) if startup_options.get().is_none() && rejects_options(&error) => error,
            Err(error) => return Err(error),
        };
        let conn = self.connect_with(&url).map_err(|_| rejection)?;
        startup_options.get_or_init(|| false);
        Ok(conn)
    }

    /// The connection string with a startup option after the user's options.
    #[cfg(feature = "cli")]
    pub(super) fn url_with_option(&self, option: &str) -> DatabaseUrl {
        self.with_option(self.url.clone(), option)
    }

    /// Appends a startup option to the user's options. The last one for a setting takes precedence.
    pub(super) fn with_option(&self, url: DatabaseUrl, option: &str) -> DatabaseUrl {
        url.with("options", format!("{} {option}", self.options).trim_start())
    }

    /// Whether each connection has a dedicated server session: it is direct, or goes through a pooler in session mode. Detected
    /// once.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no connection can be opened.
    pub fn has_dedicated_session(&self) -> Result<bool, Error> {
        let known = &self.capabilities.dedicated_session;
        if let Some(known) = known.get() {
            return Ok(*known);
        }
        let is_dedicated = self.honors_startup_options() || pooler::has_dedicated_sessions(|| self.connect())?;
        Ok(*known.get_or_init(|| is_dedicated))
    }

    /// Whether startup options take effect, which shows a [dedicated session](Self::has_dedicated_session). Unlike there, a
    /// pooler in session mode that ignores them counts as one that shares sessions, and at most two connections are opened.
    /// Detected once; an error counts as no.
    pub(crate) fn honors_startup_options(&self) -> bool {
        *self.capabilities.effective_options.get_or_init(|| {
            // A second attempt rules out a connection that was lost by chance.
            self.startup_options_take_effect().or_else(|_| self.startup_options_take_effect()).unwrap_or(false)
        })
    }

    /// Whether a setting in the startup packet takes effect in the session that runs the queries. A transaction pooler rejects
    /// the packet, ignores the setting, or runs the query in another session.
    fn startup_options_take_effect(&self) -> Result<bool, Error> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let option = format!("{} -c tenantry.mark={mark}", path::SESSION_OPTIONS);
        let mut conn = self.connect_with(&self.with_option(self.url.clone(), &option))?;
        sql::<Bool>("SELECT COALESCE(pg_catalog.current_setting('tenantry.mark', true), '') = ")
            .bind::<Text, _>(mark)
            .get_result(&mut conn)
            .map_err(Error::doing("detect a connection pooler"))
    }

    /// A pool of at most `size` connections, which are opened on demand and kept.
    pub fn pool(&self, size: usize) -> Pool {
        let size = size.max(1);
        r2d2::Pool::builder()
            .max_size(u32::try_from(size).unwrap_or(u32::MAX))
            .min_idle(Some(0))
            // A check would cost a round trip each time; a lost connection shows at its first use.
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connection_timeout(self.timeout.max(Duration::from_secs(1)))
            .thread_pool(Arc::new(ScheduledThreadPool::builder().num_threads(size).build()))
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(self.clone())
    }

    fn connect_with(&self, url: &DatabaseUrl) -> Result<PgConnection, Error> {
        let mut conn =
            PgConnection::establish(&url.conninfo()).map_err(|error| self.unreachable(&error.to_string()))?;
        // With unnamed prepared statements, each query is one round trip and safe with a transaction pooler.
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(conn)
    }
}

/// The pauses between attempts to reach a server that is starting: each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// TCP settings that detect an unreachable server: after 15 idle seconds, a keepalive every 5 seconds, and a timeout after 3
/// unanswered keepalives or 30 seconds of unacknowledged data. libpq ignores settings that the operating system does not
/// support, and all of them for Unix sockets.
const KEEPALIVE: [(&str, &str); 5] = [
    ("keepalives", "1"),
    ("keepalives_idle", "15"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
];

/// Whether a pooler rejected the startup options, so that a connection without them may succeed.
fn rejects_options(error: &Error) -> bool {
    let Error::Unreachable { message, .. } = error else { return false };
    let message = message.to_ascii_lowercase();
    ["startup parameter", "options", "command-line", "unsupported"].iter().any(|word| message.contains(word))
}

impl Session {
    /// Makes the pool close the connection instead of reusing it, because its state is not clean.
    pub fn discard(&mut self) {
        self.discarded = true;
    }

    /// How the statements of a transaction are sent.
    pub(crate) fn dispatch(&self) -> Dispatch {
        self.dispatch
    }

    /// Discards the connection because it was lost. The other open connections are probably lost too, so that they are no longer
    /// [current](Self::is_current).
    pub(crate) fn mark_lost(&mut self) {
        self.discarded = true;
        self.latest.fetch_add(1, Ordering::AcqRel);
    }

    /// The statements that messages may execute by name.
    pub(crate) fn prepared(&self) -> Arc<PreparedStatements> {
        self.statements.prepared()
    }

    /// Prepares statements. Returns whether [`prepared`](Self::prepared) has more than before.
    ///
    /// # Errors
    /// The server's error. If the connection is not lost, the session uses no prepared statements from then on.
    pub(crate) fn prepare(&mut self, templates: &[Template]) -> QueryResult<bool> {
        self.statements.prepare(&mut self.conn, templates)
    }

    /// Executes no statement by name from now on. To be called before code runs in the session: it may deallocate prepared
    /// statements and prepare others with the same names.
    pub(crate) fn forgo_prepared(&mut self) {
        self.statements = Statements::Unusable;
    }

    /// Whether no session was lost since this session was opened.
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
        let statements = Statements::default();
        let dispatch = self.dispatch();
        self.connect().map(|conn| Session { conn, discarded: false, generation, latest, statements, dispatch })
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
