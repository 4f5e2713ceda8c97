//! What all tenants have in common.

use std::time::Duration;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use crate::migration::{Embedded, LoadError, MigrationSet};
use crate::name::{SchemaName, TenantName};
use crate::postgres::SchemaPath;
use crate::sql::quote::Literal;

/// What makes tenants tenants: their migrations, and how they are run. Every operation takes it.
#[derive(Debug, Clone)]
pub struct Tenancy {
    public: MigrationSet,
    tenant: MigrationSet,
    extension_schemas: Vec<SchemaName>,
    statement_timeout: Option<Duration>,
}

/// The tracker's own migrations, which every set of public migrations has in it.
static TRACKER: Embedded = crate::embed_migrations!("$CARGO_MANIFEST_DIR/migrations/public");

impl Tenancy {
    /// Tenants whose structure `migrations` produce, no schema behind theirs on the path, and no limit on a statement's
    /// time but the server's own.
    ///
    /// # Errors
    /// None in practice: the tracker's own migrations are checked by this crate's tests.
    pub fn new(migrations: MigrationSet) -> Result<Self, LoadError> {
        Ok(Self {
            public: MigrationSet::from_embedded(&TRACKER)?,
            tenant: migrations,
            extension_schemas: Vec::new(),
            statement_timeout: None,
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

    /// Limits each statement of a migration, of `create` and of `drop` to `timeout`; none leaves it to the server.
    #[must_use]
    pub fn with_statement_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// The migrations of the schema `public`, among them the tracker's.
    pub fn public_migrations(&self) -> &MigrationSet {
        &self.public
    }

    /// The migrations of each tenant.
    pub fn tenant_migrations(&self) -> &MigrationSet {
        &self.tenant
    }

    /// The schemas behind the tenant's on the path.
    pub fn extension_schemas(&self) -> &[SchemaName] {
        &self.extension_schemas
    }

    /// The limit on a statement's time.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    /// Does the application's own work in a tenant's schema: in one transaction, with the path set for it alone, and only
    /// if the schema is there. Safe behind a transaction pooler.
    ///
    /// # Errors
    /// What `work` returns, and then nothing of it stays; [`WRONG_SCHEMA`](crate::postgres::path::WRONG_SCHEMA) as a
    /// database error when there is no such schema.
    pub fn in_schema<T, E: From<diesel::result::Error>>(
        &self,
        conn: &mut PgConnection,
        tenant: &TenantName,
        work: impl FnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.path(tenant.schema());
        conn.transaction(|conn| {
            let before = SchemaPath::current(conn)?;
            let guard = format!("BEGIN {} END", path.guard());
            conn.batch_execute(&format!("{} DO {};", path.set_for_transaction(), Literal(&guard)))?;
            let done = work(conn)?;
            // In a transaction of the caller's own the path would lead to the tenant until its end.
            SchemaPath::restore(conn, &before)?;
            Ok(done)
        })
    }

    /// The path that leads to `schema`.
    pub(crate) fn path<'a>(&'a self, schema: &'a SchemaName) -> SchemaPath<'a> {
        SchemaPath::new(schema, &self.extension_schemas)
    }
}
