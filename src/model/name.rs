//! Names of schemas and tenants.

mod convert;
mod reserved;

use std::fmt;
use std::str::FromStr;

/// The maximum length of an identifier in PostgreSQL, in bytes (`NAMEDATALEN - 1`). The server truncates a longer one and
/// reports a mere notice, so that two names could become one.
pub const MAX_BYTES: usize = 63;

/// The name of a schema: 1 to 63 bytes, no NUL. Not necessarily the name of a tenant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaName(String);

/// The name of a tenant and of its schema.
///
/// 1 to 63 ASCII letters, digits and underscores, not starting with a digit. `pg_…`, `public`, `information_schema` and
/// the reserved words of PostgreSQL are not allowed. A name in lower case needs no quotes in SQL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(SchemaName);

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("the name is empty")]
    Empty,
    /// More than 63 bytes.
    #[error("{name:?} is {bytes} bytes long; the maximum is {MAX_BYTES}")]
    TooLong {
        /// The text.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The name starts with a digit.
    #[error("{name:?} starts with a digit")]
    LeadingDigit {
        /// The text.
        name: String,
    },
    /// The name contains a character that is not allowed.
    #[error("{name:?} contains {character:?}; only letters A to Z and a to z, digits and underscore are allowed")]
    Character {
        /// The text.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The name starts with `pg_`, which PostgreSQL reserves (SQLSTATE 42939).
    #[error("{name:?} starts with pg_, which PostgreSQL reserves")]
    SystemPrefix {
        /// The text.
        name: String,
    },
    /// The name is `public` or `information_schema`.
    #[error("{name:?} is a system schema")]
    SystemSchema {
        /// The text.
        name: String,
    },
    /// The name is a reserved word, which SQL accepts as a name only in quotes.
    #[error("{name:?} is a reserved word in PostgreSQL")]
    ReservedWord {
        /// The text.
        name: String,
    },
}

impl SchemaName {
    /// The schema `public`, which contains the tracker.
    pub fn public() -> Self {
        Self("public".to_owned())
    }

    /// Whether it is `public`.
    pub(crate) fn is_public(&self) -> bool {
        self.0 == "public"
    }

    /// The name as in `pg_namespace.nspname`, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TenantName {
    /// The name as in the tracker and in `pg_namespace.nspname`, without quotes.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The tenant's schema.
    pub fn schema(&self) -> &SchemaName {
        &self.0
    }

    /// The name in lower case. Two tenants must not have the same folded name.
    pub fn folded(&self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

impl FromStr for SchemaName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        check_length(name)?;
        if name.contains('\0') {
            return Err(NameError::Character { name: name.to_owned(), character: '\0' });
        }
        Ok(Self(name.to_owned()))
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
    fn valid_tenant_names_are_accepted() {
        for name in ["acme", "Acme", "_", "a1", "tenant_0001", "pgx_ok", "publics", "select_", &"x".repeat(63)] {
            assert_eq!(name.parse::<TenantName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn invalid_tenant_names_are_rejected_with_a_reason() {
        let refused = |name: &str| name.parse::<TenantName>().unwrap_err().to_string();
        assert_eq!(refused(""), "the name is empty");
        assert!(refused(&"x".repeat(64)).ends_with("is 64 bytes long; the maximum is 63"));
        assert_eq!(refused("1acme"), "\"1acme\" starts with a digit");
        for hostile in ["a-b", "a b", "a.b", "a\"b", "a;b", "a'b", "é", "acme\n", " acme", "a\0b", "a$b", "a%b"] {
            assert!(refused(hostile).contains("contains"), "{hostile:?}");
        }
        for name in ["pg_temp", "PG_toast", "pg_"] {
            assert!(refused(name).contains("starts with pg_"), "{name}");
        }
        for name in ["public", "Public", "information_schema"] {
            assert!(refused(name).contains("is a system schema"), "{name}");
        }
        for name in ["select", "SELECT", "user", "table", "system_user"] {
            assert!(refused(name).contains("reserved word"), "{name}");
        }
    }

    #[test]
    fn any_name_that_postgresql_accepts_is_a_schema_name() {
        for name in ["extensions", "My Schema", "select", "é"] {
            assert_eq!(name.parse::<SchemaName>().unwrap().as_str(), name);
        }
        assert!("a\0b".parse::<SchemaName>().is_err());
        assert!("é".repeat(32).parse::<SchemaName>().is_err(), "64 bytes, 32 characters");
    }
}
