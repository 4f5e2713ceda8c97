//! The version of a migration.

use std::fmt;
use std::str::FromStr;

/// The version of a migration: the digits before the first `_` of its folder name, without dashes, as in Diesel
/// (`2026-01-05-090000_create_users` has the version `20260105090000`).
///
/// As in Diesel, versions are sorted as text, byte by byte. The version of a repeatable migration is its file and its checksum.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub(super) String);

/// The error for a text that is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a migration version; a version has 1 to 50 digits, optionally separated by dashes")]
pub struct VersionError(String);

impl VersionError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-version"
    }
}

/// The length of the column in the migration ledger (`VARCHAR(50)`).
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
        if !(1..=MAX_DIGITS).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(VersionError(text.to_owned()));
        }
        Ok(Self(digits))
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

/// A version `A`, or an inclusive range of versions `A..B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    first: Version,
    last: Version,
}

/// The error for a text that is not a [`VersionRange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionRangeError {
    /// An end of the range is not a version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The range ends before it starts.
    #[error("the range ends before it starts; use {last}..{first}")]
    Reversed {
        /// The given start.
        first: Version,
        /// The given end.
        last: Version,
    },
}

impl VersionRangeError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version(error) => error.code(),
            Self::Reversed { .. } => "reversed-range",
        }
    }
}

impl VersionRange {
    /// Whether the range contains a version.
    pub fn contains(&self, version: &Version) -> bool {
        (&self.first..=&self.last).contains(&version)
    }

    /// Whether the range is a single version.
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
        if first > last {
            return Err(VersionRangeError::Reversed { first, last });
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            return self.first.fmt(f);
        }
        write!(f, "{}..{}", self.first, self.last)
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
            "the range ends before it starts; use 1..2"
        );
    }

    #[test]
    fn dashes_are_removed_and_other_characters_are_rejected() {
        assert_eq!("2026-01-05-090000".parse::<Version>().unwrap().as_str(), "20260105090000");
        for bad in ["", "-", "v1", "2026.01", "readme", "١", &"1".repeat(51)] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }
}
