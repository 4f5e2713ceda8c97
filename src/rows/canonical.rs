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
    /// The expression of USING.
    using: PolicyExpression,
    /// The expression of WITH CHECK.
    check: PolicyExpression,
}

/// An expression of a policy. [`TABLE`] stands for the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PolicyExpression {
    sql: String,
    /// As the server prints it, without the aliases that it gives to columns of subqueries.
    printed: String,
}

/// The table of a policy in its expressions. No name contains this character.
const TABLE: &str = "\0";

/// Gives the application access to rows. If contexts are settings, to those of the tenant of its transaction. If they are
/// signed, to the rows that [`CONTEXT_POLICY`] leaves, and to none if the table does not have that policy: a comparison of
/// its own with the tenant would cost time for each row.
pub(super) const TENANT_POLICY: &str = "tenantry_tenant";

/// Restricts every role to the tenant whose signed context the transaction has. It restricts what other policies allow. Its
/// subquery is evaluated once a query, so that the planner can use an index.
pub(super) const CONTEXT_POLICY: &str = "tenantry_context";

/// The function that returns the tenant of the signed context, without its schema.
pub(crate) const CONTEXT_FUNCTION: &str = "current_tenant";

/// The function that returns whether the session's role may become the owner, without its schema.
pub(super) const ADMINISTRATOR_FUNCTION: &str = "is_administrator";

/// The function that returns whether a table has [`CONTEXT_POLICY`], without its schema.
pub(super) const RESTRICTION_FUNCTION: &str = "requires_context";

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
    let of_tenant = PolicyExpression {
        sql: format!("{} = (SELECT {})", Identifier::of_object(column), setting(id)),
        printed: format!("({} = ( SELECT {}))", printed_identifier(column), printed_setting(id)),
    };
    let (visible, new) = match layout.context {
        ContextKind::Setting => (of_tenant.clone(), of_tenant),
        ContextKind::Signed => {
            let restricted = format!("{schema}.{RESTRICTION_FUNCTION}({TABLE})");
            let new = PolicyExpression {
                sql: format!("{restricted} AND {}", of_tenant.sql),
                printed: format!("({restricted} AND {})", of_tenant.printed),
            };
            // For the application, the planner evaluates this to true. A session of an administrator that acts as the
            // application, as `seed` does, has no signed context: the setting is its tenant.
            let administrator = format!("{schema}.{ADMINISTRATOR_FUNCTION}()");
            let visible = PolicyExpression {
                sql: format!("{restricted} AND (NOT {administrator} OR {})", of_tenant.sql),
                printed: format!("({restricted} AND ((NOT {administrator}) OR {}))", of_tenant.printed),
            };
            (visible, new)
        }
    };
    let admin = PolicyExpression {
        sql: format!("(SELECT pg_catalog.pg_has_role(session_user, {owner}, 'MEMBER'))"),
        printed: format!("( SELECT pg_has_role(SESSION_USER, {owner}::name, 'MEMBER'::text))"),
    };
    let policy = |name, is_permissive, role: &str, using, check| CanonicalPolicy {
        name,
        is_permissive,
        role: role.to_owned(),
        using,
        check,
    };
    let mut policies = vec![
        policy(TENANT_POLICY, true, layout.roles.app.as_str(), visible, new),
        policy(ADMIN_POLICY, true, layout.roles.owner.as_str(), admin.clone(), admin),
    ];
    if layout.context == ContextKind::Signed {
        let context = PolicyExpression {
            sql: format!(
                "{schema}.{ADMINISTRATOR_FUNCTION}() OR {} = (SELECT {schema}.{CONTEXT_FUNCTION}())",
                Identifier::of_object(column)
            ),
            printed: printed_context(schema, column),
        };
        policies.push(policy(CONTEXT_POLICY, false, "public", context.clone(), context));
    }
    policies
}

/// The expression of [`CONTEXT_POLICY`] as the server prints it, without aliases.
fn printed_context(schema: &str, column: &str) -> String {
    format!(
        "({schema}.{ADMINISTRATOR_FUNCTION}() OR ({} = ( SELECT {schema}.{CONTEXT_FUNCTION}())))",
        printed_identifier(column)
    )
}

/// The expressions of [`CONTEXT_POLICY`] as servers of all versions print them, for all tables of a layout.
pub(super) fn all_printed_contexts(schema: &str, layout: &Layout) -> Vec<String> {
    [layout.column.as_str(), "id"]
        .iter()
        .map(|column| printed_context(schema, column))
        .flat_map(|printed| {
            let call = format!("{CONTEXT_FUNCTION}()");
            [printed.replace(&call, &format!("{call} AS {CONTEXT_FUNCTION}")), printed]
        })
        .collect()
}

impl PolicyExpression {
    /// Its SQL in the policy of a table, which is qualified and quoted.
    fn of_table(&self, table: &str) -> String {
        self.sql.replace(TABLE, &format!("{}::pg_catalog.regclass", Literal(table)))
    }

    /// Whether an expression of a policy is this one.
    fn is(&self, policy: &Policy, found: Option<&str>) -> bool {
        let table = format!("'{}'::regclass", policy.printed_table.replace('\'', "''"));
        found.is_some_and(|found| without_aliases(found) == self.printed.replace(TABLE, &table))
    }
}

impl CanonicalPolicy {
    /// The same policy with another name.
    pub(crate) fn renamed(&self, name: &'static str) -> Self {
        Self { name, ..self.clone() }
    }

    /// SQL that creates it. `table` is qualified and quoted.
    pub(crate) fn create(&self, table: &str) -> String {
        let role =
            if self.role == "public" { "PUBLIC".to_owned() } else { Identifier::of_object(&self.role).to_string() };
        self.create_for(table, &role)
    }

    /// The same for other roles, which are quoted.
    pub(crate) fn create_for(&self, table: &str, role: &str) -> String {
        let name = self.name;
        let kind = if self.is_permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        let (using, check) = (self.using.of_table(table), self.check.of_table(table));
        format!("CREATE POLICY {name} ON {table} AS {kind} TO {role} USING ({using}) WITH CHECK ({check})")
    }

    /// Whether a policy of the database is this one.
    pub(crate) fn is(&self, policy: &Policy) -> bool {
        policy.name == self.name
            && policy.is_permissive == self.is_permissive
            && policy.command == "*"
            && policy.roles == [self.role.as_str()]
            && self.using.is(policy, policy.using_expression.as_deref())
            && self.check.is(policy, policy.check_expression.as_deref())
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
