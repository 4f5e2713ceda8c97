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

/// One version, or all versions from a first to a last one: `A` or `A..B`, with both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    first: Version,
    last: Version,
}

/// Why a text is no range of versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionRangeError {
    /// An end is no version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The ends are in the wrong order.
    #[error("the range ends before it begins; write {last}..{first}")]
    Reversed {
        /// What was given first.
        first: Version,
        /// What was given last.
        last: Version,
    },
}

impl VersionRange {
    /// Whether it has a version.
    pub fn contains(&self, version: &Version) -> bool {
        (&self.first..=&self.last).contains(&version)
    }

    /// Whether it is a single version.
    pub fn is_single(&self) -> bool {
        self.first == self.last
    }
}

impl From<Version> for VersionRange {
    fn from(version: Version) -> Self {
        Self { first: version.clone(), last: version }
    }
}

impl FromStr for VersionRange {
    type Err = VersionRangeError;

    fn from_str(text: &str) -> Result<Self, VersionRangeError> {
        let Some((first, last)) = text.split_once("..") else { return Ok(text.parse::<Version>()?.into()) };
        let (first, last): (Version, Version) = (first.parse()?, last.parse()?);
        match first <= last {
            true => Ok(Self { first, last }),
            false => Err(VersionRangeError::Reversed { first, last }),
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_single() {
            true => self.first.fmt(f),
            false => write!(f, "{}..{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_both_ends() {
        let range: VersionRange = "2..4".parse().unwrap();
        let within: Vec<bool> =
            ["1", "2", "3", "4", "5"].map(|version| range.contains(&version.parse().unwrap())).into();
        assert_eq!(within, [false, true, true, true, false]);
        assert_eq!((range.to_string().as_str(), range.is_single()), ("2..4", false));
        let single: VersionRange = "2026-01-01".parse().unwrap();
        assert_eq!((single.to_string().as_str(), single.is_single()), ("20260101", true));
        assert_eq!("3..3".parse::<VersionRange>().unwrap().to_string(), "3");
        for bad in ["", "..", "1..", "..1", "1...2", "1..2..3", "2..1", "a..b", "1..=2"] {
            assert!(bad.parse::<VersionRange>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "2..1".parse::<VersionRange>().unwrap_err().to_string(),
            "the range ends before it begins; write 1..2"
        );
    }

    #[test]
    fn dashes_are_dropped_and_anything_but_digits_is_refused() {
        assert_eq!("2026-01-05-090000".parse::<Version>().unwrap().as_str(), "20260105090000");
        for bad in ["", "-", "v1", "2026.01", "readme", "١", &"1".repeat(51)] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }
}
