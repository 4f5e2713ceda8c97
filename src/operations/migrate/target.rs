//! The schema in which migrations run, with their role, their lock and their limits.

use crate::confine::{self, Scrutiny};
use crate::migration::{Kind, Migration, MigrationSet};
use crate::model::SchemaName;
use crate::postgres::{GuardViolation, Refusal, refuse};
use crate::record::runs::Run;
use crate::sql::quote::Literal;
use crate::tenants::{RunAs, Tenancy, lock_key, lock_key_of};

/// A schema in which migrations run.
#[derive(Clone, Copy)]
pub(crate) struct SchemaTarget<'a> {
    pub(crate) tenancy: &'a Tenancy,
    pub(crate) schema: &'a SchemaName,
    /// Whether it is a tenant's schema or `public`, which has no row in the tracker.
    pub(crate) kind: Kind,
    /// The run; `None` before it is recorded.
    pub(crate) run: Option<Run>,
}

/// How long a setting lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// Until the transaction ends.
    Transaction,
    /// Until it is reset, or the session ends.
    Session,
}

impl<'a> SchemaTarget<'a> {
    /// A tenant's schema.
    pub(crate) fn tenant(tenancy: &'a Tenancy, schema: &'a SchemaName, run: Option<Run>) -> Self {
        Self { tenancy, schema, kind: Kind::Tenant, run }
    }

    /// The schema `public`.
    pub(crate) fn public(tenancy: &'a Tenancy, schema: &'a SchemaName, run: Option<Run>) -> Self {
        Self { tenancy, schema, kind: Kind::Public, run }
    }

    /// The migrations for it.
    pub(crate) fn migrations(&self) -> &'a MigrationSet {
        match self.kind {
            Kind::Public => self.tenancy.public_migrations(),
            Kind::Tenant => self.tenancy.tenant_migrations(),
        }
    }

    /// One of its migrations.
    pub(crate) fn migration(&self, index: usize) -> &'a Migration {
        self.migrations().at(index)
    }

    /// SQL that sets the role and the search path of a script. Before it, the path has only the catalog.
    pub(crate) fn enter(&self) -> String {
        let role = self.as_owner(Lasting::Transaction).map(|select| select + " ").unwrap_or_default();
        role + &self.tenancy.path(self.schema).set_for_transaction()
    }

    /// SQL that fails unless the search path leads to the schema. Afterwards, the path has only the catalog.
    pub(super) fn check_path(&self) -> String {
        let name = format!("{}::pg_catalog.text", Literal(self.schema.as_str()));
        refuse(&self.tenancy.path(self.schema).refusals(&name))
    }

    /// Whether the migrations run as the owner of the schema.
    pub(super) fn is_run_as_owner(&self) -> bool {
        self.kind == Kind::Tenant && self.tenancy.run_as() == RunAs::SchemaOwner
    }

    /// SQL that sets the role to the owner of the schema, if the migrations run as the owner.
    pub(crate) fn as_owner(&self, lasting: Lasting) -> Option<String> {
        self.is_run_as_owner().then(|| {
            format!(
                "SELECT pg_catalog.set_config('role', pg_catalog.pg_get_userbyid(n.nspowner)::text, {}) \
                 FROM pg_catalog.pg_namespace AS n WHERE n.nspname = {}::name;",
                lasting == Lasting::Transaction,
                Literal(self.schema.as_str())
            )
        })
    }

    /// The check that migrations change nothing outside the schema. Public migrations are not checked. Without a recorded run
    /// the horizon is 0, which means unknown.
    pub(super) fn confined(&self, scrutiny: Scrutiny) -> Option<confine::Guard<'a>> {
        let horizon = self.run.map_or(0, Run::horizon);
        (self.kind == Kind::Tenant && scrutiny != Scrutiny::None).then_some(confine::Guard {
            schema: self.schema,
            neighbours: self.tenancy.extension_schemas(),
            horizon,
            scrutiny,
        })
    }

    /// A condition that acquires the tenant's lock until the end of the transaction, without waiting: a session that waits
    /// holds a snapshot, for which a `CREATE INDEX CONCURRENTLY` of the session with the lock would wait.
    pub(crate) fn lock_for_transaction(&self) -> String {
        locked("pg_try_advisory_xact_lock", &lock_key(self.schema)).in_block()
    }

    /// A condition that acquires the lock until the session releases it.
    pub(crate) fn lock_for_session(&self) -> String {
        locked("pg_try_advisory_lock", &lock_key(self.schema)).in_block()
    }
}

/// The condition that another session holds the lock of the schema whose name is given as an SQL expression. Acquires the lock
/// until the end of the transaction otherwise.
pub(super) fn schema_locked(schema: &str) -> Refusal {
    locked("pg_try_advisory_xact_lock", &lock_key_of(schema))
}

fn locked(function: &str, key: &str) -> Refusal {
    Refusal::new(GuardViolation::Busy, format!("NOT pg_catalog.{function}({key})"))
}
