//! Names of schemas and tenants.

mod convert;
mod reserved;

use std::fmt;
use std::str::FromStr;

use crate::text::is_unprintable;

/// The maximum length of an identifier in PostgreSQL, in bytes (`NAMEDATALEN - 1`). The server truncates a longer one and
/// reports a mere notice, so that two names could become one.
pub const MAX_BYTES: usize = 63;

/// The name of a schema: 1 to 63 bytes, no NUL. Not necessarily the name of a tenant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaName(String);

/// The name of a tenant and of its schema: every name of a schema, but `public`, `information_schema` and those that begin
/// with `pg_`, in any case.
///
/// [`NamePolicy`] is the rule for the names of new tenants.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(SchemaName);

/// The names that new tenants may have. An existing schema with another name can be adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NamePolicy {
    /// ASCII letters, digits and underscores, not starting with a digit, and no reserved word of PostgreSQL. Such a name in
    /// lower case needs no quotes in SQL.
    #[default]
    Strict,
    /// Any name of printable characters.
    Any,
}

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
    /// The name contains a control character or an invisible one, or reverses the order of text.
    #[error("{name:?} contains {character:?}, which is not printable")]
    Unprintable {
        /// The text.
        name: String,
        /// The first such character.
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

    /// The name with the letters A to Z in lower case. Two tenants must not have the same folded name: unquoted in SQL, both
    /// would be one schema. Other letters are not folded, as
    /// PostgreSQL does not fold them in UTF-8.
    pub fn folded(&self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

impl NamePolicy {
    /// Checks the name of a new tenant.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn check(self, name: &TenantName) -> Result<(), NameError> {
        let text = name.as_str();
        let owned = || text.to_owned();
        match self {
            Self::Any => match text.chars().find(|c| is_unprintable(*c)) {
                Some(character) => Err(NameError::Unprintable { name: owned(), character }),
                None => Ok(()),
            },
            Self::Strict => {
                if let Some(character) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_')) {
                    return Err(NameError::Character { name: owned(), character });
                }
                if text.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(NameError::LeadingDigit { name: owned() });
                }
                if reserved::is_reserved(&name.folded()) {
                    return Err(NameError::ReservedWord { name: owned() });
                }
                Ok(())
            }
        }
    }

    /// Parses the name of a new tenant.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(self, text: &str) -> Result<TenantName, NameError> {
        let name = text.parse()?;
        self.check(&name)?;
        Ok(name)
    }
}

/// `create` for a tenant, with the option that its name needs.
pub(crate) fn create_verb(name: &str) -> &'static str {
    let needs_option = |name: &TenantName| NamePolicy::Strict.check(name).is_err();
    if name.parse().is_ok_and(|name| needs_option(&name)) { "create --any-name" } else { "create" }
}

impl FromStr for SchemaName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        check_length(name)?;
        if name.contains('\0') {
            return Err(NameError::Unprintable { name: name.to_owned(), character: '\0' });
        }
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for TenantName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let schema: SchemaName = name.parse()?;
        let folded = name.to_ascii_lowercase();
        if folded.starts_with("pg_") {
            return Err(NameError::SystemPrefix { name: name.to_owned() });
        }
        if ["public", "information_schema"].contains(&folded.as_str()) {
            return Err(NameError::SystemSchema { name: name.to_owned() });
        }
        Ok(Self(schema))
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

pub(super) fn check_length(name: &str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        1..=MAX_BYTES => Ok(()),
        bytes => Err(NameError::TooLong { name: name.to_owned(), bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: NamePolicy = NamePolicy::Strict;

    #[test]
    fn names_without_quotes_are_accepted_by_both_policies() {
        for name in ["acme", "Acme", "_", "a1", "tenant_0001", "pgx_ok", "publics", "select_", &"x".repeat(63)] {
            for policy in [STRICT, NamePolicy::Any] {
                assert_eq!(policy.parse(name).unwrap().as_str(), name);
            }
        }
    }

    #[test]
    fn other_names_are_those_of_tenants_but_not_of_new_ones() {
        let refused = |name: &str| STRICT.parse(name).unwrap_err().to_string();
        assert_eq!(refused("1acme"), "\"1acme\" starts with a digit");
        for name in ["a-b", "a b", "a.b", "a\"b", "a;b", "a'b", "é", " acme", "a$b", "a%b"] {
            assert!(refused(name).contains("contains"), "{name:?}");
            assert_eq!(NamePolicy::Any.parse(name).unwrap().as_str(), name);
        }
        for name in ["select", "SELECT", "user", "table", "system_user"] {
            assert!(refused(name).contains("reserved word"), "{name}");
            assert!(NamePolicy::Any.parse(name).is_ok());
        }
        for name in ["acme\n", "a\u{1b}b", "a\u{202e}b", "a\u{200b}"] {
            assert!(name.parse::<TenantName>().is_ok(), "such a schema can be adopted");
            let error = NamePolicy::Any.parse(name).unwrap_err().to_string();
            assert!(error.ends_with("which is not printable"), "{error}");
        }
    }

    #[test]
    fn invalid_tenant_names_are_rejected_with_a_reason() {
        let refused = |name: &str| name.parse::<TenantName>().unwrap_err().to_string();
        assert_eq!(refused(""), "the name is empty");
        assert!(refused(&"x".repeat(64)).ends_with("is 64 bytes long; the maximum is 63"));
        assert!(refused("a\0b").ends_with("which is not printable"));
        for name in ["pg_temp", "PG_toast", "pg_"] {
            assert!(refused(name).contains("starts with pg_"), "{name}");
        }
        for name in ["public", "Public", "information_schema"] {
            assert!(refused(name).contains("is a system schema"), "{name}");
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
