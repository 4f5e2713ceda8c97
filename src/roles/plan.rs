//! What the role of a tenant and the privileges in its schema differ by from what they should be.

use std::collections::HashMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Bool, Nullable, Text};

use super::grants::{self, GrantDifference};
use super::kind::RoleFindingKind;
use super::limits::{RoleLimit, RoleLimits};
use super::recorded::TenantRole;
use super::state::{RoleState, reading};
use super::{attributes, mark, removal};
use crate::database::Database;
use crate::error::{Error, RoleError};
use crate::model::{ObjectName, SchemaName, TenantName};
use crate::postgres::CHUNK;
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::Tenancy;

/// How the roles of tenants are named and limited. What is `None` is as recorded, or the default for a new role.
#[derive(Debug, Clone, Default)]
pub struct RoleOptions {
    /// The name of the role of a single tenant.
    pub name: Option<ObjectName>,
    /// What the names of new roles begin with; the name of the database and `_` by default.
    pub prefix: Option<String>,
    /// The group of the roles; the prefix and `tenants` by default.
    pub group: Option<ObjectName>,
    /// The statement timeout of its sessions, in milliseconds.
    pub statement_timeout: Option<RoleLimit>,
    /// The number of its connections.
    pub connections: Option<RoleLimit>,
    /// The size of the temporary files of a session, in kilobytes.
    pub temp_files: Option<RoleLimit>,
}

/// A statement that changes a role or its privileges, and the problem that it solves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleChange {
    /// The kind of the finding that it fixes.
    pub kind: RoleFindingKind,
    /// The objects that it is about, quoted where necessary.
    pub objects: Vec<String>,
    /// The problem, in one line.
    pub message: String,
    /// The statement.
    pub sql: String,
}

/// What is to be changed for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePlan {
    /// The tenant.
    pub tenant: TenantName,
    /// Its role.
    pub role: String,
    /// Whether the role does not exist yet.
    pub is_new: bool,
    /// The statements, in the order in which they are executed in one transaction.
    pub changes: Vec<RoleChange>,
    pub(crate) database: String,
}

/// The group of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPlan {
    pub(crate) group: String,
    /// The statements that create it.
    pub(crate) statements: Vec<String>,
}

impl RoleChange {
    pub(super) fn new(kind: RoleFindingKind, object: &str, message: String, sql: String) -> Self {
        Self { kind, objects: vec![object.to_owned()], message, sql }
    }
}

impl RolePlan {
    /// PL/pgSQL that raises an error unless the role exists with its mark, or does not exist if it is new.
    pub(crate) fn guard(&self) -> String {
        if self.is_new {
            removal::exists_guard(&self.role)
        } else {
            removal::mark_guard(&self.role, &mark::of_tenant(&self.database, self.tenant.as_str()))
        }
    }
}

/// The role that a tenant has or gets: as recorded, with the given changes.
fn intended(tenant: &TenantName, recorded: Option<&TenantRole>, options: &RoleOptions, database: &str) -> TenantRole {
    let prefix = options.prefix.clone().unwrap_or_else(|| format!("{database}_"));
    let limits = recorded.map_or_else(RoleLimits::default, |recorded| recorded.limits);
    let name = |given: Option<&ObjectName>, suffix: &str| {
        given.map_or_else(|| shortened(&prefix, suffix), |name| name.as_str().to_owned())
    };
    TenantRole {
        tenant: tenant.as_str().to_owned(),
        role: recorded.map_or_else(|| name(options.name.as_ref(), tenant.as_str()), |recorded| recorded.role.clone()),
        group: recorded.map_or_else(|| name(options.group.as_ref(), "tenants"), |recorded| recorded.group.clone()),
        limits: RoleLimits {
            statement_timeout: options.statement_timeout.unwrap_or(limits.statement_timeout),
            connections: options.connections.unwrap_or(limits.connections),
            temp_files: options.temp_files.unwrap_or(limits.temp_files),
        },
    }
}

