//! What could give a tenant's role access to another tenant, and roles that are not as recorded.

use std::collections::{BTreeMap, HashMap};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Nullable, Text};

use super::grants::{self, GrantDifference};
use super::kind::RoleFindingKind;
use super::mark;
use super::plan::{self, RoleChange, RoleDifferences, Surroundings};
use super::recorded::TenantRole;
use super::state::reading;
use crate::database::Database;
use crate::error::Error;
use crate::postgres::CHUNK;
use crate::tenants::Tenancy;

/// A finding about the roles of tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFinding {
    /// The tenant; `None` for the database.
    pub tenant: Option<String>,
    /// Its kind.
    pub kind: RoleFindingKind,
    /// The roles and objects, quoted where necessary.
    pub objects: Vec<String>,
    /// The problem, in one line.
    pub message: String,
    /// SQL that fixes it; `None` if `isolate` does.
    pub sql: Option<String>,
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Nullable<Text>)]
    tenant: Option<String>,
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Text)]
    fix: String,
}

/// Looks for findings about the roles of `tenants`, which are active, and of the database. Changes nothing. If no tenant has a
/// role, only roles that have lost their tenants are looked for.
pub(crate) fn find(db: &mut Database, tenancy: &Tenancy, tenants: &[&str]) -> Result<Vec<RoleFinding>, Error> {
    if !db.server().has_tenant_roles {
        return Ok(Vec::new());
    }
    let server = db.server().clone();
    reading(db.connection(), |conn| {
        let recorded = TenantRole::read_all(conn)?;
        let mut findings = of_database(conn, &server.database)?;
        if recorded.is_empty() {
            return Ok(findings);
        }
        let recorded: HashMap<&str, &TenantRole> = recorded.iter().map(|one| (one.tenant.as_str(), one)).collect();
        let surroundings = Surroundings {
            database: &server.database,
            extensions: tenancy.extension_schemas(),
            migrating: &[],
            version: server.version,
        };
        for chunk in tenants.chunks(CHUNK) {
            let (with, without): (Vec<&str>, Vec<&str>) =
                chunk.iter().partition(|tenant| recorded.contains_key(**tenant));
            let roles: Vec<TenantRole> = with.iter().map(|tenant| recorded[tenant].clone()).collect();
            for (role, found) in roles.iter().zip(plan::changes(conn, &roles, &surroundings)?) {
                findings.extend(match found {
                    RoleDifferences::OtherPurpose => vec![unmarked(role)],
                    RoleDifferences::Changes { changes, .. } => grouped(&role.tenant, changes),
                });
            }
            findings.extend(without_role(conn, &without, &surroundings)?);
            findings.extend(query(sql_query(include_str!("tenants.sql")).bind::<Array<Text>, _>(chunk).load(conn))?);
        }
        findings.sort_by(|a, b| (&a.tenant, a.kind, &a.objects).cmp(&(&b.tenant, b.kind, &b.objects)));
        Ok(findings)
    })
}

fn of_database(conn: &mut PgConnection, database: &str) -> Result<Vec<RoleFinding>, Error> {
    let rows = sql_query(include_str!("database.sql"))
        .bind::<Text, _>(mark::of_database(database))
        .bind::<Text, _>(mark::of_group(database));
    query(rows.load(conn))
}

fn query(rows: QueryResult<Vec<FoundRow>>) -> Result<Vec<RoleFinding>, Error> {
    let rows = rows.map_err(Error::doing("check the roles of the tenants"))?;
    let finding = |row: FoundRow| {
        let kind = RoleFindingKind::ALL.iter().copied().find(|kind| kind.as_str() == row.code);
        RoleFinding {
            tenant: row.tenant,
            kind: kind.expect("the queries return known codes"),
            objects: vec![row.object],
            message: row.message,
            sql: Some(row.fix),
        }
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// The findings about tenants without a role where others have one.
fn without_role(
    conn: &mut PgConnection,
    tenants: &[&str],
    surroundings: &Surroundings<'_>,
) -> Result<Vec<RoleFinding>, Error> {
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    let none = vec![None; tenants.len()];
    let differences = grants::read(conn, tenants, &none, surroundings.database, surroundings.migrating)?;
    let mut by_tenant: BTreeMap<&str, Vec<&GrantDifference>> = BTreeMap::new();
    for difference in &differences {
        by_tenant.entry(&difference.tenant).or_default().push(difference);
    }
    let mut findings = Vec::new();
    for tenant in tenants {
        findings.push(RoleFinding {
            tenant: Some((*tenant).to_owned()),
            kind: RoleFindingKind::Missing,
            objects: Vec::new(),
            message: "the tenant has no role".to_owned(),
            sql: None,
        });
        let differences = by_tenant.get(tenant).map_or(&[][..], Vec::as_slice);
        findings.extend(grouped(tenant, grants::changes(None, "", differences)));
    }
    Ok(findings)
}

fn unmarked(role: &TenantRole) -> RoleFinding {
    RoleFinding {
        tenant: Some(role.tenant.clone()),
        kind: RoleFindingKind::Unmarked,
        objects: vec![role.role.clone()],
        message: format!("role {} is not marked as the role of this tenant", role.role),
        sql: None,
    }
}

/// One finding for the changes of a kind.
fn grouped(tenant: &str, changes: Vec<RoleChange>) -> Vec<RoleFinding> {
    let mut kinds: BTreeMap<RoleFindingKind, Vec<RoleChange>> = BTreeMap::new();
    for change in changes {
        kinds.entry(change.kind).or_default().push(change);
    }
    let finding = |(kind, changes): (RoleFindingKind, Vec<RoleChange>)| {
        let mut objects: Vec<String> = changes.iter().flat_map(|change| change.objects.iter().cloned()).collect();
        objects.sort_unstable();
        objects.dedup();
        let mut messages: Vec<&str> = changes.iter().map(|change| change.message.as_str()).collect();
        messages.dedup();
        let more = if messages.len() > 1 { format!(" and {} more", messages.len() - 1) } else { String::new() };
        let message = format!("{}{more}", messages.first().copied().unwrap_or_default());
        RoleFinding { tenant: Some(tenant.to_owned()), kind, objects, message, sql: None }
    };
    kinds.into_iter().map(finding).collect()
}
