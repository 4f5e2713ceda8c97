//! Conversions of names from and to text. All of them validate.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{NameError, SchemaName, TenantName};

macro_rules! conversions {
    ($name:ty) => {
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

conversions!(SchemaName);
conversions!(TenantName);

impl NameError {
    /// How to use the name anyway, if that is possible.
    #[cfg(feature = "cli")]
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::LeadingDigit { .. } | Self::Character { .. } | Self::ReservedWord { .. } => {
                Some("choose another name, or add --any-name; SQL must then quote the name")
            }
            _ => None,
        }
    }

    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty-name",
            Self::TooLong { .. } => "name-too-long",
            Self::LeadingDigit { .. } => "name-starts-with-digit",
            Self::Character { .. } | Self::Unprintable { .. } => "invalid-character",
            Self::SystemPrefix { .. } | Self::SystemSchema { .. } => "system-schema",
            Self::ReservedWord { .. } => "reserved-word",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conversions_validate_names() {
        let acme: TenantName = "acme".try_into().unwrap();
        assert_eq!(TenantName::try_from("acme".to_owned()), Ok(acme.clone()));
        assert_eq!(acme.as_ref(), "acme");
        assert_eq!(String::from(acme.clone()), "acme");
        assert_eq!(serde_json::to_string(&acme).unwrap(), "\"acme\"");
        assert_eq!(serde_json::from_str::<TenantName>("\"acme\"").unwrap(), acme);
        assert_eq!(TenantName::try_from("pg_x").unwrap_err().code(), "system-schema");
        let error = serde_json::from_str::<TenantName>("\"public\"").unwrap_err();
        assert!(error.to_string().contains("is a system schema"), "{error}");
        assert!(serde_json::from_str::<TenantName>("1").is_err());
    }
}
