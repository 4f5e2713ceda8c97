//! Names: parsed once, at the border, into types that the rest of the crate takes instead of text.

mod convert;
mod reserved;

use std::fmt;
use std::str::FromStr;

/// The longest identifier that PostgreSQL keeps whole, in bytes (`NAMEDATALEN - 1`); it cuts a longer one off with a
/// mere notice, so that two names could become one.
pub const MAX_BYTES: usize = 63;

/// The name of any schema that may exist in a database: 1 to 63 bytes, no NUL.
///
/// It says nothing of a tenant: it names extension schemas and schemas found in the database.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaName(String);

/// The name of a tenant and of its schema.
///
/// ASCII letters, digits and underscore, not starting with a digit, 1 to 63 bytes, and none of the names that belong to
/// PostgreSQL: `pg_…`, `public`, `information_schema`, and its reserved words. Such a name means the same schema whether
/// a person quotes it or not, but for its case, which PostgreSQL keeps only where it is quoted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(SchemaName);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    #[error("a name must not be empty")]
    Empty,
    /// More than 63 bytes.
    #[error("{name:?} has {bytes} bytes, and PostgreSQL keeps {MAX_BYTES}")]
    TooLong {
        /// The text.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// It begins with a digit.
    #[error("{name:?} starts with a digit")]
    LeadingDigit {
        /// The text.
        name: String,
    },
    /// A character that no tenant's name has, or NUL.
    #[error("{name:?} contains {character:?}; a name has only the letters A to Z and a to z, digits and underscore")]
    Character {
        /// The text.
        name: String,
        /// Its first character that does not belong.
        character: char,
    },
    /// `pg_…`, which the server keeps for itself (SQLSTATE 42939).
    #[error("{name:?} begins with pg_, which PostgreSQL keeps for itself")]
    SystemPrefix {
        /// The text.
        name: String,
    },
    /// `public` or `information_schema`.
    #[error("{name:?} is a schema of the database's own")]
    SystemSchema {
        /// The text.
        name: String,
    },
    /// A word that SQL cannot use as a name without quotes.
    #[error("{name:?} is a reserved word of PostgreSQL")]
    ReservedWord {
        /// The text.
        name: String,
    },
}

impl SchemaName {
    /// The schema `public`, where the tracker is.
    pub fn public() -> Self {
        Self("public".to_owned())
    }

    /// Whether it is `public`.
    pub(crate) fn is_public(&self) -> bool {
        self.0 == "public"
    }

    /// The name as it stands in `pg_namespace.nspname`: not quoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TenantName {
    /// The name as it stands in the tracker and in `pg_namespace.nspname`: not quoted.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The tenant's schema.
    pub fn schema(&self) -> &SchemaName {
        &self.0
    }

    /// The form under which names that differ only by case are one.
    pub fn folded(&self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

impl FromStr for SchemaName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        check_length(name)?;
        match name.contains('\0') {
            true => Err(NameError::Character { name: name.to_owned(), character: '\0' }),
            false => Ok(Self(name.to_owned())),
        }
    }
}

impl FromStr for TenantName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        check_length(name)?;
        let owned = || name.to_owned();
        if let Some(character) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_')) {
            return Err(NameError::Character { name: owned(), character });
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(NameError::LeadingDigit { name: owned() });
        }
        let folded = name.to_ascii_lowercase();
        if folded.starts_with("pg_") {
            return Err(NameError::SystemPrefix { name: owned() });
        }
        if ["public", "information_schema"].contains(&folded.as_str()) {
            return Err(NameError::SystemSchema { name: owned() });
        }
        if reserved::is_reserved(&folded) {
            return Err(NameError::ReservedWord { name: owned() });
        }
        Ok(Self(SchemaName(owned())))
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn check_length(name: &str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        1..=MAX_BYTES => Ok(()),
        bytes => Err(NameError::TooLong { name: name.to_owned(), bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_tenants() {
        for name in ["acme", "Acme", "_", "a1", "tenant_0001", "pgx_ok", "publics", "select_", &"x".repeat(63)] {
            assert_eq!(name.parse::<TenantName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn every_rule_refuses_and_says_why() {
        let refused = |name: &str| name.parse::<TenantName>().unwrap_err().to_string();
        assert_eq!(refused(""), "a name must not be empty");
        assert!(refused(&"x".repeat(64)).ends_with("has 64 bytes, and PostgreSQL keeps 63"));
        assert_eq!(refused("1acme"), "\"1acme\" starts with a digit");
        for hostile in ["a-b", "a b", "a.b", "a\"b", "a;b", "a'b", "é", "acme\n", " acme", "a\0b", "a$b", "a%b"] {
            assert!(refused(hostile).contains("contains"), "{hostile:?}");
        }
        for name in ["pg_temp", "PG_toast", "pg_"] {
            assert!(refused(name).contains("begins with pg_"), "{name}");
        }
        for name in ["public", "Public", "information_schema"] {
            assert!(refused(name).contains("database's own"), "{name}");
        }
        for name in ["select", "SELECT", "user", "table", "system_user"] {
            assert!(refused(name).contains("reserved word"), "{name}");
        }
    }

    #[test]
    fn a_schema_may_have_any_name_that_the_database_may_hold() {
        for name in ["extensions", "My Schema", "select", "é"] {
            assert_eq!(name.parse::<SchemaName>().unwrap().as_str(), name);
        }
        assert!("a\0b".parse::<SchemaName>().is_err());
        assert!("é".repeat(32).parse::<SchemaName>().is_err(), "64 bytes, 32 characters");
    }
}
