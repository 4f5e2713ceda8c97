//! Findings: the kinds of problems, and the command that fixes each.

mod isolation;
#[cfg(feature = "cli")]
mod servers;

use crate::error::{MigrationChange, ReferenceError, TenantError, UnreadableLedger, accept_versions};
use crate::model::{State, TenantName, Unfinished, create_verb};
use crate::operations::Orphan;
use crate::roles::RoleFindingKind;
use crate::rows::findings::{IsolationKind, Severity};
use crate::schema::drift::Level;
use crate::servers::findings::ServerFindingKind;
use crate::tenants::{InvalidRow, Misnamed};
use crate::text::shell_word;

/// The kind of a finding. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// Public migrations are pending.
    TrackerBehind,
    /// A migration was edited or deleted after it was applied, or is out of order.
    MigrationChanged,
    /// A tenant migration fails in an empty schema.
    ReferenceFailed,
    /// A tenant migration has created a table in `public`.
    TableInPublic,
    /// Tenant migrations were applied to `public`.
    LedgerInPublic,
    /// A schema looks like a tenant schema and is not tracked.
    OrphanedSchema,
    /// A name in the tracker is not a valid tenant name.
    BadName,
    /// The schema of a tenant does not exist.
    SchemaMissing,
    /// This role cannot read a tenant's ledger, or the ledger is locked.
    Unreadable,
    /// A tenant's ledger does not have the definition or the contents of a ledger.
    InvalidLedger,
    /// A row of the tracker has a value that this version does not know, or none where one must be.
    InvalidRow,
    /// A tenant schema has no migration ledger.
    LedgerMissing,
    /// `create` was interrupted.
    StuckCreating,
    /// `drop` was interrupted.
    StuckDropping,
    /// Others than the owner have privileges on the schema of an archived tenant, or its role can log in.
    ArchivedAccessible,
    /// A `move` has not ended.
    StuckMoving,
    /// Migrations are pending.
    MissingMigrations,
    /// A pending migration is older than an applied one.
    OutOfOrder,
    /// The ledger records migrations that are not tenant migrations.
    UnknownMigrations,
    /// A non-transactional migration was interrupted, and is not a tenant migration any more.
    UnfinishedMigration,
    /// A problem of the isolation of tenants that share tables.
    Isolation(IsolationKind),
    /// A problem of the roles of tenants.
    Role(RoleFindingKind),
    /// A problem of a server of a fleet on several servers.
    Server(ServerFindingKind),
}

/// A problem of the database or of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The tenant, by the name in the tracker; `None` for the database.
    pub tenant: Option<String>,
    /// Its kind.
    pub kind: FindingKind,
    /// The problem, in one line.
    pub message: String,
    /// The affected versions, tables or schema.
    pub items: Vec<String>,
    fix: Fix,
}

/// How to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fix {
    /// A command of this program, and a remark.
    Command(String, &'static str),
    /// An action in words.
    Advice(String),
}

impl FindingKind {
    /// Every kind but those of [`Isolation`](Self::Isolation), [`Role`](Self::Role) and [`Server`](Self::Server), in the order in which findings are listed.
    pub const ALL: [Self; 20] = [
        Self::TrackerBehind,
        Self::MigrationChanged,
        Self::ReferenceFailed,
        Self::TableInPublic,
        Self::LedgerInPublic,
        Self::OrphanedSchema,
        Self::BadName,
        Self::SchemaMissing,
        Self::Unreadable,
        Self::InvalidLedger,
        Self::InvalidRow,
        Self::LedgerMissing,
        Self::StuckCreating,
        Self::StuckDropping,
        Self::ArchivedAccessible,
        Self::StuckMoving,
        Self::MissingMigrations,
        Self::OutOfOrder,
        Self::UnknownMigrations,
        Self::UnfinishedMigration,
    ];

    /// Whether it is a warning: it makes a check fail only on request.
    pub fn is_warning(self) -> bool {
        match self {
            Self::TableInPublic | Self::LedgerInPublic => true,
            Self::Isolation(kind) => kind.severity() == Severity::Warning,
            Self::Server(kind) => kind.is_warning(),
            _ => false,
        }
    }

    /// The level of a finding that is not a warning.
    pub fn level(self) -> Level {
        match self {
            Self::Isolation(_) | Self::Role(_) | Self::ArchivedAccessible => Level::Security,
            _ => Level::Structural,
        }
    }

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
            Self::InvalidLedger => "invalid-ledger",
            Self::InvalidRow => "invalid-row",
            Self::LedgerMissing => "ledger-missing",
            Self::StuckCreating => "stuck-creating",
            Self::StuckDropping => "stuck-dropping",
            Self::ArchivedAccessible => "archived-accessible",
            Self::StuckMoving => "stuck-moving",
            Self::MissingMigrations => "missing-migrations",
            Self::OutOfOrder => "out-of-order",
            Self::UnknownMigrations => "unknown-migrations",
            Self::UnfinishedMigration => "unfinished-migration",
            Self::Isolation(kind) => kind.as_str(),
            Self::Role(kind) => kind.as_str(),
            Self::Server(kind) => kind.as_str(),
        }
    }
}

