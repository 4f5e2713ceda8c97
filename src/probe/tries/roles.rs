//! Roles and settings of the session.

use super::objects::unused_name;
use super::{ProbedTenancy, Targets, Try};
use crate::probe::attempt::{AttemptStatement, Breach, ProbeAttempt};
use crate::probe::kind::ProbeKind;
use crate::sql::quote::{Identifier, Literal};

/// At most this many roles are tried.
const ROLES: usize = 100;

pub(super) fn tries(targets: &Targets) -> Vec<Try> {
    let mut tries = Vec::new();
    settings(targets, &mut tries);
    become_others(targets, &mut tries);
    attributes(targets, &mut tries);
    default_privileges(targets, &mut tries);
    tries
}

fn settings(targets: &Targets, tries: &mut Vec<Try>) {
    let mut begins = |name: &str, sql: &str| {
        tries.push(ProbeAttempt::new(ProbeKind::SessionSettings, name, sql).read_only().breach(Breach::True).into());
    };
    begins("row_security", "SELECT pg_catalog.current_setting('row_security') <> 'on'");
    begins("session_replication_role", "SELECT pg_catalog.current_setting('session_replication_role') <> 'origin'");
    // The path with which the session began, and the schemas in which the role may create objects.
    let path = "ARRAY(SELECT pg_catalog.btrim(part, ' \"') FROM pg_catalog.pg_settings, \
                pg_catalog.string_to_table(reset_val, ',') WITH ORDINALITY AS list (part, place) \
                WHERE name = 'search_path' ORDER BY place)";
    let mut hides = "SELECT pg_catalog.array_position(path, 'pg_temp') < pg_catalog.cardinality(path) \
                     OR pg_catalog.array_position(path, 'pg_catalog') > 1"
        .to_owned();
    if let ProbedTenancy::Rows { .. } = targets.tenancy {
        begins("tenantry.tenant", "SELECT COALESCE(pg_catalog.current_setting('tenantry.tenant', true), '') <> ''");
        begins("tenantry.context", "SELECT COALESCE(pg_catalog.current_setting('tenantry.context', true), '') <> ''");
        hides.push_str(
            " OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname::text = ANY (path) \
             AND pg_catalog.has_schema_privilege(oid, 'CREATE'))",
        );
    }
    begins("search_path", &format!("{hides} FROM (SELECT {path}) AS s (path)"));
    let replica = "SET LOCAL session_replication_role = replica";
    tries.push(ProbeAttempt::new(ProbeKind::SettingReplication, "session_replication_role", replica).into());
    for name in ["allow_system_table_mods", "ignore_system_indexes", "lo_compat_privileges", "zero_damaged_pages"] {
        // Some can be set at no time within a session.
        let attempt = ProbeAttempt::new(ProbeKind::SettingSuperuser, name, format!("SET LOCAL {name} = on"));
        tries.push(attempt.refused_by(&["55P02"]).into());
    }
}

fn become_others(targets: &Targets, tries: &mut Vec<Try>) {
    let others = &targets.others;
    let mut roles: Vec<&String> = others.roles.iter().chain(&others.owners).filter(|it| **it != targets.role).collect();
    roles.sort_unstable();
    roles.dedup();
    for role in roles.into_iter().take(ROLES) {
        let sql = format!("SET LOCAL ROLE {}", Identifier::of_object(role));
        tries.push(ProbeAttempt::new(ProbeKind::RoleSet, role, sql).into());
    }
    for role in others.superusers.iter().chain(others.owners.iter().find(|it| !others.superusers.contains(it))) {
        if *role != targets.role {
            let sql = format!("SET LOCAL SESSION AUTHORIZATION {}", Identifier::of_object(role));
            tries.push(ProbeAttempt::new(ProbeKind::RoleSet, role, sql).into());
        }
    }
    let reset = "SELECT current_user::text <> pg_catalog.current_setting('tenantry.probed_role')";
    let remember = "SELECT pg_catalog.set_config('tenantry.probed_role', current_user::text, true)";
    let attempt = ProbeAttempt::new(ProbeKind::RoleReset, &targets.role, reset).breach(Breach::True);
    tries.push(attempt.before(AttemptStatement::new(remember)).before(AttemptStatement::new("RESET ROLE")).into());
}

