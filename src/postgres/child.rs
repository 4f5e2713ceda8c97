//! Sessions of other programs in the schema of a tenant.

use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::connect::Connector;
use super::error::Error;
use super::path::SchemaPath;
use super::url::DatabaseUrl;

/// What the transactions of a session may do unless they are begun otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transactions {
    /// They read and write.
    ReadWrite,
    /// They only read.
    ReadOnly,
}

/// How another program connects in the schema of a tenant.
#[derive(Debug)]
pub(crate) struct ChildSession {
    url: DatabaseUrl,
}

impl ChildSession {
    /// The connection string, without the password.
    pub(crate) fn conninfo(&self) -> String {
        self.url.clone().without("password").conninfo()
    }

    /// The variables of the environment for a program: `DATABASE_URL`, and those of libpq. They contain the password.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        const OF_LIBPQ: [(&str, &str); 7] = [
            ("PGHOST", "host"),
            ("PGPORT", "port"),
            ("PGUSER", "user"),
            ("PGPASSWORD", "password"),
            ("PGDATABASE", "dbname"),
            ("PGSSLMODE", "sslmode"),
            ("PGOPTIONS", "options"),
        ];
        let of_libpq = OF_LIBPQ.into_iter().filter_map(|(name, key)| Some((name, self.url.get(key)?.to_owned())));
        of_libpq.chain([("DATABASE_URL", self.url.uri())]).collect()
    }

    /// The password in the connection string.
    pub(crate) fn password(&self) -> Option<&str> {
        self.url.get("password")
    }
}

impl Connector {
    /// A session of another program whose `search_path` is `path`. It was tried: its `current_schema()` is the schema.
    ///
    /// # Errors
    /// [`Error::PathIgnored`] if the server or a pooler does not set the path; [`Error::Unreachable`].
    pub(crate) fn session_in(&self, path: SchemaPath<'_>, transactions: Transactions) -> Result<ChildSession, Error> {
        let read_only = match transactions {
            Transactions::ReadWrite => "",
            Transactions::ReadOnly => " -c default_transaction_read_only=on",
        };
        let url = self.url_with_option(&format!("{}{read_only}", path.startup_option()));
        let ignored = || Error::PathIgnored { schema: path.schema().clone() };
        let Ok(mut conn) = PgConnection::establish(&url.conninfo()) else {
            // Unless the server refuses other sessions, too, it refuses the path.
            self.connect()?;
            return Err(ignored());
        };
        let schema: Option<String> =
            diesel::select(sql::<Nullable<Text>>("pg_catalog.current_schema()::pg_catalog.text"))
                .get_result(&mut conn)
                .map_err(Error::doing("read the schema of the session"))?;
        if schema.as_deref() == Some(path.schema().as_str()) { Ok(ChildSession { url }) } else { Err(ignored()) }
    }
}
