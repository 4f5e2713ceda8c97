//! The first member of a tenant, in the tables of the registry's template.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Text};

use super::Registry;
use crate::error::RowTenancyError;
use crate::model::TenantId;
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
        tenant: TenantId,
        member: &FirstMember,
    ) -> QueryResult<()> {
        let [users, memberships, rights] = TABLES.map(|table| self.qualified(table));
        let (column, id) = (Identifier::from(&self.layout.column), self.id.as_sql());
        // A user who exists stays unchanged; the update lets the statement return the id.
        let sql = format!(
            "WITH added_user AS (
                 INSERT INTO {users} (email) VALUES ($1)
                 ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING id
             ), added_membership AS (
                 INSERT INTO {memberships} ({column}, user_id) SELECT $2::{id}, id FROM added_user
                 RETURNING {column} AS tenant, user_id
             )
             INSERT INTO {rights} ({column}, user_id, name)
             SELECT tenant, user_id, granted FROM added_membership, unnest($3::text[]) AS granted"
        );
        sql_query(sql)
            .bind::<Text, _>(&member.email)
            .bind::<Text, _>(tenant.to_string())
            .bind::<Array<Text>, _>(&member.rights)
            .execute(conn)
            .map(|_| ())
    }
}
