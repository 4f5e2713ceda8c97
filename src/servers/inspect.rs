//! What a server must have to take tenants of a fleet.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};

use crate::error::Error;

/// Facts about a server.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct ServerFacts {
    /// The version, as in `server_version_num`.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// The encoding of the database.
    #[diesel(sql_type = Text)]
    pub encoding: String,
    /// The collation of the database; with its character classification, if that differs.
    #[diesel(sql_type = Text)]
    pub collation: String,
    /// Whether the connected role may create schemas.
    #[diesel(sql_type = Bool)]
    pub may_create: bool,
    /// Whether the connected role is a superuser.
    #[diesel(sql_type = Bool)]
    pub is_superuser: bool,
    /// Whether the server is a standby.
    #[diesel(sql_type = Bool)]
    pub in_recovery: bool,
    /// The setting `wal_level`; replication by publications needs `logical`.
    #[diesel(sql_type = Text)]
    pub wal_level: String,
    #[diesel(sql_type = Text)]
    tls: String,
    /// The installed extensions, sorted.
    #[diesel(sql_type = Array<Text>)]
    pub installed: Vec<String>,
    /// The extensions that can be installed, sorted.
    #[diesel(sql_type = Array<Text>)]
    pub available: Vec<String>,
    /// The size of the database.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// How the connection to a server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsUse {
    /// It does not leave the machine.
    Local,
    /// It is encrypted.
    Encrypted,
    /// It is not encrypted.
    None,
}

impl TlsUse {
    /// A stable name, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Encrypted => "tls",
            Self::None => "none",
        }
    }
}

impl ServerFacts {
    /// Reads the facts.
    ///
    /// # Errors
    /// The server's error.
    pub fn read(conn: &mut PgConnection) -> Result<Self, Error> {
        sql_query(include_str!("inspect.sql")).get_result(conn).map_err(Error::doing("inspect the server"))
    }

    /// How the connection is protected.
    pub fn tls(&self) -> TlsUse {
        match self.tls.as_str() {
            "local" => TlsUse::Local,
            "tls" => TlsUse::Encrypted,
            _ => TlsUse::None,
        }
    }

    /// The version as in `15.18`.
    pub fn version_text(&self) -> String {
        format!("{}.{}", self.version / 10_000, self.version % 10_000)
    }
}

/// Why a server cannot take tenants of a registry's fleet, as clauses; empty if it can.
pub fn unsuitable(registry: &ServerFacts, server: &ServerFacts) -> Vec<String> {
    let mut reasons = Vec::new();
    if server.in_recovery {
        reasons.push("it is a read-only standby".to_owned());
    }
    if server.encoding != registry.encoding {
        reasons.push(format!("its encoding is {}, and that of the registry is {}", server.encoding, registry.encoding));
    }
    if !server.may_create {
        reasons.push("the connected role may not create schemas (GRANT CREATE ON DATABASE)".to_owned());
    }
    let missing: Vec<&str> = registry
        .installed
        .iter()
        .filter(|name| !server.available.contains(name) && !server.installed.contains(name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        reasons.push(format!("extensions of the registry are not available: {}", missing.join(", ")));
    }
    reasons
}

/// What is remarkable about a server of a registry's fleet, as clauses: it can take tenants, but something may surprise.
pub fn remarks(registry: &ServerFacts, server: &ServerFacts) -> Vec<String> {
    let mut remarks = Vec::new();
    if server.version / 10_000 != registry.version / 10_000 {
        remarks.push(format!("PostgreSQL {}, and {} on the registry", server.version_text(), registry.version_text()));
    }
    if server.collation != registry.collation {
        remarks.push(format!("collation {}, and {} on the registry", server.collation, registry.collation));
    }
    let missing: Vec<&str> =
        registry.installed.iter().filter(|name| !server.installed.contains(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        remarks.push(format!("extensions of the registry are not installed: {}", missing.join(", ")));
    }
    if server.tls() == TlsUse::None {
        remarks.push("the connection is not encrypted (sslmode=verify-full sslrootcert=FILE)".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            version: 150_018,
            encoding: "UTF8".to_owned(),
            collation: "C".to_owned(),
            may_create: true,
            is_superuser: false,
            in_recovery: false,
            wal_level: "replica".to_owned(),
            tls: "tls".to_owned(),
            installed: vec!["plpgsql".to_owned()],
            available: vec!["plpgsql".to_owned()],
            bytes: 0,
        }
    }

    #[test]
    fn each_reason_against_a_server_is_named() {
        assert!(unsuitable(&facts(), &facts()).is_empty());
        let registry = ServerFacts { installed: vec!["citext".to_owned(), "plpgsql".to_owned()], ..facts() };
        let server = ServerFacts { encoding: "SQL_ASCII".to_owned(), may_create: false, in_recovery: true, ..facts() };
        assert_eq!(
            unsuitable(&registry, &server),
            [
                "it is a read-only standby",
                "its encoding is SQL_ASCII, and that of the registry is UTF8",
                "the connected role may not create schemas (GRANT CREATE ON DATABASE)",
                "extensions of the registry are not available: citext",
            ]
        );
    }

    #[test]
    fn each_surprise_is_remarked() {
        assert!(remarks(&facts(), &facts()).is_empty());
        let registry = ServerFacts { installed: vec!["citext".to_owned(), "plpgsql".to_owned()], ..facts() };
        let server = ServerFacts { version: 160_004, collation: "de_DE".to_owned(), tls: "none".to_owned(), ..facts() };
        assert_eq!(
            remarks(&registry, &server),
            [
                "PostgreSQL 16.4, and 15.18 on the registry",
                "collation de_DE, and C on the registry",
                "extensions of the registry are not installed: citext",
                "the connection is not encrypted (sslmode=verify-full sslrootcert=FILE)",
            ]
        );
    }
}
