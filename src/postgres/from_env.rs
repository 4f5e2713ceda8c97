//! The connection settings of the environment.

use std::env;
use std::time::Duration;

use super::{Connector, ParseUrlError};

/// The variables that name a server or a database to libpq.
pub(crate) const LIBPQ_VARIABLES: [&str; 4] = ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"];

/// The connection timeout of [`Connector::from_env`].
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the environment has no usable connection settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FromEnvError {
    /// No variable names a database.
    #[error("none of DATABASE_URL, PGHOST, PGHOSTADDR, PGSERVICE and PGDATABASE is set")]
    NotSet,
    /// `DATABASE_URL` is not a connection string.
    #[error("DATABASE_URL is not valid")]
    InvalidUrl(#[from] ParseUrlError),
}

impl FromEnvError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSet => "no-database-url",
            Self::InvalidUrl(error) => error.code(),
        }
    }
}

impl Connector {
    /// A connector for the database of `DATABASE_URL`, or else of libpq's variables (`PGHOST`, `PGSERVICE`, …), with a
    /// connection timeout of 5 seconds. Empty variables count as not set.
    ///
    /// # Errors
    /// [`FromEnvError`] if no variable names a database, or `DATABASE_URL` is not valid.
    pub fn from_env() -> Result<Self, FromEnvError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, FromEnvError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let url = match lookup("DATABASE_URL") {
            Some(url) => url,
            None if LIBPQ_VARIABLES.iter().any(|name| lookup(name).is_some()) => String::new(),
            None => return Err(FromEnvError::NotSet),
        };
        Ok(Self::new(url.trim().parse()?, TIMEOUT, lookup))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_takes_precedence_over_libpq_variables() {
        let with = |variables: &'static [(&str, &str)]| {
            let found = Connector::from_variables(|name| {
                variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
            });
            found.map(|connector| connector.address().to_owned())
        };
        assert_eq!(with(&[]), Err(FromEnvError::NotSet));
        assert_eq!(with(&[("DATABASE_URL", " ")]), Err(FromEnvError::NotSet));
        assert_eq!(with(&[("DATABASE_URL", "postgres://db.example/shop")]).unwrap(), "db.example:5432");
        assert_eq!(with(&[("PGHOST", "db.example")]).unwrap(), "db.example:5432");
        let both = with(&[("DATABASE_URL", "postgres://one.example/shop"), ("PGHOST", "other.example")]);
        assert_eq!(both.unwrap(), "one.example:5432");
        assert_eq!(with(&[("DATABASE_URL", "mysql://x")]).unwrap_err().code(), "invalid-database-url");
    }
}
