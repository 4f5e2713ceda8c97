//! Facts about the server and the database, read with one query.

use diesel::pg::PgConnection;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::Error;

/// The oldest supported version of PostgreSQL, as in `server_version_num`.
pub const OLDEST_VERSION: i32 = 140_000;

/// The maximum number of schemas that one statement or transaction accesses. Each schema takes one or more locks, and the
/// lock table of the server has `max_locks_per_transaction` × `max_connections` entries (6,400 by default).
pub const CHUNK: usize = 500;

/// The state of the server and the database when it was read.
#[derive(Debug, Clone, QueryableByName)]
pub struct Server {
    /// The name of the database.
    #[diesel(sql_type = Text)]
    pub database: String,
    /// The session role (`session_user`).
    #[diesel(sql_type = Text)]
    pub session_role: String,
    /// The current role (`current_user`).
    #[diesel(sql_type = Text)]
    pub role: String,
    /// The version as in `server_version_num`: 150018 is 15.18.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// Whether the server is a standby.
    #[diesel(sql_type = Bool)]
    pub in_recovery: bool,
    /// The number of connections that this role can still open.
    #[diesel(sql_type = Integer)]
    pub free_connections: i32,
    /// The number of entries of the server's lock table.
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
    /// Whether tenants share tables: `public.row_tenancy` has a row.
    #[diesel(sql_type = Bool)]
    pub has_row_tenancy: bool,
    /// Whether `public.schema_spare` has had rows.
    #[diesel(sql_type = Bool)]
    pub has_spares: bool,
    /// Whether `public.schema_server` has had rows: the fleet may be on several servers.
    #[diesel(sql_type = Bool)]
    pub has_servers: bool,
    /// Whether Citus distributes schemas: new ones, or some that exist.
    #[diesel(sql_type = Bool)]
    pub distributes_schemas: bool,
    /// Whether `public.schema_tracker` has the columns for tenants' roles.
    #[diesel(sql_type = Bool)]
    pub has_tenant_roles: bool,
    /// Whether `public.schema_migration` exists.
    #[diesel(sql_type = Bool)]
    pub has_recorded_migrations: bool,
    /// Whether this role may read `public.schema_migration` and `public.schema_acceptance`.
    #[diesel(sql_type = Bool)]
    pub may_read_recorded_migrations: bool,
    /// The privileges on the schema `public` and the tables of Tenantry that this role needs to read tenants and does not
    /// have, such as `SELECT ON public.schema_tracker`.
    #[diesel(sql_type = Array<Text>)]
    pub missing_to_read: Vec<String>,
    /// The privileges that this role needs to change tenants and does not have.
    #[diesel(sql_type = Array<Text>)]
    pub missing_to_write: Vec<String>,
}

impl Server {
    /// Whether the name is that of the connected role, ignoring case. A schema with that name is first on the default search
    /// path, `"$user", public`, of the role's sessions.
    pub(crate) fn is_own_role(&self, name: &str) -> bool {
        [&self.session_role, &self.role].iter().any(|role| role.eq_ignore_ascii_case(name))
    }

    /// How the statements of a transaction are sent to it.
    pub(crate) fn dispatch(&self) -> super::Dispatch {
        if self.distributes_schemas { super::Dispatch::Single } else { super::Dispatch::Joined }
    }

    /// Whether an earlier release set up the database and `migrate-public` has not yet created the public ledger.
    pub fn needs_ledger_upgrade(&self) -> bool {
        self.has_tracker && !self.has_public_ledger
    }

    /// Reads the state of the server and the database.
    ///
    /// # Errors
    /// [`Error::ServerTooOld`], or [`Error::Query`].
    pub fn read(conn: &mut PgConnection) -> Result<Self, Error> {
        let server: Self = sql_query(include_str!("server.sql"))
            .get_result(conn)
            .map_err(Error::doing("read the server version and settings"))?;
        if server.version < OLDEST_VERSION {
            return Err(Error::ServerTooOld { version: server.version });
        }
        Ok(server)
    }
}
