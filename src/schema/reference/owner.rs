//! Whose the tenants are: the role that the reference is made as.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};

use crate::error::Error;

/// The role that most tenants' schemas belong to; in doubt, the tracker's owner.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Owner {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// Whether this session can be that role, and is not already, and whether that role can create a schema.
    #[diesel(sql_type = Bool)]
    pub(super) can_be: bool,
}

/// The role that checks may differ from the role that creates tenants. Owners and default privileges are part of the
/// structure; therefore the reference is created by the role that creates tenants, if possible.
pub(super) fn of_fleet(conn: &mut PgConnection) -> Result<Option<Owner>, Error> {
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
    .map_err(Error::doing("ask whose the tenants are"))
}
