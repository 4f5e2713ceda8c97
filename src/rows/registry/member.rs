//! The first member of a tenant, in the tables of the registry's template.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::Registry;
use crate::error::RowTenancyError;
use crate::model::TenantId;
use crate::postgres::contained::ContainedStatements;
use crate::sql::quote::Identifier;

/// The tables of users and of what they may do in a tenant.
const TABLES: [&str; 3] = ["users", "memberships", "rights"];

/// A user who becomes a member of a new tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstMember {
    /// The user's address, by which an existing user is found.
    pub email: String,
    /// The rights that the member gets.
    pub rights: Vec<String>,
}

impl Registry<'_> {
    /// Checks that the tables exist that the template creates.
    pub(super) fn require_members(&self) -> Result<(), RowTenancyError> {
        let exists = |table: &&str| self.catalog.tables.iter().any(|found| found.name == **table);
        match TABLES.iter().find(|table| !exists(table)) {
            Some(table) => Err(RowTenancyError::NoMembers { schema: self.layout.schema.to_string(), table }),
            None => Ok(()),
        }
    }

    /// Adds the user unless it exists, the membership, and the rights.
    pub(super) fn add_member(
        &self,
        conn: &mut PgConnection,
        statements: &ContainedStatements,
        tenant: TenantId,
        member: &FirstMember,
    ) -> QueryResult<()> {
        let [users, memberships, rights] = TABLES.map(|table| self.qualified(table));
        let (column, id) = (Identifier::from(&self.layout.column), self.id.as_sql());
        // A user who exists stays unchanged; the update lets the statement return the id.
        let sql = format!(
            "WITH added_user AS (
                 INSERT INTO {users} (email) VALUES (($1)[1])
                 ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING id
             ), added_membership AS (
                 INSERT INTO {memberships} ({column}, user_id) SELECT ($1)[2]::{id}, id FROM added_user
                 RETURNING {column} AS tenant, user_id
             )
             INSERT INTO {rights} ({column}, user_id, name)
             SELECT tenant, user_id, granted FROM added_membership, unnest(($1)[3:]) AS granted
             RETURNING ARRAY[name::text]"
        );
        let tenant = tenant.to_string();
        let rights = member.rights.iter().map(String::as_str);
        let arguments: Vec<&str> = [member.email.as_str(), tenant.as_str()].into_iter().chain(rights).collect();
        statements.rows(conn, &sql, &arguments).map(|_| ())
    }
}
