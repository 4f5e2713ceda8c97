//! The steps that create the roles, the schemas and the function that verifies contexts.

use super::step::{Phase, Step};
use crate::model::{IdType, ObjectName};
use crate::rows::catalog::Environment;
use crate::rows::layout::{ContextKind, Layout, VERIFIER_SCHEMA};
use crate::rows::verifier;
use crate::sql::quote::Identifier;

/// The steps that are missing. `id` is the type of the registry's ids; without it, the context function is omitted.
pub(crate) fn steps(layout: &Layout, found: &Environment, id: Option<IdType>) -> Vec<Step> {
    let mut steps = Steps::default();
    roles(layout, found, &mut steps);
    schemas(layout, found, &mut steps);
    if layout.context == ContextKind::Signed {
        context(layout, found, id, &mut steps);
    }
    steps.0
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn unless(&mut self, is_done: bool, sql: impl FnOnce() -> String) {
        if !is_done {
            self.0.push(Step { phase: Phase::SetUp, table: None, sql: sql() });
        }
    }
}

fn roles(layout: &Layout, found: &Environment, steps: &mut Steps) {
    const LIMITED: &str = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
    let role = |name: &ObjectName, login: &str| format!("CREATE ROLE {} {login} {LIMITED}", Identifier::from(name));
    let roles = &layout.roles;
    steps.unless(found.has_owner, || role(&roles.owner, "NOLOGIN"));
    steps.unless(found.has_verifier, || role(&roles.verifier, "NOLOGIN"));
    steps.unless(found.has_admin, || role(&roles.admin, "LOGIN NOINHERIT"));
    steps.unless(found.has_app, || role(&roles.app, "LOGIN"));
    steps.unless(found.admin_is_member, || {
        format!("GRANT {} TO {}", Identifier::from(&roles.owner), Identifier::from(&roles.admin))
    });
}

fn schemas(layout: &Layout, found: &Environment, steps: &mut Steps) {
    let (schema, roles) = (Identifier::from(&layout.schema), &layout.roles);
    let (owner, app) = (Identifier::from(&roles.owner), Identifier::from(&roles.app));
    if !found.has_schema {
        steps.unless(false, || format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}"));
    } else {
        steps.unless(found.owns_schema, || format!("ALTER SCHEMA {schema} OWNER TO {owner}"));
    }
    steps.unless(!found.public_uses_schema, || format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC"));
    steps.unless(found.app_uses_schema, || format!("GRANT USAGE ON SCHEMA {schema} TO {app}"));
    // Temporary objects could outlive the transaction of a tenant on a pooled connection.
    steps.unless(!found.public_creates_in_database, || {
        format!("REVOKE CREATE, TEMPORARY ON DATABASE {} FROM PUBLIC", Identifier::of_object(&found.database))
    });
    steps.unless(!found.public_executes_new_functions, || {
        format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    });
}

fn context(layout: &Layout, found: &Environment, id: Option<IdType>, steps: &mut Steps) {
    let roles = &layout.roles;
    let (owner, verifier, app) =
        (Identifier::from(&roles.owner), Identifier::from(&roles.verifier), Identifier::from(&roles.app));
    let as_verifier = |sql: String| format!("SET LOCAL ROLE {verifier};\n{sql};\nRESET ROLE");
    steps.unless(found.has_verifier_schema, || format!("CREATE SCHEMA {VERIFIER_SCHEMA} AUTHORIZATION {verifier}"));
    steps.unless(found.roles_use_verifier, || {
        as_verifier(format!("GRANT USAGE ON SCHEMA {VERIFIER_SCHEMA} TO {owner}, {app}"))
    });
    steps.unless(found.has_key_table, || as_verifier(verifier::create_key_table()));
    // pg_dump omits what an extension contains. Only a superuser may change this extension.
    steps.unless(found.keys_are_undumped || !found.is_superuser, || {
        format!("ALTER EXTENSION plpgsql ADD TABLE {VERIFIER_SCHEMA}.{}", verifier::KEY_TABLE)
    });
    if let Some(id) = id {
        steps.unless(found.has_context_function, || as_verifier(verifier::create_context_function(layout, id)));
    }
}
