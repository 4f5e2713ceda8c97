//! Findings: what can be amiss, what it is called, and the command that mends it.

use std::fmt;
use std::str::FromStr;

use crate::failure::TenantError;
use crate::fleet::Misnamed;
use crate::integrity::Change;
use crate::lifecycle::Orphan;
use crate::name::TenantName;
use crate::sql::quote::{Identifier, Literal};
use crate::tracker::{State, Unfinished};

/// The kinds of findings. Their names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Public migrations are pending.
    TrackerBehind,
    /// A migration is not as it was when it was first applied, or comes late.
    MigrationChanged,
    /// A tenant migration fails in an empty schema.
    ReferenceFailed,
    /// A table of the tenants is in `public`.
    TableInPublic,
    /// The public ledger records tenant migrations.
    LedgerInPublic,
    /// A schema looks like a tenant's and is not tracked.
    OrphanedSchema,
    /// The tracker has a name that is no tenant's.
    BadName,
    /// A tenant has no schema.
    SchemaMissing,
    /// This role may not use a tenant's schema or read its ledger.
    Unreadable,
    /// A tenant has no ledger.
    LedgerMissing,
    /// `create` was begun and is not under way.
    StuckCreating,
    /// `drop` was begun and is not under way.
    StuckDropping,
    /// Migrations are pending.
    MissingMigrations,
    /// Migrations are pending that come before one that is applied.
    OutOfOrder,
    /// The ledger records migrations that are none of the tenant migrations.
    UnknownMigrations,
    /// A migration that is not transactional was begun, and is none of the tenant migrations any more.
    UnfinishedMigration,
}

/// A text that is no [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of finding")]
pub struct UnknownKind(String);

/// Something that is amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The tenant, by the name that the tracker has; none for the database as a whole.
    pub tenant: Option<String>,
    /// Its kind.
    pub kind: Kind,
    /// What is amiss, in words.
    pub message: String,
    /// What it is about: versions, tables, a schema.
    pub items: Vec<String>,
    mend: Mend,
}

/// What mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mend {
    /// A command of this program's, and in words what else there is to it.
    Command(String, &'static str),
    /// Words.
    Advice(String),
}

impl Kind {
    /// Every kind, in the order in which findings are told.
    pub const ALL: [Self; 16] = [
        Self::TrackerBehind,
        Self::MigrationChanged,
        Self::ReferenceFailed,
        Self::TableInPublic,
        Self::LedgerInPublic,
        Self::OrphanedSchema,
        Self::BadName,
        Self::SchemaMissing,
        Self::Unreadable,
        Self::LedgerMissing,
        Self::StuckCreating,
        Self::StuckDropping,
        Self::MissingMigrations,
        Self::OutOfOrder,
        Self::UnknownMigrations,
        Self::UnfinishedMigration,
    ];