impl Finding {
    /// How to fix it. `command` completes a command of the command line: `create acme` becomes `tenantry create acme`.
    pub fn fix(&self, command: &dyn Fn(&str) -> String) -> String {
        match &self.fix {
            Fix::Command(line, "") => command(line),
            Fix::Command(line, words) => format!("{} ({words})", command(line)),
            Fix::Advice(words) => words.clone(),
        }
    }

    pub(super) fn tracker_behind(pending: usize) -> Self {
        let message = format!("{} pending", count(pending, "public migration is", "public migrations are"));
        Self::of_database(
            FindingKind::TrackerBehind,
            message,
            Vec::new(),
            Fix::Command("migrate-public".to_owned(), ""),
        )
    }

    /// A database that an earlier release set up: its public ledger is still Diesel's.
    pub(super) fn ledger_behind() -> Self {
        let message = "the public migrations are recorded in public.__diesel_schema_migrations, which is diesel_cli's, \
                       and not in public.schema_ledger";
        let fix = Fix::Command("migrate-public".to_owned(), "");
        Self::of_database(FindingKind::TrackerBehind, message.to_owned(), Vec::new(), fix)
    }

    pub(super) fn migration_changed(change: &MigrationChange) -> Self {
        let fix = Fix::Command(change.accept(), change.hint());
        Self::of_database(FindingKind::MigrationChanged, change.summary(), vec![change.version.to_string()], fix)
    }

    pub(super) fn reference_failed(folder: &str, reason: &ReferenceError) -> Self {
        let fix = Fix::Advice(reason.hint());
        Self::of_database(FindingKind::ReferenceFailed, reason.to_string(), vec![folder.to_owned()], fix)
    }

    pub(super) fn table_in_public(table: &str) -> Self {
        let message = format!("a tenant migration has created the table {table} in public");
        let fix = Fix::Advice("check whether the application uses the table".to_owned());
        Self::of_database(FindingKind::TableInPublic, message, vec![table.to_owned()], fix)
    }

    pub(super) fn ledger_in_public(versions: Vec<String>) -> Self {
        let message = format!(
            "{} applied to public: {}",
            count(versions.len(), "tenant migration was", "tenant migrations were"),
            versions.join(", ")
        );
        let fix = Fix::Advice(
            "check which objects in public the application uses, and the setting --public-migrations".to_owned(),
        );
        Self::of_database(FindingKind::LedgerInPublic, message, versions, fix)
    }

    pub(super) fn orphan(orphan: &Orphan) -> Self {
        let name = orphan.name.as_str();
        let message = match orphan.applied {
            Some(applied) => {
                format!("schema {name} is not tracked; its ledger records {}", migrations(applied))
            }
            None => format!("schema {name} is not tracked; it has all tables of a tenant"),
        };
        let fix = match name.parse::<TenantName>() {
            Ok(_) if orphan.applied.is_some() => {
                Fix::Command(format!("adopt {}", shell_word(name)), "or drop --untracked")
            }
            Ok(_) => Fix::Command(format!("adopt {} --baseline VERSION", shell_word(name)), "or drop --untracked"),
            Err(reason) => Fix::Advice(format!("rename the schema ({reason}), or drop it with --untracked")),
        };
        Self::of_database(FindingKind::OrphanedSchema, message, vec![name.to_owned()], fix)
    }

    pub(super) fn bad_name(misnamed: &Misnamed) -> Self {
        let error = TenantError::InvalidName(misnamed.reason.clone());
        let fix = Fix::Advice(error.hint(&misnamed.name, &str::to_owned).unwrap_or_default());
        Self::of_tenant(&misnamed.name, FindingKind::BadName, misnamed.reason.to_string(), Vec::new(), fix)
    }

    pub(super) fn schema_missing(tenant: &TenantName, state: State) -> Self {
        let fix = match state {
            State::Registered | State::Creating => {
                Fix::Command(format!("{} {}", create_verb(tenant.as_str()), shell_word(tenant.as_str())), "")
            }
            State::Active | State::Archived | State::Dropping | State::Moving | State::Arriving => {
                Fix::Command(format!("drop {}", shell_word(tenant.as_str())), "or restore the schema from a backup")
            }
        };
        let message = "the schema does not exist".to_owned();
        Self::of_tenant(tenant.as_str(), FindingKind::SchemaMissing, message, Vec::new(), fix)
    }

    pub(super) fn unreadable(tenant: &TenantName, reason: &UnreadableLedger) -> Self {
        let fix = Fix::Advice(reason.hint(tenant.as_str()));
        let message = TenantError::LedgerUnreadable(reason.clone()).to_string();
        Self::of_tenant(tenant.as_str(), FindingKind::Unreadable, message, Vec::new(), fix)
    }

