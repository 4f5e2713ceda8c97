//! Hints for errors that end a command.

use super::Error;
use crate::postgres::lock_holder;
use crate::sql::quote::Identifier;
use crate::text;

impl Error {
    /// How to fix the error, if that is known. `command` turns a subcommand such as `migrate-public` into a full command
    /// line such as `tenantry migrate-public`.
    pub fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        match self {
            Self::Postgres(error) => error.hint().map(str::to_owned),
            Self::PublicMigration(failure) => failure.hint(),
            Self::Public(error) => error.hint("public", command),
            Self::Tenant { name, error } => error.hint(name.as_str(), command),
            Self::NoReference(error) => Some(error.hint()),
            Self::RowTenancy(error) => error.hint(command),
            Self::Servers(error) => error.hint(command),
            Self::Move(error) => error.hint(command),
            Self::Probe(error) => Some(error.hint(command)),
            Self::Role(error) => Some(error.hint(command)),
            Self::MigrationsChanged(changes) => changes.hint(command),
            Self::Busy { holder, .. } => Some(lock_holder::hint(holder.as_deref())),
            Self::MigrationsInUse(Some(holder)) if holder.is_run() => {
                Some(format!("use the same release for all runs, or {}", holder.hint()))
            }
            Self::MigrationsInUse(holder) => Some(lock_holder::hint(holder.as_deref())),
            Self::FleetLocked(Some(holder)) => Some(holder.hint()),
            Self::FleetLocked(None) => Some(lock_holder::hint(None)),
            Self::TrackerMissing { .. } | Self::TrackerBehind { .. } => {
                Some(format!("run '{}'", command("migrate-public")))
            }
            Self::MissingPrivileges { role, privileges } => {
                let role = Identifier::of_object(role);
                let grants: Vec<String> =
                    privileges.iter().map(|privilege| format!("GRANT {privilege} TO {role}")).collect();
                Some(format!("run as the owner: {}", grants.join("; ")))
            }
            Self::LedgerUnusable { table } => {
                Some(format!("make public.{table} a plain table; find out who changed it"))
            }
            Self::TenantsCreatedDuringCleanup => Some(format!("run '{}' again to drop them", command("cleanup"))),
            Self::CannotCompare { name, .. } => Some(format!(
                "run '{}' for details, or set another reference with --reference",
                command(&format!("health-check {}", text::shell_word(name.as_str())))
            )),
            Self::UnknownVersion { known, .. } => Some(listed("valid versions", known)),
            Self::UnknownMigration { known, .. } => Some(listed("tenant migrations", known)),
            Self::AmbiguousMigration { candidates, .. } => Some(listed("give one of", candidates)),
            // FILE instead of the path: the existing file may serve another purpose.
            Self::ReferenceFile { .. } => Some(format!("create one with '{}'", command("reference --output FILE"))),
            other => other.fixed_hint().map(str::to_owned),
        }
    }

    /// The hint of an error whose hint depends on nothing else.
    fn fixed_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoFreeConnection => {
                "close other connections, or raise max_connections or the connection limit of the role"
            }
            Self::Standby => "set --database-url to the primary server",
            Self::UnknownState { .. } => "use the release of tenantry that wrote this state",
            Self::InvalidPublicLedger { .. } => {
                "make it a plain table with the columns version and run_on; find out who changed it"
            }
            Self::ForeignMigrations { .. } => "set --tenant-migrations to the migrations of this database",
            Self::ServerFault { .. } => "fix the server, then run the command again",
            Self::NoPublicSchema { .. } => "run CREATE SCHEMA public, or GRANT USAGE ON SCHEMA public to this role",
            Self::TrackerHidden => "connect as the owner of public.schema_tracker",
            Self::NoDown { .. } => "add a down.sql to the migration",
            Self::NoArchiveOwner { .. } => "create the role, or set another owner with --owner",
            Self::CannotPrewarm { .. } => "omit --prewarm: create applies each migration",
            Self::NoExtensionSchema { .. } => "correct --extension-schema, or create the schema",
            Self::Migrations(_) => "correct the migrations; nothing was executed",
            _ => return None,
        })
    }
}

/// The first migrations of a list, and how many more there are.
fn listed(label: &str, known: &[impl ToString]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> = known.iter().take(SHOWN).map(ToString::to_string).collect();
    if shown.is_empty() {
        return "there are no tenant migrations".to_owned();
    }
    if known.len() > SHOWN {
        shown.push(format!("and {} more", known.len() - SHOWN));
    }
    format!("{label}: {}", shown.join(", "))
}
