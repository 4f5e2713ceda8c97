//! What one query tells about the server and the database.

use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::Error;

/// The oldest version of PostgreSQL that the project works with, as in `server_version_num`.
pub const OLDEST_VERSION: i32 = 140_000;

/// The most schemas that one statement or one transaction touches. Each costs a lock or more, and the server's lock table
/// has room for `max_locks_per_transaction` × `max_connections` of all sessions (6,400 by default).
pub const CHUNK: usize = 500;

/// The server and the database at the moment of asking.
#[derive(Debug, Clone, QueryableByName)]
pub struct Server {
    /// The database's name.
    #[diesel(sql_type = Text)]
    pub database: String,
    /// The role that the connection was opened as.
    #[diesel(sql_type = Text)]
    pub session_role: String,
    /// The role whose rights it has.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// As in `server_version_num`: 150018 is 15.18.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// Whether it is a standby, which can only be read.
    #[diesel(sql_type = Bool)]
    pub in_recovery: bool,
    /// How many more connections this role may open.
    #[diesel(sql_type = Integer)]
    pub free_connections: i32,
    /// How many locks of all sessions together the server's lock table has room for.
    #[diesel(sql_type = BigInt)]
    pub lock_table: i64,
    /// Whether `public.schema_tracker` exists.
    #[diesel(sql_type = Bool)]
    pub has_tracker: bool,
    /// Whether row-level security on the tracker applies to this role.
    #[diesel(sql_type = Bool)]
    pub tracker_is_hidden: bool,
    /// Whether the schema `public` exists and this role may use it.
    #[diesel(sql_type = Bool)]
    pub has_public_schema: bool,
    /// Whether the public ledger, `public.schema_ledger`, exists.
    #[diesel(sql_type = Bool)]
    pub has_public_ledger: bool,
    /// Whether `public.__diesel_schema_migrations` exists: diesel_cli's ledger, and the public ledger of earlier releases.
    #[diesel(sql_type = Bool)]
    pub has_diesel_ledger: bool,
    /// Whether `public.schema_run` and `public.schema_run_tenant` exist, with all columns that this version writes.
    #[diesel(sql_type = Bool)]
    pub has_runs: bool,
    /// Whether `public.schema_migration` exists.
    #[diesel(sql_type = Bool)]
    pub has_recorded_migrations: bool,
    /// Whether this role may read it, and what was accepted.
    #[diesel(sql_type = Bool)]
    pub may_read_recorded_migrations: bool,
}

impl Server {
    /// Whether the name, in any case, is that of the role that is connected. A schema of that name is first on the default
    /// search path, `"$user", public`, of every session of the role.
    pub(crate) fn is_own_role(&self, name: &str) -> bool {
        [&self.session_role, &self.role].iter().any(|role| role.eq_ignore_ascii_case(name))
    }

    /// Whether an earlier release set up the database and `migrate-public` has not yet created the public ledger.
    pub fn needs_ledger_upgrade(&self) -> bool {
        self.has_tracker && !self.has_public_ledger
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Error::ServerTooOld`], or what the server answered.
    pub fn ask(conn: &mut PgConnection) -> Result<Self, Error> {
        let server: Self = sql_query(include_str!("server.sql"))
            .get_result(conn)
            .map_err(Error::doing("ask the server about itself"))?;
        match server.version < OLDEST_VERSION {
            true => Err(Error::ServerTooOld { version: server.version }),
            false => Ok(server),
        }
    }
}
