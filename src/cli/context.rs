//! What every command uses: the program, its migrations, the output and the connection to the database.

mod connect;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::App;
use super::fleet::{Route, ServerTarget};
use super::interrupt;
use super::output::{Gathered, Output, Verbosity, count};
use super::parse;
use super::project;
use super::request::SettingsRequest;
use super::settings::{
    Connection, Given, Jobs, Migrations, OutputOptions, PublicMigrations, ReadOptions, Role, WriteOptions,
};
use crate::database::{Actor, DEFAULT_JOBS, Database, Stop};
use crate::error::{Error, RowTenancyError};
use crate::migration::{LoadError, MigrationSet};
use crate::operations::migrate::SharedFailures;
use crate::record::integrity;
use crate::rows::Layout;
use crate::tenants::{RunAs, Tenancy, Tenant, tracker};

pub(crate) use connect::connector;

/// What every command uses.
pub(crate) struct Context {
    app: App,
    actor: Actor,
    output: Output,
    given: Given,
    /// Set for the commands of the demonstration.
    demo: Option<Demo>,
    route: Route,
}

/// How the demonstration loads the migrations.
#[derive(Debug, Clone, Copy)]
struct Demo {
    /// The number of tenant migrations of the older release that it demonstrates.
    first: Option<usize>,
}

