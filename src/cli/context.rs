//! What a command works with: the settings, resolved when they are needed.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::App;
use super::exit::Exit;
use super::interrupt;
use super::output::Output;
use super::settings::Settings;
use crate::database::Database;
use crate::integrity;
use crate::migration::MigrationSet;
use crate::postgres::{Connector, DatabaseUrl};
use crate::runs::Actor;
use crate::tenancy::{Limits, Tenancy};
use crate::workers::Stop;

/// What a command works with.
pub(crate) struct Context {
    app: App,
    actor: Actor,
    settings: Settings,
    output: Output,
    /// For the demonstration, which plays an older release: only so many tenant migrations.
    first: Option<usize>,
}

/// Wrong usage that the argument parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Context {
    pub(crate) fn new(app: App, actor: Actor, settings: Settings) -> Self {
        interrupt::install();
        let output = Output::new(&settings);
        Self { app, actor, settings, output, first: None }
    }

    /// The same with another database, and only the `first` tenant migrations.
    pub(crate) fn elsewhere(&self, database_url: String, first: Option<usize>) -> Self {
        let settings = Settings { database_url: Some(database_url), ..self.settings.clone() };
        Self { app: self.app.clone(), actor: self.actor.clone(), settings, output: self.output, first }
    }

    /// The name of the command line, for the commands that messages name.
    pub(crate) fn program(&self) -> &'static str {
        self.app.program
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    /// A command to be typed, with the settings that were given as flags and not by the environment.
    pub(crate) fn command(&self, line: &str) -> String {
        format!("{} {line}{}", self.program(), self.settings.given)
    }

    /// The migrations and how they are run.
    pub(crate) fn tenancy(&self) -> Result<Tenancy> {
        let settings = &self.settings;
        let tenant = match &settings.tenant_migrations {
            Some(dir) => MigrationSet::from_dir(dir)?,
            None => MigrationSet::from_embedded(self.app.tenant)?,
        };
        let tenant = match self.first {
            Some(first) => tenant.first(first),
            None => tenant,
        };
        let mut tenancy = Tenancy::new(tenant)?;
        let public = match &settings.public_migrations {
            Some(dir) => Some(MigrationSet::from_dir(dir)?),
            None => self.app.public.map(MigrationSet::from_embedded).transpose()?,
        };
        if let Some(public) = public {
            tenancy = tenancy.with_public_migrations(&public)?;
        }
        Ok(tenancy.with_extension_schemas(settings.extension_schemas.clone()).with_limits(self.limits()))
    }

    fn limits(&self) -> Limits {
        let settings = &self.settings;
        Limits {
            statement_timeout: settings.statement_timeout.map(Duration::from),
            lock_timeout: settings.lock_timeout.into(),
            retries: settings.retries,
            reconnect_for: settings.reconnect_for.into(),
        }
    }

    /// Connects to the database.
    pub(crate) fn database(&self) -> Result<Database> {
        let actor = Actor { keep: self.settings.keep.into(), ..self.actor.clone() };
        let db = Database::connect(self.connector()?, usize::from(self.settings.jobs))?.with_actor(actor);
        if db.jobs() < usize::from(self.settings.jobs) {
            self.output.detail(format_args!("the server has {} connections free", db.server().free_connections));
        }
        Ok(db)
    }

    /// The same, for a command that changes tenants, or only shows what it would change.
    pub(crate) fn fleet(&self, dry_run: bool) -> Result<(Tenancy, Database)> {
        let tenancy = self.tenancy()?;
        let mut db = self.database()?;
        match dry_run {
            true => {
                db.require_tracker(&tenancy)?;
                integrity::check(&mut db, &tenancy)?;
            }
            false => {
                db.require_writable(&tenancy)?;
                integrity::record(&mut db, &tenancy)?;
            }
        }
        Ok((tenancy, db))
    }

    fn connector(&self) -> Result<Connector> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = match self.settings.database_url.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
            Some(url) => url,
            None if ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"].iter().any(|name| env(name).is_some()) => "",
            None => {
                return Err(Usage::with_hint(
                    "no database is given",
                    format!(
                        "give --database-url, set DATABASE_URL, or start a private server with '{} local start'",
                        self.program()
                    ),
                )
                .into());
            }
        };
        let url: DatabaseUrl = url.parse().context("the database URL cannot be used")?;
        Ok(Connector::new(url, self.settings.connect_timeout.into(), env))
    }

    /// From now on an interrupt lets what is under way finish.
    pub(crate) fn stop(&self) -> Stop {
        interrupt::graceful()
    }
}

/// Quoted for a shell, where it must be.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:@%+=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// How a report ends the command: interrupted, amiss or done.
pub(crate) fn exit_of(success: bool, interrupted: bool) -> Exit {
    match (interrupted, success) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Found,
    }
}
