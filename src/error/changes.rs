//! Migrations that have changed since they were first applied.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::migration::{Kind, Version};
use crate::model::TenantName;

/// A migration that is not as it was when it was first applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationChange {
    /// Of which set it is.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Its folder, now or then.
    pub folder: String,
    /// What is different.
    pub what: ChangeKind,
    /// A tenant whose ledger cannot be read, where that alone may have the version.
    pub in_doubt: Option<TenantName>,
}

/// In what a migration is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It has other statements.
    Edited {
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
        /// The lines that differ, as in a unified diff.
        difference: String,
    },
    /// It was applied and is none of the migrations any more.
    Removed {
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
    },
    /// It was not applied anywhere, and comes before one that was.
    OutOfOrder {
        /// The newest that was applied.
        applied: String,
    },
}

/// Migrations that are not as they were; not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationChanges(pub Vec<MigrationChange>);

impl ChangeKind {
    /// As it stands in `public.schema_acceptance`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "edited",
            Self::Removed { .. } => "removed",
            Self::OutOfOrder { .. } => "out-of-order",
        }
    }
}

impl MigrationChange {
    /// What is different, in a line.
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
                format!("was {}, and is none of the migrations any more", since(recorded_at))
            }
            ChangeKind::OutOfOrder { applied } => format!("is applied nowhere, and comes before {applied}, which is"),
        };
        let doubt = self.in_doubt.as_ref().map_or_else(String::new, |tenant| {
            format!("; whether it is applied in {tenant} cannot be told, for its ledger cannot be read")
        });
        format!("the {} migration {} {what}{doubt}", self.kind, self.folder)
    }

    /// The command that accepts it, to be completed.
    pub(crate) fn accept(&self) -> String {
        format!("repair --accept {} --reason TEXT", self.version)
    }

    /// What to do about it, but to accept it.
    pub fn hint(&self) -> &'static str {
        match self.what {
            ChangeKind::Edited { .. } => "put it back as it was applied, and make the change in a migration of its own",
            ChangeKind::Removed { .. } => "put it back, or use the release that has it",
            ChangeKind::OutOfOrder { .. } => "give it a version that makes it the last",
        }
    }
}

impl MigrationChanges {
    /// What to do about them: about the first of several, and the command that accepts all of them.
    pub(crate) fn hint(&self, command: &dyn Fn(&str) -> String) -> Option<String> {
        let first = self.0.first()?;
        let accepts = if self.0.len() == 1 { "accepts it" } else { "accepts all" };
        Some(format!("{}; or '{}' {accepts}", first.hint(), command(&self.accept())))
    }

    /// The command that accepts all of them, to be completed.
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
            ChangeKind::Removed { .. } | ChangeKind::OutOfOrder { .. } => Ok(()),
        }
    }
}

impl fmt::Display for MigrationChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => {
                write!(f, "{} migrations are not as they were applied:", many.len())?;
                many.iter().try_for_each(|change| write!(f, "\n  {change}"))
            }
        }
    }
}
