//! Migrations that were changed, deleted or added out of order since they were applied.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::migration::{Kind, Version};
use crate::model::TenantName;

/// A migration that was changed, deleted or added out of order since the migrations were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationChange {
    /// The set of the migration.
    pub kind: Kind,
    /// The version.
    pub version: Version,
    /// The folder: the current one, or else the recorded one.
    pub folder: String,
    /// The kind of change.
    pub what: ChangeKind,
    /// A tenant whose ledger cannot be read, if it is the only one that may record the version.
    pub in_doubt: Option<TenantName>,
}

/// How a migration has changed since it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its statements differ.
    Edited {
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
        /// The changed lines, as a unified diff.
        difference: String,
    },
    /// It was applied and no longer exists.
    Removed {
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
    },
    /// A ledger records the version, and the migrations and their record do not have it.
    Unknown,
    /// It was not applied anywhere, and a later one was.
    OutOfOrder {
        /// The newest applied version.
        applied: String,
    },
}

/// Changed, deleted or out-of-order migrations; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationChanges(pub Vec<MigrationChange>);

impl ChangeKind {
    /// The name that `public.schema_acceptance` records.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "edited",
            Self::Removed { .. } | Self::Unknown => "removed",
            Self::OutOfOrder { .. } => "out-of-order",
        }
    }
}

/// The subcommand that accepts unknown versions.
pub(crate) fn accept_versions(versions: &[String]) -> String {
    let flags: Vec<String> = versions.iter().map(|version| format!("--accept {version}")).collect();
    format!("repair {} --reason TEXT", flags.join(" "))
}

impl MigrationChange {
    /// A one-line description of the change.
    pub fn summary(&self) -> String {
        let since = |time: &DateTime<Utc>| {
            let time = time.format("%Y-%m-%d %H:%M UTC");
            match self.in_doubt {
                None => format!("applied (recorded on {time})"),
                Some(_) => format!("recorded on {time}"),
            }
        };
        let what = match &self.what {
            ChangeKind::Edited { recorded_at, .. } => format!("was edited since it was {}", since(recorded_at)),
            ChangeKind::Removed { recorded_at } => {
                format!("was {}, but no longer exists", since(recorded_at))
            }
            ChangeKind::Unknown => "is applied, but is not one of the migrations".to_owned(),
            ChangeKind::OutOfOrder { applied } => format!("is out of order: it precedes {applied}, which is applied"),
        };
        let doubt = self.in_doubt.as_ref().map_or_else(String::new, |tenant| {
            format!("; it may be applied in tenant {tenant}, whose ledger cannot be read")
        });
        format!("{} migration {} {what}{doubt}", self.kind, self.folder)
    }

    /// The subcommand that accepts the change.
    pub(crate) fn accept(&self) -> String {
        format!("repair --accept {} --reason TEXT", self.version)
    }

    /// How to undo the change.
    pub fn hint(&self) -> &'static str {
        match self.what {
            ChangeKind::Edited { .. } => "restore it, and make the change in a new migration",
            ChangeKind::Removed { .. } => "restore it, or use the release that contains it",
            ChangeKind::Unknown => "use the release that contains it",
            ChangeKind::OutOfOrder { .. } => "rename it to a version after the newest applied one",
        }
    }
}

impl MigrationChanges {
    /// How to undo the first change, and the command that accepts all changes.
    pub(crate) fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        let first = self.0.first()?;
        let accept = if self.0.len() == 1 { "accept it" } else { "accept all of them" };
        Some(format!("{}; or {accept} with '{}'", first.hint(), command(&self.accept())))
    }

    /// The subcommand that accepts all changes.
    fn accept(&self) -> String {
        let (tenant, public): (Vec<&MigrationChange>, Vec<&MigrationChange>) =
            self.0.iter().partition(|change| change.kind == Kind::Tenant);
        let versions =
            |changes: &[&MigrationChange]| changes.iter().map(|change| change.version.clone()).collect::<BTreeSet<_>>();
        let mut flags: Vec<String> = versions(&public).iter().map(|version| format!("--accept {version}")).collect();
        let tenant = versions(&tenant);
        match (tenant.first(), tenant.last()) {
            (Some(first), Some(last)) if tenant.len() > 1 => flags.push(format!("--accept {first}..{last}")),
            (Some(version), _) => flags.push(format!("--accept {version}")),
            _ => {}
        }
        format!("repair {} --reason TEXT", flags.join(" "))
    }
}

impl fmt::Display for MigrationChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match &self.what {
            ChangeKind::Edited { difference, .. } => {
                f.write_str(":")?;
                difference.lines().try_for_each(|line| write!(f, "\n    {line}"))
            }
            ChangeKind::Removed { .. } | ChangeKind::Unknown | ChangeKind::OutOfOrder { .. } => Ok(()),
        }
    }
}

impl fmt::Display for MigrationChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => {
                write!(f, "{} migrations were changed, deleted or added out of order:", many.len())?;
                many.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
        }
    }
}
