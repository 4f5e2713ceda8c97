//! The role that the reference is made as: the owner of the tenants.

use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use crate::error::{Error, ReferenceError};

/// The role that owns most tenants' schemas. On a tie, the owner of the tracker.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Owner {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// Whether this session can become the role, is not that role already, and the role can create a schema.
    #[diesel(sql_type = Bool)]
    pub(super) can_be: bool,
}

/// Finds the role that owns most tenants. Owners and default grants are part of the structure, so the reference is made as
/// the role that creates tenants, if this session can become it.
///
/// # Errors
/// [`ReferenceError::TrackerUnreadable`], or the server's error.
pub(super) fn of_fleet(conn: &mut PgConnection, role: &str) -> Result<Option<Owner>, Error> {
    let can_read: bool =
        diesel::select(sql::<Bool>("pg_catalog.has_table_privilege('public.schema_tracker', 'SELECT')"))
            .get_result(conn)
            .map_err(Error::doing("read the privileges of the role"))?;
    if !can_read {
        return Err(Error::from(ReferenceError::TrackerUnreadable { role: role.to_owned() }));
    }
    sql_query(
        "WITH vote AS ( \
             SELECT n.nspowner AS role, 0 AS tracker FROM public.schema_tracker t JOIN pg_catalog.pg_namespace n ON n.nspname = t.name \
             UNION ALL SELECT c.relowner, 1 FROM pg_catalog.pg_class c WHERE c.oid = 'public.schema_tracker'::regclass::oid \
         ) \
         SELECT pg_catalog.pg_get_userbyid(role)::text AS name, \
             pg_catalog.pg_get_userbyid(role) <> current_user AND pg_catalog.pg_has_role(current_user, role, 'MEMBER') \
             AND pg_catalog.has_database_privilege(role, pg_catalog.current_database(), 'CREATE') AS can_be \
         FROM vote GROUP BY role ORDER BY pg_catalog.count(*) DESC, pg_catalog.max(tracker) DESC, role LIMIT 1",
    )
    .get_result(conn)
    .optional()
    .map_err(Error::doing("find the owner of the tenants"))
}
