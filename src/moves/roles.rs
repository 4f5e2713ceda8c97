//! The login role of a tenant: it is made on the target before its privileges are, and corrected as `isolate` does once the tenant
//! is in use there.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Nullable, Text};
use serde_json::Value;

use super::mover::Moving;
use super::prepare::Blueprint;
use super::site::Site;
use crate::database::Stop;
use crate::error::{Error, MoveError};
use crate::model::TenantName;
use crate::operations::{PasswordChoice, give_roles, plan_roles};
use crate::roles::{RoleOptions, mark_of, shortened};
use crate::sql::quote::{Identifier, Literal};

/// The role of a tenant, as the tracker row of the source has it.
struct RecordedRole {
    name: String,
    connections: Option<i64>,
    is_archived: bool,
}

/// A role on a server.
#[derive(QueryableByName)]
struct RoleOnServer {
    #[diesel(sql_type = Nullable<Text>)]
    mark: Option<String>,
}

fn recorded(tracked: &str) -> Option<RecordedRole> {
    let row: Value = serde_json::from_str(tracked).ok()?;
    Some(RecordedRole {
        name: row.get("role_name")?.as_str()?.to_owned(),
        connections: row.get("role_connection_limit").and_then(Value::as_i64),
        is_archived: !row.get("archived_at").is_none_or(Value::is_null),
    })
}

fn find(conn: &mut PgConnection, role: &str) -> QueryResult<Option<RoleOnServer>> {
    sql_query(
        "SELECT d.description AS mark FROM pg_catalog.pg_roles AS r LEFT JOIN pg_catalog.pg_shdescription AS d \
         ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass WHERE r.rolname = $1::name",
    )
    .bind::<Text, _>(role)
    .get_result(conn)
    .optional()
}

/// The stored form of the password of a role. `None` without one, or if this role may not read it.
fn verifier(conn: &mut PgConnection, role: &str) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct May {
        #[diesel(sql_type = Bool)]
        may: bool,
    }
    #[derive(QueryableByName)]
    struct StoredVerifier {
        #[diesel(sql_type = Nullable<Text>)]
        verifier: Option<String>,
    }
    let row: May =
        sql_query("SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may").get_result(conn)?;
    if !row.may {
        return Ok(None);
    }
    let stored: Option<StoredVerifier> =
        sql_query("SELECT a.rolpassword AS verifier FROM pg_catalog.pg_authid AS a WHERE a.rolname = $1::name")
            .bind::<Text, _>(role)
            .get_result(conn)
            .optional()?;
    Ok(stored.and_then(|row| row.verifier))
}

/// Whether two databases are on one server, so that they have the same roles.
pub(super) fn share_roles(source: &mut Site, target: &mut Site, tenant: &TenantName) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct System {
        #[diesel(sql_type = Text)]
        system: String,
    }
    let read = |site: &mut Site| -> Result<String, Error> {
        let failed = site.failed(tenant, "identify the server");
        let row: System =
            sql_query("SELECT s.system_identifier::text AS system FROM pg_catalog.pg_control_system() AS s")
                .get_result(site.conn())
                .map_err(failed)?;
        Ok(row.system)
    };
    Ok(read(source)? == read(target)?)
}

/// Why the role of a tenant cannot be made on the target, as a clause.
pub(super) fn problem(target: &mut Site, tenant: &TenantName, tracked: &str) -> Result<Option<String>, Error> {
    let Some(role) = recorded(tracked) else { return Ok(None) };
    let mark = mark_of(&target.db.server().database, tenant.as_str());
    let failed = target.failed(tenant, "look for the role");
    let found = find(target.conn(), &role.name).map_err(failed)?;
    Ok(found
        .filter(|found| found.mark.as_deref() != Some(&mark))
        .map(|_| format!("role {:?} exists on server {} for another purpose", role.name, target.name())))
}

/// Drops the role of a tenant that a server does not have any more.
pub(super) fn remove(site: &mut Site, tenant: &TenantName, tracked: &str, stop: &Stop) -> Result<(), Error> {
    let Some(role) = recorded(tracked) else { return Ok(()) };
    let mark = mark_of(&site.db.server().database, tenant.as_str());
    let name = Identifier::of_object(&role.name).to_string();
    site.locked(tenant, "drop the role", stop, |conn| {
        let found = find(conn, &role.name)?;
        if found.is_none_or(|found| found.mark.as_deref() != Some(&mark)) {
            return Ok(());
        }
        conn.batch_execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"))
    })
}

