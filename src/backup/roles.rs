//! The roles of an archive in the database that it is restored in.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use super::BackupError;
use super::inspect::ArchivedSchema;
use crate::database::Database;
use crate::error::Error;

/// The roles of an archive, judged by what they are in this database.
#[derive(Default)]
pub(super) struct JudgedRoles {
    /// Those whose privileges are not restored: they do not exist, or are the roles of tenants.
    pub(super) omitted: Vec<String>,
    /// Those that get the objects that they own in the archive.
    pub(super) owners: Vec<String>,
}

impl JudgedRoles {
    /// Judges the roles of an archive. `chosen` is the owner of all objects that was given.
    pub(super) fn of(
        db: &mut Database,
        archived: &ArchivedSchema,
        owner: &str,
        chosen: Option<&str>,
    ) -> Result<Self, BackupError> {
        #[derive(QueryableByName)]
        struct ArchivedRole {
            #[diesel(sql_type = Text)]
            role: String,
            #[diesel(sql_type = Bool)]
            exists: bool,
            #[diesel(sql_type = Bool)]
            is_tenants: bool,
            /// Whether the connected role may give it objects.
            #[diesel(sql_type = Bool)]
            is_member: bool,
        }
        let grantees = archived.grantees.iter().chain(&archived.other_owners);
        let roles: Vec<&str> = grantees.map(String::as_str).chain([owner]).collect();
        let rows: Vec<ArchivedRole> = sql_query(
            "SELECT r.role, p.oid IS NOT NULL AS exists, \
             EXISTS (SELECT FROM public.schema_tracker AS t WHERE t.role_name = r.role) AS is_tenants, \
             COALESCE(pg_catalog.pg_has_role(p.oid, 'MEMBER'), false) AS is_member \
             FROM (SELECT DISTINCT u.role FROM pg_catalog.unnest($1) AS u (role)) AS r \
             LEFT JOIN pg_catalog.pg_roles AS p ON p.rolname = r.role::name ORDER BY r.role",
        )
        .bind::<Array<Text>, _>(roles)
        .load(db.connection())
        .map_err(Error::doing("look for the roles of the archive"))?;
        if let Some(missing) = rows.iter().find(|row| row.role == owner && !row.exists) {
            return Err(Error::NoArchiveOwner { role: missing.role.clone() }.into());
        }
        // The owner of the archive has the privileges of an owner by default.
        let is_former_owner = |role: &str| archived.owner.as_deref() == Some(role) && role != owner;
        let mut judged = Self::default();
        for row in rows.into_iter().filter(|row| row.role != owner) {
            let keeps_objects = chosen.is_none() && archived.is_restricted && row.is_member && !row.is_tenants;
            if keeps_objects && archived.other_owners.contains(&row.role) {
                judged.owners.push(row.role.clone());
            }
            let is_omitted = !row.exists || row.is_tenants || is_former_owner(&row.role);
            if is_omitted && archived.grantees.contains(&row.role) {
                judged.omitted.push(row.role);
            }
        }
        Ok(judged)
    }
}