fn attributes(targets: &Targets, tries: &mut Vec<Try>) {
    for attribute in ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "REPLICATION"] {
        let object = format!("{} {attribute}", targets.role);
        let alter = format!("ALTER ROLE {} {attribute}", Identifier::of_object(&targets.role));
        tries.push(ProbeAttempt::new(ProbeKind::RoleAlter, object, alter).into());
    }
    for owner in
        targets.others.owners.iter().filter(|it| **it != targets.role && !targets.others.superusers.contains(it))
    {
        let grant = format!("GRANT {} TO {}", Identifier::of_object(owner), Identifier::of_object(&targets.role));
        tries.push(ProbeAttempt::new(ProbeKind::RoleAlter, owner, grant).into());
    }
    let create = format!("CREATE ROLE {}", unused_name());
    tries.push(ProbeAttempt::new(ProbeKind::RoleCreate, &targets.role, create).into());
    let replication = "SELECT rolreplication FROM pg_catalog.pg_roles WHERE rolname = session_user";
    let attempt = ProbeAttempt::new(ProbeKind::RoleReplication, &targets.role, replication);
    tries.push(attempt.read_only().breach(Breach::True).into());
}

fn default_privileges(targets: &Targets, tries: &mut Vec<Try>) {
    const GIVEN: &str = "pg_catalog.pg_default_acl AS d CROSS JOIN pg_catalog.aclexplode(d.defaclacl) AS a \
                         WHERE a.grantee <> d.defaclrole \
                         AND CASE a.grantee WHEN 0 THEN true ELSE pg_catalog.pg_has_role(a.grantee, 'USAGE') END";
    let sql = match &targets.tenancy {
        ProbedTenancy::Rows { layout, .. } => {
            let owner = Literal(layout.roles.owner.as_str());
            format!(
                "SELECT EXISTS (SELECT FROM {GIVEN} AND CASE d.defaclobjtype \
                 WHEN 'r' THEN a.grantee = 0 OR a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') \
                 WHEN 'S' THEN a.grantee = 0 OR a.privilege_type <> 'USAGE' \
                 WHEN 'f' THEN a.grantee = 0 AND (d.defaclnamespace <> 0 OR pg_catalog.pg_get_userbyid(d.defaclrole) = {owner}) \
                 WHEN 'n' THEN a.privilege_type = 'CREATE' ELSE false END) \
                 OR NOT EXISTS (SELECT FROM pg_catalog.pg_default_acl AS d \
                 WHERE pg_catalog.pg_get_userbyid(d.defaclrole) = {owner} AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f')"
            )
        }
        // PUBLIC may execute functions and use types by default.
        ProbedTenancy::Schemas { own, .. } => format!(
            "SELECT EXISTS (SELECT FROM {GIVEN} AND (a.grantee <> 0 OR d.defaclobjtype NOT IN ('f', 'T')) \
             AND d.defaclnamespace <> COALESCE((SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {}), 0))",
            Literal(own)
        ),
    };
    let attempt = ProbeAttempt::new(ProbeKind::DefaultPrivileges, "new objects", sql);
    tries.push(attempt.read_only().breach(Breach::True).into());
    for owner in targets.others.owners.iter().filter(|it| **it != targets.role).take(ROLES) {
        let sql = format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT ALL ON TABLES TO {}",
            Identifier::of_object(owner),
            Identifier::of_object(&targets.role)
        );
        tries.push(ProbeAttempt::new(ProbeKind::DefaultPrivileges, owner, sql).into());
    }
}