/// A name of at most 63 bytes: one that is too long ends with a hash of all of it.
pub(crate) fn shortened(prefix: &str, suffix: &str) -> String {
    use sha2::{Digest, Sha256};
    const MAX_BYTES: usize = 63;
    let name = format!("{prefix}{suffix}");
    if name.len() <= MAX_BYTES {
        return name;
    }
    let hash = Sha256::digest(name.as_bytes());
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut end = MAX_BYTES - 1 - hash.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{hash}", &name[..end])
}

/// What a plan is made of: the server, the database and who changes it.
pub(super) struct Surroundings<'a> {
    pub(super) database: &'a str,
    pub(super) extensions: &'a [SchemaName],
    /// Roles that run migrations, besides the owners of the schemas.
    pub(super) migrating: &'a [&'a str],
    pub(super) version: i32,
}

/// The plan for a tenant, or why its role cannot be changed.
pub(crate) type PlannedRole = Result<RolePlan, (TenantName, RoleError)>;

/// Plans the roles of tenants that exist, and their group. The plans are in the order of `tenants`; a role that has another
/// purpose is an error.
pub(crate) fn plan_roles(
    db: &mut Database,
    tenancy: &Tenancy,
    tenants: &[TenantName],
    options: &RoleOptions,
) -> Result<(GroupPlan, Vec<PlannedRole>), Error> {
    let server = db.server().clone();
    let surroundings = Surroundings {
        database: &server.database,
        extensions: tenancy.extension_schemas(),
        migrating: &[server.role.as_str()],
        version: server.version,
    };
    let mut plans = Vec::new();
    let mut group = None;
    for chunk in tenants.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(TenantName::as_str).collect();
        let recorded = TenantRole::read(db.connection(), &names)?;
        let recorded: HashMap<&str, &TenantRole> = recorded.iter().map(|one| (one.tenant.as_str(), one)).collect();
        let roles: Vec<TenantRole> = chunk
            .iter()
            .map(|tenant| intended(tenant, recorded.get(tenant.as_str()).copied(), options, surroundings.database))
            .collect();
        if group.is_none() {
            group = roles.first().map(|role| role.group.clone());
        }
        let changes = reading(db.connection(), |conn| changes(conn, &roles, &surroundings))?;
        for ((tenant, role), found) in chunk.iter().zip(roles).zip(changes) {
            let differs = |given: Option<&ObjectName>, has: &str| given.is_some_and(|given| given.as_str() != has);
            plans.push(match found {
                // A role is not renamed.
                _ if differs(options.name.as_ref(), &role.role) || differs(options.group.as_ref(), &role.group) => {
                    Err((tenant.clone(), RoleError::HasRole { role: role.role, group: role.group }))
                }
                RoleDifferences::OtherPurpose => Err((tenant.clone(), RoleError::Exists { role: role.role })),
                RoleDifferences::Changes { exists, mut changes } => {
                    if recorded.get(tenant.as_str()).is_none_or(|recorded| **recorded != role) {
                        changes.push(attributes::record(&role));
                    }
                    let database = server.database.clone();
                    Ok(RolePlan { tenant: tenant.clone(), role: role.role, is_new: !exists, changes, database })
                }
            });
        }
    }
    let default_group = || intended_group(options, &server.database);
    let group = plan_group(db.connection(), group.unwrap_or_else(default_group), &server.database)?;
    Ok((group, plans))
}

fn intended_group(options: &RoleOptions, database: &str) -> String {
    let prefix = options.prefix.clone().unwrap_or_else(|| format!("{database}_"));
    options.group.as_ref().map_or_else(|| shortened(&prefix, "tenants"), |group| group.as_str().to_owned())
}

/// What is found about the role of a tenant.
pub(super) enum RoleDifferences {
    /// The role exists and is not marked as that of the tenant.
    OtherPurpose,
    Changes {
        exists: bool,
        changes: Vec<RoleChange>,
    },
}

