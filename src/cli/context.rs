//! What a command works with: the settings, resolved when they are needed.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::App;
use super::exit::Exit;
use super::interrupt;
use super::output::{Output, Verbosity, count};
use super::project;
use super::settings::Settings;
use crate::database::{Actor, Database, Stop};
use crate::migration::MigrationSet;
use crate::postgres::{Connector, DatabaseUrl, LIBPQ_VARIABLES};
use crate::record::integrity;
use crate::tenants::{Limits, RunAs, Tenancy, Tenant};

/// What a command works with.
pub(crate) struct Context {
    app: App,
    actor: Actor,
    settings: Settings,
    output: Output,
    /// For the demonstration only.
    demo: Option<Demo>,
}

/// What the demonstration does differently.
#[derive(Debug, Clone, Copy)]
struct Demo {
    /// To play an older release: only so many tenant migrations.
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
        Self { app, actor, settings, output, demo: None }
    }

    /// The context of the demonstration: another database, the sample migrations, and only the `first` of them.
    pub(crate) fn for_demo(&self, database_url: String, first: Option<usize>) -> Self {
        let settings = Settings { database_url: Some(database_url), ..self.settings.clone() };
        let (app, actor) = (self.app.clone(), self.actor.clone());
        Self { app, actor, settings, output: self.output, demo: Some(Demo { first }) }
    }

    /// The name of the command line, for the commands that messages name.
    pub(crate) fn program(&self) -> &'static str {
        self.app.program
    }

    /// Whether tenant migrations are built into the program.
    pub(crate) fn has_migrations_of_its_own(&self) -> bool {
        self.app.tenant.is_some()
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

    /// The migrations and how they are run, for a command that uses the tenant migrations.
    ///
    /// # Errors
    /// When none are chosen, or they cannot be used.
    pub(crate) fn tenancy(&self) -> Result<Tenancy> {
        let tenant = self.tenant_migrations()?.ok_or_else(project::none_chosen)?;
        self.tenancy_of(tenant)
    }

    /// The same for a command that only works on `public`: tenant migrations that cannot be used do not stop it.
    pub(crate) fn tenancy_of_public(&self) -> Result<Tenancy> {
        self.tenancy_of(MigrationSet::none())
    }

    /// The same for a command that works without tenant migrations, where none are chosen.
    pub(crate) fn tenancy_if_chosen(&self) -> Result<Tenancy> {
        let tenant = self.tenant_migrations()?.unwrap_or_else(MigrationSet::none);
        self.tenancy_of(tenant)
    }

    /// The tenant migrations: those of the setting, else of the program, else of the project. The sample is used by the
    /// demonstration only.
    fn tenant_migrations(&self) -> Result<Option<MigrationSet>> {
        if let Some(dir) = &self.settings.tenant_migrations {
            return Ok(Some(self.demonstrated(MigrationSet::from_dir(dir)?)));
        }
        let embedded = self.app.tenant.or(self.app.sample.filter(|_| self.demo.is_some()));
        if let Some(embedded) = embedded {
            return Ok(Some(self.demonstrated(MigrationSet::from_embedded(embedded)?)));
        }
        let found = project::tenant_migrations()?.map(|dir| MigrationSet::from_dir(&dir)).transpose()?;
        Ok(found.map(|set| self.demonstrated(set)))
    }

    fn demonstrated(&self, set: MigrationSet) -> MigrationSet {
        match self.demo.and_then(|demo| demo.first) {
            Some(first) => set.first(first),
            None => set,
        }
    }

    fn tenancy_of(&self, tenant: MigrationSet) -> Result<Tenancy> {
        let settings = &self.settings;
        if !tenant.is_empty() {
            self.output.detail(format_args!("{}", project::in_use(&tenant)));
        }
        let mut tenancy = Tenancy::new(tenant)?;
        let public = match &settings.public_migrations {
            Some(dir) => Some(MigrationSet::from_dir(dir)?),
            None => self.app.public.map(MigrationSet::from_embedded).transpose()?,
        };
        if let Some(public) = public {
            tenancy = tenancy.with_public_migrations(&public)?;
        }
        let run_as = if settings.as_owner { RunAs::SchemaOwner } else { RunAs::ConnectedRole };
        Ok(tenancy
            .with_extension_schemas(settings.extension_schemas.clone())
            .with_limits(self.limits())
            .with_run_as(run_as))
    }

    /// Warns where migrations would run with the rights of a superuser in schemas of other roles: code that such a role has
    /// put into its schema, for example a trigger, runs with these rights too.
    pub(crate) fn warn_of_other_owners<'a>(&self, tenants: impl Iterator<Item = &'a Tenant>) {
        if self.settings.as_owner {
            return;
        }
        let foreign = tenants.filter(|tenant| tenant.owned_by_other_role).count();
        if foreign == 0 {
            return;
        }
        let schemas = count(foreign, "schema");
        let belong = if foreign == 1 { "belongs" } else { "belong" };
        self.output.warning(format_args!(
            "{schemas} of the run {belong} to another role: triggers and other code there run with a superuser's rights"
        ));
        self.output.hint("connect as a role with fewer rights, or run the migrations as the owners: --as-owner");
    }

    fn limits(&self) -> Limits {
        let settings = &self.settings;
        Limits {
            statement_timeout: settings.statement_timeout.map(Duration::from),
            lock_timeout: settings.lock_timeout.into(),
            retries: settings.retries,
            reconnect_for: settings.reconnect_for.into(),
            ..Limits::default()
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

    /// Connects for a command that changes tenants, or only shows what it would change: the migrations are those that the
    /// database has recorded.
    pub(crate) fn fleet(&self, dry_run: bool) -> Result<(Tenancy, Database)> {
        let tenancy = self.tenancy()?;
        let mut db = self.database()?;
        self.warn_of_ledger_upgrade(&db);
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
        let retired = integrity::accepted_removals(&mut db)?;
        Ok((tenancy.with_retired(retired), db))
    }

    /// Connects for a command that compares tenants with the migrations: these are of the database, whether or not they were
    /// changed since they were recorded.
    pub(crate) fn comparing(&self) -> Result<(Tenancy, Database)> {
        let tenancy = self.tenancy()?;
        let mut db = self.database()?;
        if db.server().has_tracker {
            integrity::require_matching_migrations(&mut db, &tenancy)?;
        }
        let retired = integrity::accepted_removals(&mut db)?;
        Ok((tenancy.with_retired(retired), db))
    }

    /// Shows which tenant migrations are in use, before what would be done with them. `--verbose` has shown it already.
    pub(crate) fn show_migrations(&self, tenancy: &Tenancy) {
        let set = tenancy.all_tenant_migrations();
        if self.output.verbosity() == Verbosity::Normal && !set.is_empty() {
            self.output.status(project::in_use(set));
        }
    }

    /// Reports a database that an earlier release set up, whose public ledger is still diesel_cli's.
    pub(crate) fn warn_of_ledger_upgrade(&self, db: &Database) {
        if db.server().needs_ledger_upgrade() {
            self.output.warning("the public migrations are recorded in diesel_cli's ledger, as by an earlier release");
            self.output
                .hint(format_args!("run '{}' to move them to public.schema_ledger", self.command("migrate-public")));
        }
    }

    fn connector(&self) -> Result<Connector> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = match self.settings.database_url.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
            Some(url) => url,
            None if LIBPQ_VARIABLES.iter().any(|name| env(name).is_some()) => "",
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

/// Quotes a text for a shell if necessary.
pub(crate) fn shell_word(text: &str) -> String {
    // Only a NUL cannot be quoted, and no argument contains one.
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), Cow::into_owned)
}

/// How a report ends the command: interrupted, amiss or done.
pub(crate) fn exit_of(success: bool, interrupted: bool) -> Exit {
    match (interrupted, success) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Found,
    }
}
