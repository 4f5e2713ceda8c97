//! The version of a migration.

use std::fmt;
use std::str::FromStr;

/// What identifies a migration in a ledger and puts migrations in order: the digits before the first `_` of its folder's
/// name, without dashes, as Diesel takes them (`2026-01-05-090000_create_users` has the version `20260105090000`).
///
/// Versions are in the order of their text, byte by byte, which is Diesel's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no migration version; a version is 1 to 50 digits, which dashes may separate")]
pub struct VersionError(String);

/// What the ledger's column holds (`VARCHAR(50)`).
const MAX_DIGITS: usize = 50;

impl Version {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let digits = text.replace('-', "");
        match (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Self(digits)),
            false => Err(VersionError(text.to_owned())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_are_dropped_and_anything_but_digits_is_refused() {
        assert_eq!("2026-01-05-090000".parse::<Version>().unwrap().as_str(), "20260105090000");
        for bad in ["", "-", "v1", "2026.01", "readme", "١", &"1".repeat(51)] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }
}