/// A usage error that the argument parser does not detect.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Usage {
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Usage {
    /// `code` is the stable name of the error, which docs/json.md lists.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(code, message) }
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Context {
    pub(crate) fn new(app: App, actor: Actor, output: &OutputOptions, given: Given) -> Self {
        interrupt::install();
        Self { app, actor, output: Output::new(output), given, demo: None, route: Route::Open }
    }

    /// The context of a command of the demonstration: the sample migrations, and only the `first` of them.
    pub(crate) fn for_demo(&self, first: Option<usize>) -> Self {
        let (app, actor, given) = (self.app.clone(), self.actor.clone(), self.given.clone());
        Self { app, actor, output: self.output.clone(), given, demo: Some(Demo { first }), route: Route::Here }
    }

    /// The context of a command on the database of the options, also if that has a directory of servers.
    pub(crate) fn here(&self) -> Self {
        Self { route: Route::Here, ..self.copy() }
    }

    /// The context of a command on one of several servers. With `gathered`, what it prints is put together with what it prints
    /// on others.
    pub(crate) fn on(&self, target: ServerTarget, gathered: Option<Arc<Gathered>>) -> Self {
        let given = self.given.clone().on_server(&parse::command(self.program()), &target.server.name);
        let output = match gathered {
            Some(gathered) => self.output.gathering(gathered),
            None => self.output.clone(),
        };
        Self { output, given, route: Route::Server(Box::new(target)), ..self.copy() }
    }

    fn copy(&self) -> Self {
        let (app, actor, given) = (self.app.clone(), self.actor.clone(), self.given.clone());
        Self { app, actor, output: self.output.clone(), given, demo: self.demo, route: self.route.clone() }
    }

    /// The failures on all servers, if the command works on several.
    pub(crate) fn shared_failures(&self) -> Option<SharedFailures> {
        match &self.route {
            Route::Server(target) => Some(target.failures.clone()),
            Route::Open | Route::Here => None,
        }
    }

    /// The name of the program, for the commands in messages.
    pub(crate) fn program(&self) -> &'static str {
        self.app.program
    }

    /// Whether tenant migrations are built into the program.
    pub(crate) fn has_migrations_of_its_own(&self) -> bool {
        self.app.tenant.is_some()
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    /// The settings that were given as flags, for the record of a run.
    pub(crate) fn settings_request(&self) -> SettingsRequest {
        self.given.settings().clone()
    }

    /// A command to suggest, with the shared options that were given as flags.
    pub(crate) fn command(&self, line: &str) -> String {
        format!("{} {line}{}", self.program(), self.given.flags_of(line))
    }

    /// The tenancy of a command that uses the tenant migrations.
    ///
    /// # Errors
    /// When no tenant migrations are chosen, or they are invalid.
    pub(crate) fn tenancy(&self, migrations: &Migrations) -> Result<Tenancy> {
        let tenant = self.tenant_migrations(migrations)?.ok_or_else(project::none_chosen)?;
        self.tenancy_of(tenant, migrations)
    }

    /// The tenancy of a command that also works if no tenant migrations are chosen.
    pub(crate) fn tenancy_if_chosen(&self, migrations: &Migrations) -> Result<Tenancy> {
        let tenant = self.tenant_migrations(migrations)?.unwrap_or_else(MigrationSet::none);
        self.tenancy_of(tenant, migrations)
    }

    /// The tenancy of a command that only uses the public migrations: it does not load the tenant migrations.
    pub(crate) fn tenancy_of_public(&self, migrations: &PublicMigrations) -> Result<Tenancy> {
        self.with_public(Tenancy::new(MigrationSet::none())?, migrations)
    }

    fn tenancy_of(&self, tenant: MigrationSet, migrations: &Migrations) -> Result<Tenancy> {
        if !tenant.is_empty() {
            self.output.detail(format_args!("{}", project::in_use(&tenant)));
        }
        let tenancy = self.with_public(Tenancy::new(tenant)?, &migrations.public)?;
        Ok(tenancy.with_extension_schemas(migrations.path.extension_schemas.clone()))
    }

    fn with_public(&self, tenancy: Tenancy, migrations: &PublicMigrations) -> Result<Tenancy> {
        let public = match &migrations.dir {
            Some(dir) => Some(MigrationSet::from_dir(dir)?),
            None => self.app.public.map(MigrationSet::from_embedded).transpose()?,
        };
        let Some(public) = public else { return Ok(tenancy) };
        self.output.detail(format_args!("public migrations: {}", public.summary()));
        Ok(tenancy.with_public_migrations(&public)?)
    }

    /// The tenant migrations: those of the option, else of the program, else of the project. Only the demonstration uses the
    /// sample.
    fn tenant_migrations(&self, migrations: &Migrations) -> Result<Option<MigrationSet>> {
        if let Some(dir) = &migrations.tenant.dir {
            return Ok(Some(self.demonstrated(from_dir(dir)?)));
        }
        let sample = if self.demo.is_some() { self.app.sample } else { None };
        if let Some(embedded) = self.app.tenant.or(sample) {
            return Ok(Some(self.demonstrated(MigrationSet::from_embedded(embedded)?)));
        }
        let found = project::tenant_migrations()?.map(|dir| from_dir(&dir)).transpose()?;
        Ok(found.map(|set| self.demonstrated(set)))
    }

    fn demonstrated(&self, set: MigrationSet) -> MigrationSet {
        match self.demo.and_then(|demo| demo.first) {
            Some(first) => set.first(first),
            None => set,
        }
    }

    /// Warns if migrations run as a superuser in schemas of other roles: code of these roles, for example a trigger, then
    /// runs as the superuser.
    pub(crate) fn warn_of_other_owners<'a>(&self, tenancy: &Tenancy, tenants: impl Iterator<Item = &'a Tenant>) {
        if tenancy.run_as() == RunAs::SchemaOwner {
            return;
        }
        let foreign = tenants.filter(|tenant| tenant.owned_by_other_role).count();
        if foreign == 0 {
            return;
        }
        let schemas = count(foreign, "schema");
        let belong = if foreign == 1 { "belongs" } else { "belong" };
        self.output.warning(format_args!(
            "{schemas} of this run {belong} to another role: triggers and other code in it run as superuser"
        ));
        self.output
            .hint("connect as a role with fewer rights, or add --as-owner to run the migrations as the schema's owner");
    }

    /// Connects to the database.
    pub(crate) fn database(&self, connection: &Connection) -> Result<Database> {
        self.connect(connection, DEFAULT_JOBS, self.actor.clone())
    }

    /// Connects for a command that processes several tenants at the same time.
    pub(crate) fn database_with_jobs(&self, connection: &Connection, jobs: &Jobs) -> Result<Database> {
        self.connect(connection, jobs.count(), self.actor.clone())
    }

    /// Connects for a command that is recorded as a run.
    pub(crate) fn database_for_run(&self, options: &WriteOptions, jobs: Option<&Jobs>) -> Result<Database> {
        let actor = Actor { keep: options.limits.keep.into(), ..self.actor.clone() };
        self.connect(&options.connection, jobs.map_or(DEFAULT_JOBS, Jobs::count), actor)
    }

    /// Connects for a command of tenants that share tables.
    ///
    /// # Errors
    /// [`RowTenancyError::NotRows`] if the tenants have schemas of their own.
    pub(crate) fn shared_tables(&self, connection: &Connection) -> Result<(Database, Layout)> {
        let mut db = self.database(connection)?;
        let layout = Layout::of(&mut db)?
            .ok_or_else(|| Error::from(RowTenancyError::NotRows { database: db.server().database.clone() }))?;
        Ok((db, layout))
    }

    /// Connects for a command that applies or reverts migrations, or shows which it would.
    pub(crate) fn fleet(
        &self,
        options: &WriteOptions,
        role: &Role,
        jobs: Option<&Jobs>,
        purpose: Purpose,
    ) -> Result<(Tenancy, Database)> {
        let tenancy =
            self.tenancy(&options.migrations)?.with_limits(options.limits.limits()).with_run_as(role.run_as());
        let mut db = self.database_for_run(options, jobs)?;
        self.warn_of_ledger_upgrade(&db);
        match purpose {
            Purpose::Show => {
                db.require_tracker(&tenancy)?;
                integrity::check(&mut db, &tenancy)?;
            }
            Purpose::Change => {
                db.require_writable(&tenancy)?;
                integrity::record(&mut db, &tenancy)?;
            }
        }
        let retired = integrity::accepted_removals(&mut db)?;
        Ok((tenancy.with_retired(retired), db))
    }

    /// Connects for a command that compares tenants with the migrations: these belong to the database, but may have changed
    /// since they were recorded.
    pub(crate) fn comparing(&self, options: &ReadOptions, jobs: Option<&Jobs>) -> Result<(Tenancy, Database)> {
        let tenancy = self.tenancy(&options.migrations)?;
        let mut db = match jobs {
            Some(jobs) => self.database_with_jobs(&options.connection, jobs)?,
            None => self.database(&options.connection)?,
        };
        if db.server().has_tracker {
            tracker::require_read_privileges(db.server())?;
            integrity::require_matching_migrations(&mut db, &tenancy)?;
        }
        let retired = integrity::accepted_removals(&mut db)?;
        Ok((tenancy.with_retired(retired), db))
    }

    /// Shows the tenant migrations in use before a plan. With `--verbose` they were shown when they were loaded.
    pub(crate) fn show_migrations(&self, tenancy: &Tenancy) {
        let set = tenancy.all_tenant_migrations();
        if self.output.verbosity() == Verbosity::Normal && !set.is_empty() {
            self.output.status(project::in_use(set));
        }
    }

    /// Shows the tenant migrations in use before a confirmation prompt, also with `--quiet`. With `--verbose` they were shown
    /// when they were loaded.
    pub(crate) fn show_migrations_before_prompt(&self, tenancy: &Tenancy) {
        let set = tenancy.all_tenant_migrations();
        if self.output.verbosity() != Verbosity::Verbose && !set.is_empty() {
            self.output.summary(project::in_use(set));
        }
    }

    /// Warns if an earlier release set up the database, so that the public ledger is still diesel_cli's.
    pub(crate) fn warn_of_ledger_upgrade(&self, db: &Database) {
        if db.server().needs_ledger_upgrade() {
            self.output.warning("the public migrations are recorded in diesel_cli's ledger, as an earlier release did");
            self.output
                .hint(format_args!("run '{}' to move them to public.schema_ledger", self.command("migrate-public")));
        }
    }

    /// From now on, an interrupt lets running tenants finish.
    pub(crate) fn stop(&self) -> Stop {
        interrupt::graceful()
    }
}

/// The tenant migrations of a directory, with the repeatable ones beside it.
fn from_dir(dir: &Path) -> Result<MigrationSet, LoadError> {
    MigrationSet::from_dir(dir)?.with_repeatable_beside(dir)
}

/// Why a command connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To change tenants.
    Change,
    /// To show what would change.
    Show,
}

/// The name of the database and the address of its server, for messages.
pub(crate) fn location(db: &Database) -> String {
    format!("{} on {}", db.server().database, db.connector().address())
}
