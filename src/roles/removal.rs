//! Drops the roles of tenants, and the group.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Text};

use super::mark;
use super::recorded::TenantRole;
use crate::database::Database;
use crate::error::{Error, RoleError};
use crate::postgres::{CHANGED, CHUNK};
use crate::sql::quote::{Identifier, Literal};

/// How the role of a tenant is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleRemoval {
    pub(crate) role: String,
    database: String,
    mark: String,
}

/// What becomes of a tenant's role when the tenant is dropped.
#[derive(Debug)]
pub(crate) enum Removal {
    Drop(RoleRemoval),
    /// It is not marked as the role of the tenant.
    Keep(String),
    Refuse(RoleError),
}

#[derive(QueryableByName)]
struct UseRow {
    #[diesel(sql_type = Text)]
    tenant: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Bool)]
    is_marked: bool,
    #[diesel(sql_type = Array<Text>)]
    databases: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    owned: Vec<String>,
}

/// What becomes of the roles of tenants, by the names of the tenants. Tenants without a role are not in it.
pub(crate) fn removals(db: &mut Database, tenants: &[&str]) -> Result<HashMap<String, Removal>, Error> {
    let mut found = HashMap::new();
    if !db.server().has_tenant_roles {
        return Ok(found);
    }
    let database = db.server().database.clone();
    for chunk in tenants.chunks(CHUNK) {
        let recorded = TenantRole::read(db.connection(), chunk)?;
        if recorded.is_empty() {
            continue;
        }
        let names: Vec<&str> = recorded.iter().map(|role| role.tenant.as_str()).collect();
        let roles: Vec<&str> = recorded.iter().map(|role| role.role.as_str()).collect();
        let marks: Vec<String> = names.iter().map(|name| mark::of_tenant(&database, name)).collect();
        let rows: Vec<UseRow> = sql_query(include_str!("uses.sql"))
            .bind::<Array<Text>, _>(&names)
            .bind::<Array<Text>, _>(&roles)
            .bind::<Array<Text>, _>(&marks)
            .load(db.connection())
            .map_err(Error::doing("look for what the roles of the tenants are used for"))?;
        for UseRow { tenant, role, is_marked, databases, owned } in rows {
            let removal = match (is_marked, databases.as_slice(), owned.as_slice()) {
                (false, ..) => Removal::Keep(role),
                (true, [], []) => {
                    let mark = mark::of_tenant(&database, &tenant);
                    Removal::Drop(RoleRemoval { role, database: database.clone(), mark })
                }
                (true, [], _) => Removal::Refuse(RoleError::Owns { role, objects: owned }),
                (true, ..) => Removal::Refuse(RoleError::InUse { role, databases }),
            };
            found.insert(tenant, removal);
        }
    }
    Ok(found)
}

impl RoleRemoval {
    /// SQL that drops the role in a transaction, after the schema of the tenant was dropped or its privileges do not matter.
    /// It raises an error if the role has lost its mark, or owns an object.
    pub(crate) fn sql(&self) -> String {
        drop_marked(&self.role, &self.mark)
    }

    /// The statements, for a person.
    pub(crate) fn statements(&self) -> [String; 2] {
        let role = Identifier::of_object(&self.role);
        [format!("DROP OWNED BY {role}"), format!("DROP ROLE {role}")]
    }
}

/// Drops the group of the roles if it is marked and has no members and no use in other databases. Returns its name.
pub(crate) fn drop_group(db: &mut Database) -> Result<Option<String>, Error> {
    let mark = mark::of_group(&db.server().database);
    let doing = || Error::doing("drop the group of the roles of tenants");
    #[derive(QueryableByName)]
    struct GroupRow {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let conn = db.connection();
    let found: Vec<GroupRow> =
        sql_query(include_str!("group.sql")).bind::<Text, _>(&mark).load(conn).map_err(doing())?;
    let Some(GroupRow { name }) = found.into_iter().next() else { return Ok(None) };
    let sql = format!("BEGIN; {} COMMIT;", drop_marked(&name, &mark));
    if let Err(error) = conn.batch_execute(&sql) {
        conn.batch_execute("ROLLBACK").map_err(doing())?;
        return Err(doing()(error));
    }
    Ok(Some(name))
}

fn drop_marked(role: &str, mark: &str) -> String {
    let (name, literal) = (Identifier::of_object(role), Literal(role));
    // DROP OWNED needs the privileges of the role. A role with CREATEROLE that has created it may grant them to itself.
    let grant = format!("GRANT {name} TO CURRENT_USER");
    let block = format!(
        "BEGIN {} \
         IF NOT pg_catalog.pg_has_role({literal}::pg_catalog.name, 'USAGE') THEN EXECUTE {}; END IF; \
         IF EXISTS (SELECT FROM pg_catalog.pg_shdepend AS s \
         WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o' \
         AND s.refobjid = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = {literal}::pg_catalog.name)) \
         THEN RAISE EXCEPTION '{CHANGED}'; END IF; END",
        mark_guard(role, mark),
        Literal(&grant),
    );
    format!("DO {}; DROP OWNED BY {name}; DROP ROLE {name};", Literal(&block))
}

/// PL/pgSQL that raises an error unless a role has a mark.
pub(crate) fn mark_guard(role: &str, mark: &str) -> String {
    format!(
        "IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r JOIN pg_catalog.pg_shdescription AS d ON d.objoid = r.oid \
         AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
         WHERE r.rolname = {}::pg_catalog.name AND d.description = {}::pg_catalog.text) \
         THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
        Literal(role),
        Literal(mark)
    )
}

/// PL/pgSQL that raises an error if a role exists.
pub(super) fn exists_guard(role: &str) -> String {
    format!(
        "IF EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = {}::pg_catalog.name) \
         THEN RAISE EXCEPTION '{CHANGED}'; END IF;",
        Literal(role)
    )
}