impl Moving<'_> {
    /// Makes the role of the tenant on the target, with its password if this program may read the verifier.
    pub(super) fn make_role(&mut self, blueprint: &Blueprint) -> Result<(), Error> {
        let Some(role) = recorded(&blueprint.tracked) else { return Ok(()) };
        let tenant = self.moved.tenant.clone();
        if share_roles(&mut self.source, &mut self.target, &tenant)? {
            return Ok(());
        }
        let failed = self.target.failed(&tenant, "look for the role");
        if find(self.target.conn(), &role.name).map_err(failed)?.is_some() {
            return match problem(&mut self.target, &tenant, &blueprint.tracked)? {
                None => Ok(()),
                Some(reason) => {
                    let server = self.target.name().to_owned();
                    Err(MoveError::Impossible { tenant: tenant.to_string(), server, reasons: vec![reason] }.into())
                }
            };
        }
        let failed = self.source.failed(&tenant, "read the role");
        let verifier = verifier(self.source.conn(), &role.name).map_err(failed)?;
        let name = Identifier::of_object(&role.name).to_string();
        let login = if role.is_archived { "NOLOGIN" } else { "LOGIN" };
        let limit = role.connections.unwrap_or(-1);
        let password = verifier.as_deref().map(|it| format!(" PASSWORD {}", Literal(it))).unwrap_or_default();
        let mark = mark_of(&self.target.db.server().database, tenant.as_str());
        self.target.locked(&tenant, "create the role", self.stop, |conn| {
            conn.batch_execute(&format!(
                "CREATE ROLE {name} {login} CONNECTION LIMIT {limit}{password}; COMMENT ON ROLE {name} IS {}",
                Literal(&mark)
            ))
        })?;
        if verifier.is_none() {
            self.remarks.push(format!(
                "role {} has no password on server {}, because its verifier cannot be read",
                role.name,
                self.target.name()
            ));
        }
        Ok(())
    }

    /// Records the role on the target, and corrects it and its privileges.
    pub(super) fn settle_role(&mut self) -> Result<(), Error> {
        let tracked = self.tracked()?;
        let Some(role) = recorded(&tracked) else { return Ok(()) };
        let tenant = self.moved.tenant.clone();
        let database = self.target.db.server().database.clone();
        let shared = share_roles(&mut self.source, &mut self.target, &tenant)?;
        let name = Identifier::of_object(&role.name).to_string();
        let own = Literal(&mark_of(&self.source.db.server().database, tenant.as_str())).to_string();
        let new = Literal(&mark_of(&database, tenant.as_str())).to_string();
        let is_own = format!(
            "EXISTS (SELECT FROM pg_catalog.pg_roles AS r JOIN pg_catalog.pg_shdescription AS d ON d.objoid = r.oid \
             AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass WHERE r.rolname = {} AND d.description = {own})",
            Literal(&role.name)
        );
        // The role on the earlier server cannot log in there any more, or it is that of the target now.
        let change =
            if shared { format!("COMMENT ON ROLE {name} IS {new}") } else { format!("ALTER ROLE {name} NOLOGIN") };
        let block = Literal(&format!("BEGIN IF {is_own} THEN {change}; END IF; END")).to_string();
        self.source.locked(&tenant, "change the role", self.stop, |conn| conn.batch_execute(&format!("DO {block}")))?;
        let group = shortened(&format!("{database}_"), "tenants");
        self.target.locked(&tenant, "record the role", self.stop, |conn| {
            sql_query(
                "UPDATE public.schema_tracker AS t SET role_name = r.role_name, role_group = $3, \
                 role_statement_timeout = r.role_statement_timeout, role_connection_limit = r.role_connection_limit, \
                 role_temp_file_limit = r.role_temp_file_limit \
                 FROM pg_catalog.jsonb_populate_record(NULL::public.schema_tracker, $2::jsonb) AS r WHERE t.name = $1",
            )
            .bind::<Text, _>(tenant.as_str())
            .bind::<Text, _>(&tracked)
            .bind::<Text, _>(&group)
            .execute(conn)
        })?;
        if role.is_archived {
            return Ok(());
        }
        let options = RoleOptions::default();
        let names = [tenant.clone()];
        let corrected = plan_roles(&mut self.target.db, self.tenancy, &names, &options).and_then(|plan| {
            give_roles(&mut self.target.db, self.tenancy, plan, &PasswordChoice::ForNewRoles, self.stop)
        });
        let error = match corrected {
            Ok(report) => report.failed.into_iter().next().map(|failed| failed.error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            self.remarks.push(format!("role {} is not complete on server {}: {error}", role.name, self.target.name()));
        }
        Ok(())
    }
}
