//! What all tenants have in common.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::Error;
use crate::migration::{Embedded, LoadError, MigrationSet, Version};
use crate::model::SchemaName;
use crate::postgres::SchemaPath;

/// What makes tenants tenants: their migrations, and how they are run. Every operation takes it.
#[derive(Debug, Clone)]
pub struct Tenancy {
    /// The tracker's own migrations.
    tracker: MigrationSet,
    /// Those and the project's.
    public: MigrationSet,
    tenant: MigrationSet,
    /// Also those beyond the version that the tenants are to be brought to.
    all: MigrationSet,
    extension_schemas: Vec<SchemaName>,
    limits: Limits,
    run_as: RunAs,
}

/// Whose rights the tenant migrations run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunAs {
    /// Those of the role that is connected.
    #[default]
    ConnectedRole,
    /// Those of the role that owns the tenant's schema, by `SET LOCAL ROLE`. What the migrations create then belongs to that
    /// role.
    ///
    /// This prevents mistakes; it does not contain hostile code: a trigger of the tenant's that a migration fires can
    /// `RESET ROLE`. Connect as a role with few rights against that.
    SchemaOwner,
}

/// How long a tenant's work may take and wait, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a statement may take; none leaves it to the server.
    pub statement_timeout: Option<Duration>,
    /// How long each wait for a lock may take; 5 seconds by default. What waits for a lock has others wait behind it.
    pub lock_timeout: Duration,
    /// How often a tenant is tried again that met a lock timeout, a deadlock or a serialization failure; 5 by default.
    pub retries: u32,
    /// How long a server that is gone is waited for; a minute by default.
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

/// The tracker's own migrations, which every set of public migrations has in it.
static TRACKER: Embedded = crate::embed_migrations!("$CARGO_MANIFEST_DIR/migrations/public");

impl Tenancy {
    /// Tenants whose structure `migrations` produce, no schema behind theirs on the path, and the [limits](Limits) that are
    /// the default.
    ///
    /// # Errors
    /// None in practice: the tracker's own migrations are checked by this crate's tests.
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
        })
    }

    /// Adds migrations of the schema `public` to the tracker's own.
    ///
    /// # Errors
    /// When one of them has the version of another, or is not transactional and has several statements: how far it has
    /// come could be kept nowhere.
    pub fn with_public_migrations(mut self, migrations: &MigrationSet) -> Result<Self, LoadError> {
        self.public = self.public.merge(migrations)?;
        self.public.require_single_statements()?;
        Ok(self)
    }

    /// Puts schemas that hold extensions behind the tenant's on the path, in this order. Their names are no tenant's.
    #[must_use]
    pub fn with_extension_schemas(mut self, schemas: Vec<SchemaName>) -> Self {
        self.extension_schemas = schemas;
        self
    }

    /// Limits the time of a tenant's work.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Chooses whose rights the tenant migrations run with.
    #[must_use]
    pub fn with_run_as(mut self, run_as: RunAs) -> Self {
        self.run_as = run_as;
        self
    }

    /// Whose rights the tenant migrations run with.
    pub fn run_as(&self) -> RunAs {
        self.run_as
    }

    /// The same with the tenant migrations up to `version` only.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`] when none has it.
    pub fn up_to(mut self, version: &Version) -> Result<Self, Error> {
        let last = self.tenant.position(version.as_str());
        let last = last.ok_or_else(|| Error::UnknownVersion { version: version.clone() })?;
        self.tenant = self.tenant.first(last + 1);
        Ok(self)
    }

    /// Adds versions that were accepted as removed: ledgers may record them, see
    /// [`accepted_removals`](crate::record::integrity::accepted_removals).
    #[must_use]
    pub fn with_retired(mut self, versions: BTreeSet<String>) -> Self {
        self.tenant = self.tenant.with_retired(versions.clone());
        self.all = self.all.with_retired(versions);
        self
    }

    /// The migrations of the schema `public`, among them the tracker's.
    pub fn public_migrations(&self) -> &MigrationSet {
        &self.public
    }

    /// The tracker's own migrations.
    pub(crate) fn tracker_migrations(&self) -> &MigrationSet {
        &self.tracker
    }

    /// The migrations of each tenant.
    pub fn tenant_migrations(&self) -> &MigrationSet {
        &self.tenant
    }

    /// The migrations of each tenant, also those beyond [`up_to`](Self::up_to).
    pub(crate) fn all_tenant_migrations(&self) -> &MigrationSet {
        &self.all
    }

    /// The schemas behind the tenant's on the path.
    pub fn extension_schemas(&self) -> &[SchemaName] {
        &self.extension_schemas
    }

    /// The limits on the time of a tenant's work.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The path that leads to `schema`.
    pub(crate) fn path<'a>(&'a self, schema: &'a SchemaName) -> SchemaPath<'a> {
        SchemaPath::new(schema, &self.extension_schemas)
    }
}