/// What differs for at most [`CHUNK`] tenants, in their order. Runs in [`reading`].
pub(super) fn changes(
    conn: &mut PgConnection,
    roles: &[TenantRole],
    surroundings: &Surroundings<'_>,
) -> Result<Vec<RoleDifferences>, Error> {
    let tenants: Vec<&str> = roles.iter().map(|role| role.tenant.as_str()).collect();
    let names: Vec<&str> = roles.iter().map(|role| role.role.as_str()).collect();
    let states = RoleState::read(conn, &tenants, &names, surroundings.extensions)?;
    let states: HashMap<&str, &RoleState> = states.iter().map(|state| (state.tenant.as_str(), state)).collect();
    let optional: Vec<Option<&str>> = names.iter().copied().map(Some).collect();
    let differences = grants::read(conn, &tenants, &optional, surroundings.database, surroundings.migrating)?;
    let mut by_tenant: HashMap<&str, Vec<&GrantDifference>> = HashMap::new();
    for difference in &differences {
        by_tenant.entry(&difference.tenant).or_default().push(difference);
    }
    let found = roles.iter().map(|role| {
        let Some(state) = states.get(role.tenant.as_str()) else { return RoleDifferences::OtherPurpose };
        if state.exists && state.mark.as_deref() != Some(&mark::of_tenant(surroundings.database, &role.tenant)) {
            return RoleDifferences::OtherPurpose;
        }
        let mut changes = attributes::changes(role, state, surroundings);
        let differences = by_tenant.get(role.tenant.as_str()).map_or(&[][..], Vec::as_slice);
        changes.extend(grants::changes(Some(&role.role), &role.group, differences));
        RoleDifferences::Changes { exists: state.exists, changes }
    });
    Ok(found.collect())
}

/// What the group needs. A role with its name that has another purpose is an error.
fn plan_group(conn: &mut PgConnection, group: String, database: &str) -> Result<GroupPlan, Error> {
    #[derive(QueryableByName)]
    struct GroupState {
        #[diesel(sql_type = Nullable<Text>)]
        mark: Option<String>,
        #[diesel(sql_type = Bool)]
        can_connect: bool,
    }
    let found: Vec<GroupState> = sql_query(
        "SELECT d.description AS mark, pg_catalog.has_database_privilege(r.oid, \
         pg_catalog.current_database()::pg_catalog.text, 'CONNECT') AS can_connect \
         FROM pg_catalog.pg_roles AS r LEFT JOIN pg_catalog.pg_shdescription AS d \
         ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass WHERE r.rolname = ANY ($1)",
    )
    .bind::<Array<Text>, _>(vec![group.as_str()])
    .load(conn)
    .map_err(Error::doing("read the roles of the server"))?;
    let (name, mark) = (Identifier::of_object(&group), mark::of_group(database));
    let connect = format!("GRANT CONNECT ON DATABASE {} TO {name}", Identifier::of_object(database));
    let statements = match found.first() {
        Some(state) if state.mark.as_deref() != Some(&mark) => {
            return Err(RoleError::GroupExists { role: group }.into());
        }
        Some(state) if state.can_connect => Vec::new(),
        Some(_) => vec![connect],
        None => {
            let create = format!("CREATE ROLE {name} NOLOGIN");
            vec![create, format!("COMMENT ON ROLE {name} IS {}", Literal(&mark)), connect]
        }
    };
    Ok(GroupPlan { group, statements })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shortened_to_a_unique_one() {
        assert_eq!(shortened("shop_", "acme"), "shop_acme");
        let long = |last: &str| shortened("shop_", &format!("{}{last}", "ü".repeat(31)));
        assert!(long("a").len() <= 63 && long("a") != long("b"), "{} {}", long("a"), long("b"));
        assert_eq!(shortened("", &"x".repeat(63)), "x".repeat(63));
    }
}
