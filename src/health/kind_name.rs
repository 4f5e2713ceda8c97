//! The names of the kinds of findings, as text.

use std::fmt;
use std::str::FromStr;

use super::finding::FindingKind;
use crate::roles::RoleFindingKind;
use crate::rows::findings::IsolationKind;
use crate::servers::findings::ServerFindingKind;

/// A text that is not a [`FindingKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of finding: {0:?}")]
pub struct UnknownKind(String);

impl UnknownKind {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unknown-finding"
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let isolation = IsolationKind::ALL.iter().copied().map(Self::Isolation);
        let roles = RoleFindingKind::ALL.iter().copied().map(Self::Role);
        let servers = ServerFindingKind::ALL.into_iter().map(Self::Server);
        let mut kinds = Self::ALL.into_iter().chain(isolation).chain(roles).chain(servers);
        kinds.find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}