    pub(super) fn invalid_ledger(tenant: &TenantName, reason: &str) -> Self {
        let error = TenantError::InvalidLedger { reason: reason.to_owned() };
        let fix = Fix::Advice(error.hint(tenant.as_str(), &str::to_owned).unwrap_or_default());
        Self::of_tenant(tenant.as_str(), FindingKind::InvalidLedger, error.to_string(), Vec::new(), fix)
    }

    pub(super) fn invalid_row(row: &InvalidRow) -> Self {
        let error = TenantError::InvalidRow { reason: row.reason.clone() };
        let fix = Fix::Advice(error.hint(&row.name, &str::to_owned).unwrap_or_default());
        Self::of_tenant(&row.name, FindingKind::InvalidRow, error.to_string(), Vec::new(), fix)
    }

    pub(super) fn schema_empty(tenant: &TenantName) -> Self {
        let fix = Fix::Command(format!("migrate-one {}", shell_word(tenant.as_str())), "");
        Self::of_tenant(tenant.as_str(), FindingKind::LedgerMissing, "the schema is empty".to_owned(), Vec::new(), fix)
    }

    pub(super) fn ledger_missing(tenant: &TenantName) -> Self {
        let message = "the schema has no migration ledger".to_owned();
        let note = "VERSION is the newest migration it contains";
        let fix = Fix::Command(format!("adopt {} --baseline VERSION", shell_word(tenant.as_str())), note);
        Self::of_tenant(tenant.as_str(), FindingKind::LedgerMissing, message, Vec::new(), fix)
    }

    pub(super) fn stuck(tenant: &TenantName, kind: FindingKind) -> Self {
        let (message, command) = match kind {
            FindingKind::StuckDropping => ("drop was interrupted", "drop"),
            FindingKind::StuckMoving => ("a move between servers has not ended", "move resume"),
            _ => ("create was interrupted", create_verb(tenant.as_str())),
        };
        let fix = Fix::Command(format!("{command} {}", shell_word(tenant.as_str())), "");
        Self::of_tenant(tenant.as_str(), kind, message.to_owned(), Vec::new(), fix)
    }

    /// `problems` are what others can do, and `sql` revokes it.
    pub(super) fn archived_accessible(tenant: &str, problems: Vec<String>, sql: &str) -> Self {
        let message = format!("the tenant is archived, but {}", problems.join(", and "));
        Self::of_tenant(tenant, FindingKind::ArchivedAccessible, message, problems, Fix::Advice(sql.to_owned()))
    }

    pub(super) fn pending(tenant: &TenantName, kind: FindingKind, versions: Vec<String>) -> Self {
        let message = match kind {
            FindingKind::OutOfOrder => format!(
                "{} not applied, but a newer one is: {}",
                count(versions.len(), "migration is", "migrations are"),
                versions.join(", ")
            ),
            _ => format!(
                "{} not applied: {}",
                count(versions.len(), "migration is", "migrations are"),
                versions.join(", ")
            ),
        };
        let fix = Fix::Command(format!("migrate-one {}", shell_word(tenant.as_str())), "");
        Self::of_tenant(tenant.as_str(), kind, message, versions, fix)
    }

    pub(super) fn unknown(tenant: &TenantName, versions: Vec<String>) -> Self {
        let message = format!(
            "the ledger records {}: {}",
            count(versions.len(), "unknown migration", "unknown migrations"),
            versions.join(", ")
        );
        let fix = Fix::Command(accept_versions(&versions), "or use the release that contains them");
        Self::of_tenant(tenant.as_str(), FindingKind::UnknownMigrations, message, versions, fix)
    }

    pub(super) fn unfinished(tenant: &TenantName, unfinished: &Unfinished) -> Self {
        let Unfinished { version, statements, .. } = unfinished;
        let message = format!(
            "migration {version} was interrupted after {} and is not a tenant migration any more",
            count(*statements, "statement", "statements")
        );
        let fix = Fix::Advice(format!("restore the migration, then run migrate-one {tenant}"));
        Self::of_tenant(tenant.as_str(), FindingKind::UnfinishedMigration, message, vec![version.clone()], fix)
    }

    /// The same for the schema of shared tables.
    pub(super) fn of_shared_tables(mut self) -> Self {
        if matches!(&self.fix, Fix::Command(command, _) if command.starts_with("migrate-one ")) {
            self.fix = Fix::Command("migrate-all".to_owned(), "");
        }
        self
    }

    fn of_database(kind: FindingKind, message: String, items: Vec<String>, fix: Fix) -> Self {
        Self { tenant: None, kind, message, items, fix }
    }

    fn of_tenant(tenant: &str, kind: FindingKind, message: String, items: Vec<String>, fix: Fix) -> Self {
        Self { tenant: Some(tenant.to_owned()), kind, message, items, fix }
    }
}

fn migrations(n: usize) -> String {
    count(n, "tenant migration", "tenant migrations")
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
