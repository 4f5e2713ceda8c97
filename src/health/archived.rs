//! Archived tenants that others can use.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Nullable, Text};

use super::finding::Finding;
use crate::database::Database;
use crate::error::Error;
use crate::sql::quote::Identifier;

/// Finds archived tenants on whose schema others than its owner have privileges again, or whose role can log in again.
///
/// # Errors
/// The server's error.
pub(super) fn accessible(db: &mut Database, choose: impl Fn(&str) -> bool) -> Result<Vec<Finding>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Array<Text>)]
        grantees: Vec<String>,
        #[diesel(sql_type = Nullable<Text>)]
        login_role: Option<String>,
    }
    if !db.server().has_tenant_roles {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = sql_query(include_str!("archived.sql"))
        .load(db.connection())
        .map_err(Error::doing("read the privileges on the schemas of archived tenants"))?;
    let finding = |row: Row| {
        let Row { name, grantees, login_role } = row;
        let (mut problems, mut sql) = (Vec::new(), Vec::new());
        if !grantees.is_empty() {
            let grantees = grantees.join(", ");
            problems.push(format!("{grantees} may use its schema"));
            sql.push(format!("REVOKE ALL ON SCHEMA {} FROM {grantees}", Identifier::of_object(&name)));
        }
        if let Some(role) = login_role {
            problems.push(format!("its role {role} can log in"));
            sql.push(format!("ALTER ROLE {role} NOLOGIN"));
        }
        Finding::archived_accessible(&name, problems, &sql.join("; "))
    };
    Ok(rows.into_iter().filter(|row| choose(&row.name)).map(finding).collect())
}
