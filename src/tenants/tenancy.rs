//! The settings that all tenants share.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::Error;
use crate::migration::{Embedded, LoadError, MigrationSet, Version};
use crate::model::{NamePolicy, SchemaName};
use crate::postgres::SchemaPath;

/// The migrations of the tenants, and how they are run. Every operation takes it.
#[derive(Debug, Clone)]
pub struct Tenancy {
    /// The migrations of the tracker.
    tracker: MigrationSet,
    /// The migrations of the tracker and the project's public migrations.
    public: MigrationSet,
    /// The tenant migrations up to the target version.
    tenant: MigrationSet,
    /// All tenant migrations.
    all: MigrationSet,
    extension_schemas: Vec<SchemaName>,
    limits: Limits,
    run_as: RunAs,
    name_policy: NamePolicy,
}

/// The role that runs the tenant migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunAs {
    /// The connected role.
    #[default]
    ConnectedRole,
    /// The owner of the tenant's schema, with `SET LOCAL ROLE`. Objects that the migrations create belong to that role.
    ///
    /// This prevents mistakes, and does not contain hostile code: a trigger in the tenant's schema can `RESET ROLE`. Against
    /// hostile code, connect as a role with few privileges.
    SchemaOwner,
}

/// Timeouts and retries of the work on a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest time of a statement; `None` uses the server's setting.
    pub statement_timeout: Option<Duration>,
    /// The longest wait for each lock; 5 seconds by default. Other sessions queue behind a waiting session.
    pub lock_timeout: Duration,
    /// Retries per tenant after a lock timeout, deadlock or serialization failure; 5 by default.
    pub retries: u32,
    /// How long to try to reconnect after the connection to the server is lost; a minute by default.
    pub reconnect_for: Duration,
    /// How long to retry while another session holds the advisory lock of a tenant or of the schema `public`; a minute by
    /// default.
    pub busy_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_timeout: None,
            lock_timeout: Duration::from_secs(5),
            retries: 5,
            reconnect_for: Duration::from_secs(60),
            busy_for: Duration::from_secs(60),
        }
    }
}

/// The migrations of the tracker, which are part of every set of public migrations.
static TRACKER: Embedded = crate::embed_migrations!("$CARGO_MANIFEST_DIR/migrations/public");

impl Tenancy {
    /// Tenants with these migrations, the default [`Limits`], and no extension schemas.
    ///
    /// # Errors
    /// None in practice: this crate's tests check the migrations of the tracker.
    pub fn new(migrations: MigrationSet) -> Result<Self, LoadError> {
        let tracker = MigrationSet::from_embedded(&TRACKER)?;
        Ok(Self {
            public: tracker.clone(),
            tracker,
            all: migrations.clone(),
            tenant: migrations,
            extension_schemas: Vec::new(),
            limits: Limits::default(),
            run_as: RunAs::default(),
            name_policy: NamePolicy::default(),
        })
    }

    /// Adds the project's migrations of the schema `public`.
    ///
    /// # Errors
    /// Two migrations have the same version, or a non-transactional migration has several statements, because its progress
    /// could not be recorded.
    pub fn with_public_migrations(mut self, migrations: &MigrationSet) -> Result<Self, LoadError> {
        self.public = self.public.merge(migrations)?;
        self.public.require_single_statements()?;
        Ok(self)
    }

    /// Adds schemas with extensions to the search path after the tenant's schema, in this order.
    #[must_use]
    pub fn with_extension_schemas(mut self, schemas: Vec<SchemaName>) -> Self {
        self.extension_schemas = schemas;
        self
    }

    /// Sets the timeouts and retries.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the role that runs the tenant migrations.
    #[must_use]
    pub fn with_run_as(mut self, run_as: RunAs) -> Self {
        self.run_as = run_as;
        self
    }

    /// Sets the names that new tenants may have; [`NamePolicy::Strict`] by default.
    #[must_use]
    pub fn with_name_policy(mut self, policy: NamePolicy) -> Self {
        self.name_policy = policy;
        self
    }

    /// The names that new tenants may have.
    pub fn name_policy(&self) -> NamePolicy {
        self.name_policy
    }

    /// The role that runs the tenant migrations.
    pub fn run_as(&self) -> RunAs {
        self.run_as
    }

    /// The version of the tenant migration that a text names: a version, a folder name, or a unique beginning or end of one.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], [`Error::UnknownMigration`] or [`Error::AmbiguousMigration`].
    pub fn version_of(&self, text: &str) -> Result<Version, Error> {
        match (self.all.named(text).as_slice(), text.parse::<Version>()) {
            ([one], _) => Ok(one.version().clone()),
            ([], Ok(version)) => Err(Error::unknown_version(&version, &self.all)),
            ([], Err(_)) => Err(Error::unknown_migration(text, &self.all)),
            (many, _) => Err(Error::AmbiguousMigration {
                given: text.to_owned(),
                candidates: many.iter().map(|migration| migration.folder().to_owned()).collect(),
            }),
        }
    }

    /// Limits the tenant migrations to those up to `version`. Repeatable migrations are left out, unless it is the newest.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] if no tenant migration has this version.
    pub fn up_to(mut self, version: &Version) -> Result<Self, Error> {
        let last = self.tenant.position(version.as_str());
        let last = last.ok_or_else(|| Error::unknown_version(version, &self.tenant))?;
        if last + 1 != self.tenant.versioned_len() {
            self.tenant = self.tenant.first(last + 1);
        }
        Ok(self)
    }

    /// Adds versions whose removal was accepted, which ledgers may record; see
    /// [`accepted_removals`](crate::record::integrity::accepted_removals).
    #[must_use]
    pub fn with_retired(mut self, versions: BTreeSet<String>) -> Self {
        self.tenant = self.tenant.with_retired(versions.clone());
        self.all = self.all.with_retired(versions);
        self
    }

    /// The migrations of the schema `public`, including those of the tracker.
    pub fn public_migrations(&self) -> &MigrationSet {
        &self.public
    }

    /// The migrations of the tracker.
    pub(crate) fn tracker_migrations(&self) -> &MigrationSet {
        &self.tracker
    }

    /// The tenant migrations, up to the version given to [`up_to`](Self::up_to).
    pub fn tenant_migrations(&self) -> &MigrationSet {
        &self.tenant
    }

    /// All tenant migrations, regardless of [`up_to`](Self::up_to).
    pub(crate) fn all_tenant_migrations(&self) -> &MigrationSet {
        &self.all
    }

    /// The schemas on the search path after the tenant's schema.
    pub fn extension_schemas(&self) -> &[SchemaName] {
        &self.extension_schemas
    }

    /// The timeouts and retries.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The search path with `schema` first.
    pub(crate) fn path<'a>(&'a self, schema: &'a SchemaName) -> SchemaPath<'a> {
        SchemaPath::new(schema, &self.extension_schemas)
    }
}
