//! The expressions of isolation: the default of the tenant column and the policies, as SQL and as the server prints them.

use super::catalog::Policy;
use super::layout::{ContextKind, Layout, TENANT_SETTING, VERIFIER_SCHEMA};
use crate::model::IdType;
use crate::sql::quote::{Identifier, Literal};

/// A policy that isolation creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanonicalPolicy {
    pub(crate) name: &'static str,
    is_permissive: bool,
    role: String,
    /// The expression of USING and of WITH CHECK.
    expression: String,
    /// The expression as the server prints it, without the aliases that it gives to columns of subqueries.
    printed: String,
}

/// Restricts the application to the tenant of its transaction. Its subquery is evaluated once a query, so that the planner
/// can use an index.
const TENANT_POLICY: &str = "tenantry_tenant";

/// Restricts every role to the tenant whose signed context the transaction has. It restricts what other policies allow.
const CONTEXT_POLICY: &str = "tenantry_context";

/// Lets sessions of roles that may become the owner, such as migrations, access all rows.
pub(crate) const ADMIN_POLICY: &str = "tenantry_admin";

/// The names of all policies that isolation creates.
pub(crate) const OWN_POLICIES: [&str; 3] = [TENANT_POLICY, CONTEXT_POLICY, ADMIN_POLICY];

/// The id of the tenant in the setting; NULL if it is not set.
fn setting(id: IdType) -> String {
    format!("nullif(current_setting('{TENANT_SETTING}', true), '')::{}", id.as_sql())
}

/// [`setting`] as the server prints it.
fn printed_setting(id: IdType) -> String {
    format!("(NULLIF(current_setting('{TENANT_SETTING}'::text, true), ''::text))::{}", id.as_sql())
}

/// The default of the tenant column.
pub(crate) fn column_default(id: IdType) -> String {
    setting(id)
}

/// Whether a default, as the server prints it, is [`column_default`].
pub(crate) fn is_column_default(printed: &str, id: IdType) -> bool {
    printed == printed_setting(id)
}

/// The policies of a table. `column` identifies the tenant: the tenant column, or `id` for the registry.
pub(crate) fn policies(layout: &Layout, column: &str, id: IdType) -> Vec<CanonicalPolicy> {
    policies_verified_in(VERIFIER_SCHEMA, layout, column, id)
}

/// The same, with the schema that verifies contexts.
pub(crate) fn policies_verified_in(schema: &str, layout: &Layout, column: &str, id: IdType) -> Vec<CanonicalPolicy> {
    let owner = Literal(layout.roles.owner.as_str());
    let quoted = Identifier::of_object(column);
    let printed_column = printed_identifier(column);
    let may_be_owner = format!("(SELECT pg_catalog.pg_has_role(session_user, {owner}, 'MEMBER'))");
    let printed_may_be_owner = format!("( SELECT pg_has_role(SESSION_USER, {owner}::name, 'MEMBER'::text))");
    let mut policies = vec![
        CanonicalPolicy {
            name: TENANT_POLICY,
            is_permissive: true,
            role: layout.roles.app.as_str().to_owned(),
            expression: format!("{quoted} = (SELECT {})", setting(id)),
            printed: format!("({printed_column} = ( SELECT {}))", printed_setting(id)),
        },
        CanonicalPolicy {
            name: ADMIN_POLICY,
            is_permissive: true,
            role: layout.roles.owner.as_str().to_owned(),
            expression: may_be_owner.clone(),
            printed: printed_may_be_owner.clone(),
        },
    ];
    if layout.context == ContextKind::Signed {
        policies.push(CanonicalPolicy {
            name: CONTEXT_POLICY,
            is_permissive: false,
            role: "public".to_owned(),
            expression: format!("{may_be_owner} OR {quoted} = (SELECT {schema}.current_tenant())"),
            printed: format!("({printed_may_be_owner} OR ({printed_column} = ( SELECT {schema}.current_tenant())))"),
        });
    }
    policies
}

impl CanonicalPolicy {
    /// SQL that creates it. `table` is qualified and quoted.
    pub(crate) fn create(&self, table: &str) -> String {
        let role =
            if self.role == "public" { "PUBLIC".to_owned() } else { Identifier::of_object(&self.role).to_string() };
        self.create_for(table, &role)
    }

    /// The same for other roles, which are quoted.
    pub(crate) fn create_for(&self, table: &str, role: &str) -> String {
        let Self { name, expression, .. } = self;
        let kind = if self.is_permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        format!("CREATE POLICY {name} ON {table} AS {kind} TO {role} USING ({expression}) WITH CHECK ({expression})")
    }

    /// Whether a policy of the database is this one.
    pub(crate) fn is(&self, policy: &Policy) -> bool {
        let is_expression = |expression: &Option<String>| {
            expression.as_deref().is_some_and(|expression| without_aliases(expression) == self.printed)
        };
        policy.name == self.name
            && policy.is_permissive == self.is_permissive
            && policy.command == "*"
            && policy.roles == [self.role.as_str()]
            && is_expression(&policy.using_expression)
            && is_expression(&policy.check_expression)
    }
}

/// Removes the aliases of the columns of subqueries, which depend on the version of the server.
fn without_aliases(expression: &str) -> String {
    [" AS \"nullif\"", " AS nullif", " AS pg_has_role", " AS current_tenant"]
        .iter()
        .fold(expression.to_owned(), |text, alias| text.replace(&format!("{alias})"), ")"))
}

/// An identifier as the server prints it: in quotes only if necessary.
pub(crate) fn printed_identifier(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_owned() } else { Identifier::of_object(name).to_string() }
}
