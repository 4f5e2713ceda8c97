//! Names of tables, columns and roles.

use std::fmt;
use std::str::FromStr;

use super::NameError;
use super::name::check_length;

/// The name of a table, a column or a role: 1 to 63 bytes, no NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name as in the catalog, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        check_length(name)?;
        if name.contains('\0') {
            return Err(NameError::Character { name: name.to_owned(), character: '\0' });
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