    /// Its name on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrackerBehind => "tracker-behind",
            Self::MigrationChanged => "migration-changed",
            Self::ReferenceFailed => "reference-failed",
            Self::TableInPublic => "table-in-public",
            Self::LedgerInPublic => "ledger-in-public",
            Self::OrphanedSchema => "orphaned-schema",
            Self::BadName => "bad-name",
            Self::SchemaMissing => "schema-missing",
            Self::Unreadable => "unreadable",
            Self::LedgerMissing => "ledger-missing",
            Self::StuckCreating => "stuck-creating",
            Self::StuckDropping => "stuck-dropping",
            Self::MissingMigrations => "missing-migrations",
            Self::OutOfOrder => "out-of-order",
            Self::UnknownMigrations => "unknown-migrations",
            Self::UnfinishedMigration => "unfinished-migration",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl Finding {
    /// What mends it. `command` completes a command of the command line: `create acme` becomes `tenantry create acme`.
    pub fn mend(&self, command: &dyn Fn(&str) -> String) -> String {
        match &self.mend {
            Mend::Command(line, "") => command(line),
            Mend::Command(line, words) => format!("{} ({words})", command(line)),
            Mend::Advice(words) => words.clone(),
        }
    }

    pub(super) fn tracker_behind(pending: usize) -> Self {
        let message = format!("{} pending", count(pending, "public migration is", "public migrations are"));
        Self::of_database(Kind::TrackerBehind, message, Vec::new(), Mend::Command("migrate-public".to_owned(), ""))
    }

    pub(super) fn migration_changed(change: &Change) -> Self {
        let mend = Mend::Command(change.accept(), change.hint());
        Self::of_database(Kind::MigrationChanged, change.summary(), vec![change.version.to_string()], mend)
    }

    pub(super) fn reference_failed(folder: &str, message: String) -> Self {
        let mend = Mend::Advice(format!("correct {folder}/up.sql"));
        Self::of_database(Kind::ReferenceFailed, message, vec![folder.to_owned()], mend)
    }

    pub(super) fn table_in_public(table: &str) -> Self {
        let message = format!("the table {table} of the tenants is in the schema public");
        let identifier = Identifier::of_object(table);
        let mend = Mend::Advice(format!("look whose rows it has, then DROP TABLE public.{identifier}"));
        Self::of_database(Kind::TableInPublic, message, vec![table.to_owned()], mend)
    }

    pub(super) fn ledger_in_public(versions: Vec<String>) -> Self {
        let message = format!(
            "the public ledger records {} of the tenants: {}",
            count(versions.len(), "migration", "migrations"),
            versions.join(", ")
        );
        let list: Vec<String> = versions.iter().map(|version| Literal(version).to_string()).collect();
        let mend = Mend::Advice(format!(
            "look for tenants' tables in public, then DELETE FROM public.__diesel_schema_migrations WHERE version IN ({})",
            list.join(", ")
        ));
        Self::of_database(Kind::LedgerInPublic, message, versions, mend)
    }

    pub(super) fn orphan(orphan: &Orphan) -> Self {
        let name = orphan.name.as_str();
        let message = match orphan.applied {
            Some(applied) => {
                format!("the schema {name} is not tracked, and its ledger records {}", migrations(applied))
            }
            None => format!("the schema {name} is not tracked, and has all tables of a tenant"),
        };
        let mend = match name.parse::<TenantName>() {
            Ok(_) if orphan.applied.is_some() => Mend::Command(format!("adopt {name}"), "or drop --untracked"),
            Ok(_) => Mend::Command(format!("adopt {name} --baseline VERSION"), "or drop --untracked"),
            Err(why) => Mend::Advice(format!("rename the schema, for {why}; or drop it with --untracked")),
        };
        Self::of_database(Kind::OrphanedSchema, message, vec![name.to_owned()], mend)
    }

    pub(super) fn bad_name(misnamed: &Misnamed) -> Self {
        let error = TenantError::BadName(misnamed.why.clone());
        let mend = Mend::Advice(error.hint(&misnamed.name, &str::to_owned).unwrap_or_default());
        Self::of_tenant(&misnamed.name, Kind::BadName, misnamed.why.to_string(), Vec::new(), mend)
    }

    pub(super) fn schema_missing(tenant: &TenantName, state: State) -> Self {
        let mend = match state {
            State::Registered | State::Creating => Mend::Command(format!("create {tenant}"), ""),
            State::Active | State::Dropping => {
                Mend::Command(format!("drop {tenant}"), "or restore the schema from a backup")
            }
        };
        Self::of_tenant(tenant.as_str(), Kind::SchemaMissing, "its schema does not exist".to_owned(), Vec::new(), mend)
    }

    pub(super) fn unreadable(tenant: &TenantName) -> Self {
        let schema = Identifier::from(tenant);
        let mend = Mend::Advice(format!(
            "end who has it locked, connect as its owner, or GRANT USAGE ON SCHEMA {schema} TO ROLE; \
             GRANT SELECT ON {schema}.__diesel_schema_migrations TO ROLE"
        ));
        let message = TenantError::Unreadable.to_string();
        Self::of_tenant(tenant.as_str(), Kind::Unreadable, message, Vec::new(), mend)
    }

    pub(super) fn ledger_missing(tenant: &TenantName, empty: bool) -> Self {
        let (message, mend) = match empty {
            true => ("its schema is empty", Mend::Command(format!("migrate-one {tenant}"), "")),
            false => (
                "its schema has no ledger",
                Mend::Command(format!("adopt {tenant} --baseline VERSION"), "the newest migration that it has"),
            ),
        };
        Self::of_tenant(tenant.as_str(), Kind::LedgerMissing, message.to_owned(), Vec::new(), mend)
    }

    pub(super) fn stuck(tenant: &TenantName, kind: Kind) -> Self {
        let (message, command) = match kind {
            Kind::StuckDropping => ("it was being dropped, and no run is at it", "drop"),
            _ => ("it was being created, and no run is at it", "create"),
        };
        let mend = Mend::Command(format!("{command} {tenant}"), "");
        Self::of_tenant(tenant.as_str(), kind, message.to_owned(), Vec::new(), mend)
    }

    pub(super) fn pending(tenant: &TenantName, kind: Kind, versions: Vec<String>) -> Self {
        let message = match kind {
            Kind::OutOfOrder => format!(
                "{} not applied, though a later one is: {}",
                count(versions.len(), "migration is", "migrations are"),
                versions.join(", ")
            ),
            _ => format!(
                "{} not applied: {}",
                count(versions.len(), "migration is", "migrations are"),
                versions.join(", ")
            ),
        };
        let mend = Mend::Command(format!("migrate-one {tenant}"), "");
        Self::of_tenant(tenant.as_str(), kind, message, versions, mend)
    }

    pub(super) fn unknown(tenant: &TenantName, versions: Vec<String>) -> Self {
        let message = format!(
            "its ledger records {} that {} not among the tenant migrations: {}",
            count(versions.len(), "migration", "migrations"),
            if versions.len() == 1 { "is" } else { "are" },
            versions.join(", ")
        );
        let mend = Mend::Advice("use the release that has them, or give --tenant-migrations".to_owned());
        Self::of_tenant(tenant.as_str(), Kind::UnknownMigrations, message, versions, mend)
    }

    pub(super) fn unfinished(tenant: &TenantName, unfinished: &Unfinished) -> Self {
        let Unfinished { version, statements, .. } = unfinished;
        let message = format!(
            "the migration {version} is none of the tenant migrations any more and was not finished: {} in effect",
            count(*statements, "statement of it is", "statements of it are")
        );
        let mend = Mend::Advice(format!("put the migration back, then migrate-one {tenant}"));
        Self::of_tenant(tenant.as_str(), Kind::UnfinishedMigration, message, vec![version.clone()], mend)
    }

    fn of_database(kind: Kind, message: String, items: Vec<String>, mend: Mend) -> Self {
        Self { tenant: None, kind, message, items, mend }
    }

    fn of_tenant(tenant: &str, kind: Kind, message: String, items: Vec<String>, mend: Mend) -> Self {
        Self { tenant: Some(tenant.to_owned()), kind, message, items, mend }
    }
}

fn migrations(n: usize) -> String {
    count(n, "tenant migration", "tenant migrations")
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
