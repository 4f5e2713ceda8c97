//! Connections of commands: to the database of the options, or to one of several servers.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Context, Usage, location};
use crate::cli::fleet::{Route, SeveralServers, unreached};
use crate::cli::settings::Connection;
use crate::database::{Actor, DEFAULT_JOBS, Database};
use crate::error::{Error, ServersError};
use crate::postgres::{Connector, DatabaseUrl, LIBPQ_VARIABLES};
use crate::servers::findings::{self, ServerFinding};
use crate::servers::{Directory, FleetServer, require_identity};

impl Context {
    pub(super) fn connect(&self, connection: &Connection, jobs: usize, actor: Actor) -> Result<Database> {
        let (connector, jobs) = match &self.route {
            Route::Server(target) => (target.connector.clone(), target.jobs.map_or(jobs, |limit| jobs.min(limit))),
            Route::Open | Route::Here => (self.connector(connection)?, jobs),
        };
        let (address, wait) = (connector.address().to_owned(), connection.wait);
        let waiting = |_: &_| {
            self.output.status(format_args!("waiting up to {wait} for PostgreSQL at {address} to accept connections"))
        };
        let db = match Database::connect_within(connector, jobs, wait.into(), waiting) {
            Err(error) if self.route.is_open() && error.is_outage() => self.fallback(connection, jobs, error)?,
            db => db.map_err(|error| match &self.route {
                Route::Server(target) => unreached(error, &target.server),
                Route::Open | Route::Here => error,
            })?,
        };
        let db = self.routed(db.with_actor(actor), connection)?;
        self.output.detail(format_args!("database: {}", location(&db)));
        if db.jobs() < jobs {
            self.output.detail(format_args!("the server has {} free connections", db.server().free_connections));
        }
        Ok(db)
    }

    /// Connects to the first of the fallback databases that can be reached, as the registry cannot be.
    ///
    /// # Errors
    /// `error` if there is none.
    fn fallback(&self, connection: &Connection, jobs: usize, error: Error) -> Result<Database> {
        for url in &connection.fallback_url {
            let connector = connector(Some(url), connection.connect_timeout.into(), self.program())
                .context("invalid fallback URL")?;
            let Ok(db) = Database::connect(connector, jobs) else { continue };
            if db.server().has_servers {
                return Ok(db);
            }
        }
        Err(error.into())
    }

    /// Connects for a command that only reads the directory of servers, or else to a fallback database with a copy of it.
    pub(crate) fn database_with_directory(&self, connection: &Connection) -> Result<Database> {
        let error = match self.database(connection) {
            Ok(db) => return Ok(db),
            Err(error) => error.downcast::<Error>()?,
        };
        if !error.is_outage() || connection.fallback_url.is_empty() {
            return Err(error.into());
        }
        let message = error.to_string();
        let db = self.fallback(connection, DEFAULT_JOBS, error)?;
        self.output.warning(format_args!("using the copy of the directory of {}: {message}", location(&db)));
        Ok(db)
    }

    /// Checks that the database is the one that the command is to work on.
    ///
    /// # Errors
    /// [`SeveralServers`] if the command is to be run on each of several servers, or another database answers.
    fn routed(&self, mut db: Database, connection: &Connection) -> Result<Database> {
        let server = db.server().clone();
        match &self.route {
            Route::Here => {}
            Route::Server(target) => {
                let connector = db.connector().clone();
                require_identity(db.connection(), &connector, &target.server, target.registry)?;
            }
            Route::Open => {
                if let Some(directory) = Directory::read(db.connection(), &server)? {
                    return Err(SeveralServers::new(db, directory, connection.clone()).into());
                }
                if connection.servers.is_given() {
                    return Err(Error::from(ServersError::NoDirectory { database: server.database }).into());
                }
            }
        }
        Ok(db)
    }

    /// The connector of a server of the fleet, with the timeouts of the command.
    pub(crate) fn connector_of(&self, server: &FleetServer, connection: &Connection) -> Result<Connector, Error> {
        server.connector(connection.connect_timeout.into(), variable)
    }

    /// The connection string of the command's own database without secrets, for the directory; `None` if only libpq's
    /// variables name the database.
    pub(crate) fn own_connection(&self, connection: &Connection) -> Option<DatabaseUrl> {
        let url: DatabaseUrl = connection.database_url.as_deref()?.trim().parse().ok()?;
        let names_database = url.get("dbname").is_some() || url.get("service").is_some();
        names_database.then(|| url.without_any_secret())
    }

    /// The problems of the server that the command works on, if the fleet is on several servers.
    pub(crate) fn server_findings(&self, db: &mut Database) -> Result<Vec<ServerFinding>, Error> {
        match &self.route {
            Route::Server(target) => findings::find(db.connection(), &target.server, &target.placed),
            Route::Open | Route::Here => Ok(Vec::new()),
        }
    }

    fn connector(&self, connection: &Connection) -> Result<Connector> {
        connector(connection.database_url.as_deref(), connection.connect_timeout.into(), self.program())
    }
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The connector for a URL; without one, libpq's variables apply.
///
/// # Errors
/// If no database is specified, or the URL is invalid.
pub(crate) fn connector(url: Option<&str>, timeout: Duration, program: &str) -> Result<Connector> {
    let env = variable;
    let url = match url.map(str::trim).filter(|url| !url.is_empty()) {
        Some(url) => url,
        None if LIBPQ_VARIABLES.iter().any(|name| env(name).is_some()) => "",
        None => {
            return Err(Usage::with_hint(
                "no-database",
                "no database specified",
                format!("set DATABASE_URL or --database-url, or start a private server with '{program} local start'"),
            )
            .into());
        }
    };
    let url: DatabaseUrl = url.parse().context("invalid database URL")?;
    Ok(Connector::new(url, timeout, env))
}
