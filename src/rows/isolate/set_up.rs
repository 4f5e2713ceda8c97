//! The steps that create the roles, the schemas and the function that verifies contexts.

use super::step::{IsolationPhase, IsolationStep};
use crate::model::{IdType, ObjectName};
use crate::rows::catalog::Environment;
use crate::rows::layout::{ContextKind, Layout, VERIFIER_SCHEMA};
use crate::rows::verifier;
use crate::sql::quote::Identifier;

/// The steps that are missing. `id` is the type of the registry's ids; without it, the functions of the policies are omitted.
pub(crate) fn steps(layout: &Layout, found: &Environment, id: Option<IdType>) -> Vec<IsolationStep> {
    let mut steps = SetUpSteps::default();
    roles(layout, found, &mut steps);
    schemas(layout, found, &mut steps);
    if layout.context == ContextKind::Signed {
        context(layout, found, id, &mut steps);
    }
    steps.0
}

/// The steps of the phase [`IsolationPhase::SetUp`].
#[derive(Default)]
struct SetUpSteps(Vec<IsolationStep>);

impl SetUpSteps {
    fn add(&mut self, sql: String) {
        self.0.push(IsolationStep { phase: IsolationPhase::SetUp, table: None, sql });
    }
}

fn roles(layout: &Layout, found: &Environment, steps: &mut SetUpSteps) {
    const LIMITED: &str = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
    let role = |name: &ObjectName, login: &str| format!("CREATE ROLE {} {login} {LIMITED}", Identifier::from(name));
    let roles = &layout.roles;
    if !found.has_owner {
        steps.add(role(&roles.owner, "NOLOGIN"));
    }
    if !found.has_verifier {
        steps.add(role(&roles.verifier, "NOLOGIN"));
    }
    if !found.has_admin {
        steps.add(role(&roles.admin, "LOGIN NOINHERIT"));
    }
    if !found.has_app {
        steps.add(role(&roles.app, "LOGIN"));
    }
    if !found.admin_is_member {
        steps.add(format!("GRANT {} TO {}", Identifier::from(&roles.owner), Identifier::from(&roles.admin)));
    }
}

fn schemas(layout: &Layout, found: &Environment, steps: &mut SetUpSteps) {
    let (schema, roles) = (Identifier::from(&layout.schema), &layout.roles);
    let (owner, app) = (Identifier::from(&roles.owner), Identifier::from(&roles.app));
    if !found.has_schema {
        steps.add(format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}"));
    } else if !found.owns_schema {
        steps.add(format!("ALTER SCHEMA {schema} OWNER TO {owner}"));
    }
    if found.public_uses_schema {
        steps.add(format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC"));
    }
    if !found.app_uses_schema {
        steps.add(format!("GRANT USAGE ON SCHEMA {schema} TO {app}"));
    }
    // Temporary objects could outlive the transaction of a tenant on a pooled connection.
    if found.public_creates_in_database {
        steps.add(format!(
            "REVOKE CREATE, TEMPORARY ON DATABASE {} FROM PUBLIC",
            Identifier::of_object(&found.database)
        ));
    }
    if found.public_creates_in_public {
        steps.add("REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned());
    }
    if found.public_executes_new_functions {
        steps.add(format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"));
    }
}

fn context(layout: &Layout, found: &Environment, id: Option<IdType>, steps: &mut SetUpSteps) {
    let roles = &layout.roles;
    let (owner, verifier, app) =
        (Identifier::from(&roles.owner), Identifier::from(&roles.verifier), Identifier::from(&roles.app));
    let as_verifier = |sql: String| format!("SET LOCAL ROLE {verifier};\n{sql};\nRESET ROLE");
    if !found.has_verifier_schema {
        steps.add(format!("CREATE SCHEMA {VERIFIER_SCHEMA} AUTHORIZATION {verifier}"));
    }
    if !found.roles_use_verifier {
        steps.add(as_verifier(format!("GRANT USAGE ON SCHEMA {VERIFIER_SCHEMA} TO {owner}, {app}")));
    }
    if !found.has_key_table {
        steps.add(as_verifier(verifier::create_key_table(VERIFIER_SCHEMA)));
    }
    // pg_dump omits what an extension contains. Only a superuser may change this extension.
    if !found.keys_are_undumped && found.is_superuser {
        steps.add(format!("ALTER EXTENSION plpgsql ADD TABLE {VERIFIER_SCHEMA}.{}", verifier::KEY_TABLE));
    }
    if let Some(id) = id
        && !found.has_context_functions
    {
        steps.add(as_verifier(verifier::create_context_functions(VERIFIER_SCHEMA, layout, id)));
    }
}
