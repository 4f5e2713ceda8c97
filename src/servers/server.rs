//! A server of a fleet.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::error::{Error, ServersError};
use crate::model::{ServerName, ServerState};
use crate::postgres::{Connector, DatabaseUrl};

/// A server of a fleet: a database with tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetServer {
    /// The identity of its database.
    pub id: Uuid,
    /// Its name.
    pub name: ServerName,
    /// Its region.
    pub region: Option<String>,
    /// The connection string, without secrets. `None` for a registry whose own connection string is not known: it is then
    /// the database that the directory was read from.
    pub connection: Option<DatabaseUrl>,
    /// The connection string by which the other servers reach it, if it is another one.
    pub peer_connection: Option<DatabaseUrl>,
    /// The environment variable that has the password.
    pub password_variable: Option<String>,
    /// The number of tenants that it may have; `None` for no limit.
    pub capacity: Option<i64>,
    /// Whether it takes tenants.
    pub state: ServerState,
    /// Whether it has the directory.
    pub is_registry: bool,
    /// The server on which this database was made for a single tenant.
    pub host: Option<Uuid>,
    /// The newest change of the directory that its copy has.
    pub copied: i64,
}

/// A row of `public.schema_server`.
#[derive(QueryableByName)]
pub(super) struct ServerRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    region: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    connection: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    peer_connection: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    password_variable: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    capacity: Option<i64>,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Bool)]
    is_registry: bool,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    host: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    copied: i64,
}

impl ServerRow {
    /// Parses the values of the row.
    pub(super) fn parse(self) -> Result<FleetServer, Error> {
        let invalid = |reason: String| Error::from(ServersError::InvalidDirectory { reason });
        let name: ServerName = self.name.parse().map_err(|error: crate::ServerNameError| invalid(error.to_string()))?;
        let url = |text: Option<String>| {
            let reason =
                |error: crate::postgres::ParseUrlError| invalid(format!("connection of server {name}: {error}"));
            text.map(|text| text.parse::<DatabaseUrl>().map_err(reason)).transpose()
        };
        let (connection, peer_connection) = (url(self.connection)?, url(self.peer_connection)?);
        let state = ServerState::of_row(&self.state)
            .ok_or_else(|| invalid(format!("server {name} has an unknown state {:?}", self.state)))?;
        Ok(FleetServer {
            id: self.id,
            name,
            region: self.region,
            connection,
            peer_connection,
            password_variable: self.password_variable,
            capacity: self.capacity,
            state,
            is_registry: self.is_registry,
            host: self.host,
            copied: self.copied,
        })
    }
}

impl FleetServer {
    /// A server that is open and has nothing but its identity, as [`identify`](super::identify) returns it, and a name.
    pub fn new(id: Uuid, name: ServerName) -> Self {
        Self {
            id,
            name,
            region: None,
            connection: None,
            peer_connection: None,
            password_variable: None,
            capacity: None,
            state: ServerState::Open,
            is_registry: false,
            host: None,
            copied: 0,
        }
    }

    /// A connector for the server. `timeout` and `env` are as for [`Connector::new`]; the password comes from the server's
    /// variable, or else from where libpq looks for it.
    ///
    /// # Errors
    /// [`ServersError::NoPassword`] if the variable is not set; [`ServersError::InvalidConnection`] if the connection
    /// string is not known.
    pub fn connector(&self, timeout: Duration, env: impl Fn(&str) -> Option<String>) -> Result<Connector, Error> {
        let name = || self.name.to_string();
        let unknown = || ServersError::InvalidConnection {
            name: name(),
            reason: format!("it is not known ('server set {} --url' sets it)", self.name),
        };
        let url = self.connection.clone().ok_or_else(unknown)?;
        let url = match &self.password_variable {
            Some(variable) => {
                let password = env(variable)
                    .ok_or_else(|| ServersError::NoPassword { name: name(), variable: variable.clone() })?;
                url.with("password", &password)
            }
            None => url,
        };
        Ok(Connector::new(url, timeout, env))
    }

    /// Whether `create` and `move` may place a tenant on it, besides its capacity.
    pub fn is_open(&self) -> bool {
        self.state == ServerState::Open
    }
}
