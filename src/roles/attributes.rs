//! What the attributes, the memberships and the settings of a tenant's role differ by from what they should be.

use super::kind::RoleFindingKind;
use super::limits::RoleLimit;
use super::mark;
use super::plan::{RoleChange, Surroundings};
use super::recorded::TenantRole;
use super::state::RoleState;
use crate::model::SchemaName;
use crate::postgres::SchemaPath;
use crate::sql::quote::{Identifier, Literal};

/// What differs of the role itself.
pub(super) fn changes(role: &TenantRole, state: &RoleState, surroundings: &Surroundings<'_>) -> Vec<RoleChange> {
    let name = Identifier::of_object(&state.role);
    let mut changes = Vec::new();
    let mut change =
        |kind, message: String, sql: String| changes.push(RoleChange::new(kind, &state.role, message, sql));
    let connections = role.limits.connections;
    let limit = connections.value().unwrap_or(-1);
    if !state.exists {
        let message = format!("role {} does not exist", state.role);
        change(RoleFindingKind::Missing, message.clone(), format!("CREATE ROLE {name} LOGIN CONNECTION LIMIT {limit}"));
        let mark = mark::of_tenant(surroundings.database, &role.tenant);
        change(RoleFindingKind::Missing, message, format!("COMMENT ON ROLE {name} IS {}", Literal(&mark)));
    } else {
        if !state.attributes.is_empty() {
            let fixed = state.attributes.iter().map(|attribute| match attribute.strip_prefix("NO") {
                Some(without) => without.to_owned(),
                None => format!("NO{attribute}"),
            });
            let sql = format!("ALTER ROLE {name} {}", fixed.collect::<Vec<_>>().join(" "));
            let message = format!("role {} has {}", state.role, state.attributes.join(", "));
            change(RoleFindingKind::Attribute, message, sql);
        }
        if state.connections != connections.value() {
            let has = RoleLimit::recorded(state.connections);
            let message = format!("role {}: connection limit: expected {connections}, found {has}", state.role);
            change(RoleFindingKind::Settings, message, format!("ALTER ROLE {name} CONNECTION LIMIT {limit}"));
        }
    }
    memberships(role, state, surroundings.version, &mut change);
    settings(role, state, surroundings, &mut change);
    changes
}

fn memberships(
    role: &TenantRole,
    state: &RoleState,
    version: i32,
    change: &mut impl FnMut(RoleFindingKind, String, String),
) {
    let (name, group) = (Identifier::of_object(&state.role), Identifier::of_object(&role.group));
    let mut is_member = false;
    for (held, grantor) in state.groups.iter().zip(&state.grantors) {
        let (admin, grantor) = match grantor.strip_prefix("ADMIN ") {
            Some(grantor) => (true, grantor),
            None => (false, grantor.as_str()),
        };
        if *held == role.group && !admin {
            is_member = true;
            continue;
        }
        // Before version 16, a membership does not depend on who granted it.
        let by = if version >= 160_000 { format!(" GRANTED BY {grantor}") } else { String::new() };
        let option = if *held == role.group { "ADMIN OPTION FOR " } else { "" };
        is_member |= *held == role.group;
        let sql = format!("REVOKE {option}{} FROM {name}{by} CASCADE", Identifier::of_object(held));
        let with = if admin { " with the admin option" } else { "" };
        change(RoleFindingKind::Membership, format!("role {} is a member of {held}{with}", state.role), sql);
    }
    if !is_member {
        let message = format!("role {} is not a member of {}", state.role, role.group);
        let kind = if state.exists { RoleFindingKind::Membership } else { RoleFindingKind::Missing };
        change(kind, message, format!("GRANT {group} TO {name}"));
    }
}

fn settings(
    role: &TenantRole,
    state: &RoleState,
    surroundings: &Surroundings<'_>,
    change: &mut impl FnMut(RoleFindingKind, String, String),
) {
    let (name, database) = (Identifier::of_object(&state.role), Identifier::of_object(surroundings.database));
    let find = |settings: &[String], setting: &str| {
        settings.iter().find_map(|text| text.strip_prefix(setting)?.strip_prefix('=').map(str::to_owned))
    };
    let kind = if state.exists { RoleFindingKind::Settings } else { RoleFindingKind::Missing };
    let number = |limit: RoleLimit| limit.value().map(|value| value.to_string());
    let expected = [
        ("search_path", Some(state.search_path.clone())),
        ("statement_timeout", number(role.limits.statement_timeout)),
        ("temp_file_limit", number(role.limits.temp_files)),
        ("role", None),
        ("row_security", None),
        ("session_replication_role", None),
    ];
    for (setting, expected) in expected {
        if let Some(found) = find(&state.settings_everywhere, setting) {
            let message = format!("role {}: {setting} is {found} in all databases", state.role);
            change(kind, message, format!("ALTER ROLE {name} RESET {setting}"));
        }
        let found = find(&state.settings, setting);
        if found == expected {
            continue;
        }
        let sql = match &expected {
            None => format!("ALTER ROLE {name} IN DATABASE {database} RESET {setting}"),
            Some(_) if setting == "search_path" => match role.tenant.parse::<SchemaName>() {
                Ok(schema) => {
                    SchemaPath::new(&schema, surroundings.extensions).set_for_role(&state.role, surroundings.database)
                }
                Err(_) => continue,
            },
            Some(value) => format!("ALTER ROLE {name} IN DATABASE {database} SET {setting} TO {value}"),
        };
        let shown = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let message = format!(
            "role {}: {setting}: expected {}, found {}",
            state.role,
            shown(expected.as_deref()),
            shown(found.as_deref())
        );
        change(kind, message, sql);
    }
}

/// The statement that records a role.
pub(super) fn record(role: &TenantRole) -> RoleChange {
    let number = |limit: RoleLimit| limit.value().map_or("NULL".to_owned(), |value| value.to_string());
    let sql = format!(
        "UPDATE public.schema_tracker SET role_name = {}, role_group = {}, role_statement_timeout = {}, \
         role_connection_limit = {}, role_temp_file_limit = {} WHERE name = {}",
        Literal(&role.role),
        Literal(&role.group),
        number(role.limits.statement_timeout),
        number(role.limits.connections),
        number(role.limits.temp_files),
        Literal(&role.tenant)
    );
    let message = format!("the tracker does not record the role {}", role.role);
    RoleChange::new(RoleFindingKind::Missing, &role.role, message, sql)
}
