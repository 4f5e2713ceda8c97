//! The levels of differences.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::words::{last_identifier, schemas_on_path};
use crate::schema::structure::{Identity, ObjectKind};

use super::difference::Aspect;

/// How much a difference matters. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Affects the result of queries: the rows that can exist and the rows that are returned.
    Structural,
    /// Affects who can access which rows: row-level security, `SECURITY DEFINER` functions, references to another tenant.
    Security,
    /// Owners and grants.
    Privilege,
    /// Affects performance and storage.
    Tuning,
    /// Affects documentation only.
    Cosmetic,
}

/// A text that is not a [`Level`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown level: {0:?}")]
pub struct UnknownLevel(String);

impl UnknownLevel {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unknown-level"
    }
}

impl Level {
    /// All levels, the most important first.
    pub const ALL: [Self; 5] = [Self::Structural, Self::Security, Self::Privilege, Self::Tuning, Self::Cosmetic];

    /// Its name on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Structural => "structural",
            Self::Security => "security",
            Self::Privilege => "privilege",
            Self::Tuning => "tuning",
            Self::Cosmetic => "cosmetic",
        }
    }

    /// Whether a difference of this level makes a check fail by default.
    pub fn fails_by_default(self) -> bool {
        matches!(self, Self::Structural | Self::Security | Self::Privilege)
    }

    /// The level of a difference that does not refer to another tenant.
    pub(super) fn of(identity: &Identity, aspect: &Aspect) -> Self {
        use ObjectKind as Kind;
        match identity.kind {
            Kind::DefaultPrivileges => return Self::Privilege,
            Kind::IndexColumn => return Self::Tuning,
            _ => {}
        }
        let fact = match aspect {
            Aspect::Fact(fact) => fact.as_str(),
            Aspect::Missing | Aspect::Extra => "",
        };
        match (identity.kind, fact) {
            (_, "comment") => Self::Cosmetic,
            (_, "owner" | "grants") => Self::Privilege,
            (Kind::Policy | Kind::SecurityLabel, _) => Self::Security,
            (Kind::Statistics, _) => Self::Tuning,
            (_, "row_security" | "force_row_security" | "security_definer" | "security_options" | "leakproof") => {
                Self::Security
            }
            (Kind::Function | Kind::Procedure, "settings") => Self::Security,
            // The options of a view determine what can be written through it.
            (Kind::View, "options") => Self::Structural,
            (
                _,
                "storage" | "compression" | "statistics" | "options" | "toast_options" | "tablespace" | "clustered"
                | "cost" | "rows" | "parallel" | "support" | "cache",
            ) => Self::Tuning,
            _ => Self::Structural,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// The first schema name in a value for which `is_tenant` holds: a qualifier, or a schema on a function's `search_path`.
pub(super) fn references_tenant(value: &Value, is_tenant: &impl Fn(&str) -> bool) -> Option<String> {
    match value {
        Value::String(text) => text_references_tenant(text, is_tenant),
        Value::Array(values) => values.iter().find_map(|value| references_tenant(value, is_tenant)),
        _ => None,
    }
}

fn text_references_tenant(text: &str, is_tenant: &impl Fn(&str) -> bool) -> Option<String> {
    if let Some(path) = text.strip_prefix("search_path=") {
        return schemas_on_path(path).into_iter().find(|name| is_tenant(name));
    }
    text.match_indices('.').find_map(|(dot, _)| {
        let name = last_identifier(&text[..dot])?.into_owned();
        if is_tenant(&name) {
            return Some(name);
        }
        // In a string constant, a quote in the name is written twice.
        Some(name.replace("''", "'")).filter(|name| is_tenant(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_a_tenant_are_found() {
        let is_tenant = |name: &str| ["globex", "Order", "quo\"te", "it's"].contains(&name);
        for text in [
            "nextval('globex.users_id_seq'::regclass)",
            "FOREIGN KEY (id) REFERENCES globex.users(id)",
            "nextval('\"Order\".users_id_seq'::regclass)",
            "search_path=public, globex",
            "search_path=\"Order\"",
            "search_path=\"a,b\", \"quo\"\"te\"",
            "nextval('\"it''s\".users_id_seq'::regclass)",
        ] {
            assert!(text_references_tenant(text, &is_tenant).is_some(), "{text}");
        }
        for text in
            ["nextval('public.users_id_seq'::regclass)", "'globex'::text", "1.5", "my_globex.x", "search_path=public"]
        {
            assert_eq!(text_references_tenant(text, &is_tenant), None, "{text}");
        }
    }
}
