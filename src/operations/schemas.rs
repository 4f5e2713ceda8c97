//! The schemas of the database.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use crate::error::Error;

mod catalog {
    diesel::table! {
        pg_catalog.pg_namespace (nspname) {
            nspname -> Text,
        }
    }
}

/// The names of all schemas.
///
/// # Errors
/// If the catalog cannot be read.
pub(crate) fn schema_names(conn: &mut PgConnection) -> Result<Vec<String>, Error> {
    use catalog::pg_namespace::dsl::{nspname, pg_namespace};
    pg_namespace.select(nspname).load(conn).map_err(Error::doing("read the names of the schemas"))
}
