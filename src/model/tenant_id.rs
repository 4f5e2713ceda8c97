//! Ids of tenants that share tables.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The id of a tenant in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantId {
    /// A `uuid`.
    Uuid(Uuid),
    /// A `bigint` or an `integer`.
    Number(i64),
}

/// The type of the registry's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdType {
    /// `uuid`
    Uuid,
    /// `bigint`
    BigInt,
    /// `integer`
    Integer,
}

/// A text that is neither a UUID nor a whole number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tenant id: expected a UUID or a whole number")]
pub struct TenantIdError(String);

impl IdType {
    /// The type of a column, by the name of the type in `pg_catalog`; `None` for a type that is not supported.
    pub fn of_type(name: &str) -> Option<Self> {
        match name {
            "uuid" => Some(Self::Uuid),
            "int8" => Some(Self::BigInt),
            "int4" => Some(Self::Integer),
            _ => None,
        }
    }

    /// The name of the type in SQL.
    pub fn as_sql(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::BigInt => "bigint",
            Self::Integer => "integer",
        }
    }

    /// Whether an id is of this type.
    pub fn accepts(self, id: TenantId) -> bool {
        match (self, id) {
            (Self::Uuid, TenantId::Uuid(_)) | (Self::BigInt, TenantId::Number(_)) => true,
            (Self::Integer, TenantId::Number(number)) => i32::try_from(number).is_ok(),
            (Self::Uuid, TenantId::Number(_)) | (Self::BigInt | Self::Integer, TenantId::Uuid(_)) => false,
        }
    }
}

impl TenantIdError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-tenant-id"
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        let number = text.parse().map(Self::Number);
        number.or_else(|_| text.parse().map(Self::Uuid)).map_err(|_| TenantIdError(text.to_owned()))
    }
}

impl From<Uuid> for TenantId {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl From<i64> for TenantId {
    fn from(id: i64) -> Self {
        Self::Number(id)
    }
}

impl From<i32> for TenantId {
    fn from(id: i32) -> Self {
        Self::Number(id.into())
    }
}

/// As PostgreSQL prints the id: the signature of a context is over this text.
impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(id) => id.fmt(f),
            Self::Number(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_or_numbers() {
        assert_eq!("42".parse(), Ok(TenantId::Number(42)));
        assert_eq!("-1".parse(), Ok(TenantId::Number(-1)));
        let id: TenantId = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8".parse().unwrap();
        assert_eq!(id.to_string(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        for invalid in ["", "acme", "1; DROP TABLE x", "99999999999999999999"] {
            let error = invalid.parse::<TenantId>().unwrap_err().to_string();
            assert_eq!(error, format!("{invalid:?} is not a tenant id: expected a UUID or a whole number"));
        }
    }

    #[test]
    fn an_id_fits_its_type() {
        assert!(IdType::BigInt.accepts(TenantId::Number(i64::MAX)));
        assert!(!IdType::Integer.accepts(TenantId::Number(i64::MAX)));
        assert!(!IdType::Uuid.accepts(TenantId::Number(1)));
        assert_eq!(
            ["uuid", "int8", "int4", "text"].map(|name| IdType::of_type(name).map(IdType::as_sql)),
            [Some("uuid"), Some("bigint"), Some("integer"), None]
        );
    }
}
