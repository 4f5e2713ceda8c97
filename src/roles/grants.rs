//! The privileges in the schemas of tenants: the expected ones, and what differs. Only `grants.sql` has the expected ones.

use std::collections::BTreeMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::kind::RoleFindingKind;
use super::mark;
use super::plan::RoleChange;
use crate::error::Error;
use crate::sql::quote::Identifier;

/// The privileges on an object that are not the expected ones.
#[derive(Debug, QueryableByName)]
pub(super) struct GrantDifference {
    #[diesel(sql_type = Text)]
    pub(super) tenant: String,
    /// `SCHEMA`, `TABLE`, `COLUMN` (of a table), `SEQUENCE`, `ROUTINE` or `DEFAULT ` and a plural.
    #[diesel(sql_type = Text)]
    kind: String,
    /// Its name, quoted.
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Array<Text>)]
    granted: Vec<String>,
    /// The privileges that the tenant's role should have; `None` if it does not matter.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    expected: Option<Vec<String>>,
    #[diesel(sql_type = Bool)]
    is_grantable: bool,
    /// Others with privileges: `PUBLIC`, a role, or `OWNER ` and a role, quoted.
    #[diesel(sql_type = Array<Text>)]
    strangers: Vec<String>,
}

/// Reads what differs in the schemas of at most [`CHUNK`](crate::postgres::CHUNK) tenants. `migrating` are roles that run
/// migrations, besides the owners of the schemas.
pub(super) fn read(
    conn: &mut PgConnection,
    tenants: &[&str],
    roles: &[Option<&str>],
    database: &str,
    migrating: &[&str],
) -> Result<Vec<GrantDifference>, Error> {
    sql_query(include_str!("grants.sql"))
        .bind::<Array<Text>, _>(tenants)
        .bind::<Array<Nullable<Text>>, _>(roles)
        .bind::<Text, _>(mark::of_database(database))
        .bind::<Array<Text>, _>(migrating)
        .load(conn)
        .map_err(Error::doing("read the privileges in the schemas of the tenants"))
}

/// The changes of one tenant. `role` is `None` if it has none; then only the privileges of others are revoked.
pub(super) fn changes(role: Option<&str>, group: &str, differences: &[&GrantDifference]) -> Vec<RoleChange> {
    let mut changes = Vec::new();
    // Statements with the same privileges are one.
    let mut missing: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for difference in differences {
        changes.extend(difference.strangers.iter().map(|stranger| difference.revoke_stranger(stranger, group)));
        let (Some(role), Some(expected)) = (role, &difference.expected) else { continue };
        let grantee = Identifier::of_object(role);
        let excess = difference.granted.iter().filter(|granted| !expected.contains(granted)).count();
        let is_replaced = excess > 0 || difference.is_grantable || difference.kind == "COLUMN";
        if is_replaced {
            let held = difference.granted.join(", ");
            let sql = difference.statement("REVOKE", "ALL", &format!("FROM {grantee} CASCADE"));
            let option = if difference.is_grantable { " WITH GRANT OPTION" } else { "" };
            let message = format!("role {role} has {held}{option} on {}", difference.described());
            changes.push(RoleChange::new(RoleFindingKind::Grants, &difference.object, message, sql));
        }
        if expected.is_empty() || (!is_replaced && difference.granted == *expected) {
            continue;
        }
        let privileges = expected.join(", ");
        if difference.is_default() || is_replaced {
            let sql = difference.statement("GRANT", &privileges, &format!("TO {grantee}"));
            let message = format!("role {role} has no {privileges} on {}", difference.described());
            changes.push(RoleChange::new(RoleFindingKind::Grants, &difference.object, message, sql));
        } else {
            missing.entry((&difference.kind, privileges)).or_default().push(&difference.object);
        }
    }
    // The schema comes first.
    let of_schema = |kind: &str| kind != "SCHEMA";
    let mut missing: Vec<_> = missing.into_iter().collect();
    missing.sort_by_key(|((kind, _), _)| of_schema(kind));
    for ((kind, privileges), objects) in missing {
        let Some(role) = role else { continue };
        let listed = objects.join(", ");
        let sql = format!("GRANT {privileges} ON {kind} {listed} TO {}", Identifier::of_object(role));
        let first = match objects.as_slice() {
            [one] => format!("{} {one}", kind.to_lowercase()),
            [one, rest @ ..] => format!("{} {one} and {} more", kind.to_lowercase(), rest.len()),
            [] => continue,
        };
        let message = format!("role {role} has no {privileges} on {first}");
        let mut change = RoleChange::new(RoleFindingKind::Grants, "", message, sql);
        change.objects = objects.iter().map(|object| (*object).to_owned()).collect();
        changes.push(change);
    }
    changes
}

impl GrantDifference {
    fn is_default(&self) -> bool {
        self.kind.starts_with("DEFAULT ")
    }

    fn described(&self) -> String {
        match self.kind.strip_prefix("DEFAULT ") {
            Some(plural) => format!("new {} ({})", plural.to_lowercase(), self.object),
            None if self.kind == "COLUMN" => format!("columns of {}", self.object),
            None => format!("{} {}", self.kind.to_lowercase(), self.object),
        }
    }

    fn statement(&self, verb: &str, privileges: &str, grantee: &str) -> String {
        match self.kind.strip_prefix("DEFAULT ") {
            Some(plural) => {
                format!("ALTER DEFAULT PRIVILEGES {} {verb} {privileges} ON {plural} {grantee}", self.object)
            }
            None => {
                let kind = if self.kind == "COLUMN" { "TABLE" } else { &self.kind };
                format!("{verb} {privileges} ON {kind} {} {grantee}", self.object)
            }
        }
    }

    fn revoke_stranger(&self, stranger: &str, group: &str) -> RoleChange {
        if let Some(owner) = stranger.strip_prefix("OWNER ") {
            let kind = if self.kind == "COLUMN" { "TABLE" } else { &self.kind };
            let message = format!("role {owner} of another tenant owns {}", self.described());
            let sql = format!("ALTER {kind} {} OWNER TO CURRENT_USER", self.object);
            return RoleChange::new(RoleFindingKind::ForeignGrant, &self.object, message, sql);
        }
        let is_group = stranger == group || stranger == Identifier::of_object(group).to_string();
        let (kind, who) = match stranger {
            "PUBLIC" => (RoleFindingKind::PublicGrant, "PUBLIC".to_owned()),
            _ if is_group => (RoleFindingKind::PublicGrant, format!("group {stranger}")),
            _ => (RoleFindingKind::ForeignGrant, format!("role {stranger} of another tenant")),
        };
        let message = format!("{who} has privileges on {}", self.described());
        let cascade = if self.is_default() { "" } else { " CASCADE" };
        let sql = self.statement("REVOKE", "ALL", &format!("FROM {stranger}{cascade}"));
        RoleChange::new(kind, &self.object, message, sql)
    }
}
