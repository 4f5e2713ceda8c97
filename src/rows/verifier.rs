//! The schema that verifies contexts: the keys that verify signed contexts, and the function that returns the tenant of a transaction.

use super::canonical::{
    ADMINISTRATOR_FUNCTION, CONTEXT_FUNCTION, CONTEXT_POLICY, RESTRICTION_FUNCTION, TENANT_POLICY, all_printed_contexts,
};
use super::layout::{CONTEXT_SETTING, Layout};
use crate::model::IdType;
use crate::postgres::path;
use crate::sql::quote::{Identifier, Literal};

/// The table with the keys, without its schema.
pub(crate) const KEY_TABLE: &str = "context_key";

/// SQL that creates the table with the keys in a schema.
pub(crate) fn create_key_table(schema: &str) -> String {
    format!(
        "CREATE TABLE {schema}.{KEY_TABLE} (\n    \
         id text PRIMARY KEY,\n    \
         inner_pad bytea NOT NULL CHECK (octet_length(inner_pad) = 64),\n    \
         outer_pad bytea NOT NULL CHECK (octet_length(outer_pad) = 64),\n    \
         installed_at timestamptz NOT NULL DEFAULT now()\n)"
    )
}

/// The body of the function. The signature covers the session's role and process and the start of the transaction, so that
/// a context is valid in one transaction. Hashes of the signatures are compared: their bytes reveal nothing by the time that
/// the comparison takes.
pub(crate) fn context_body(schema: &str, id: IdType) -> String {
    format!(
        "
DECLARE
    context text := current_setting('{CONTEXT_SETTING}', true);
    tenant text := split_part(context, '.', 2);
    expected bytea;
BEGIN
    IF context IS NULL OR context = '' THEN
        RAISE insufficient_privilege USING MESSAGE = 'this transaction has no tenant context';
    END IF;
    SELECT sha256(k.outer_pad || sha256(k.inner_pad || convert_to(
        format('tenantry/1 %s %s %s %s', session_user, pg_backend_pid(),
            (extract(epoch FROM transaction_timestamp()) * 1000000)::int8, tenant), 'UTF8')))
        INTO expected
        FROM {schema}.{KEY_TABLE} AS k
        WHERE k.id = split_part(context, '.', 1);
    IF sha256(expected) = sha256(decode(split_part(context, '.', 3), 'hex')) THEN
        RETURN tenant::{id};
    END IF;
    RAISE insufficient_privilege USING MESSAGE = 'the tenant context is not valid in this transaction';
END
",
        id = id.as_sql()
    )
}

/// The body of [`ADMINISTRATOR_FUNCTION`].
pub(crate) fn administrator_body(layout: &Layout) -> String {
    let owner = Literal(layout.roles.owner.as_str());
    format!("\nBEGIN\n    RETURN pg_has_role(session_user, {owner}, 'MEMBER');\nEND\n")
}

/// The body of [`RESTRICTION_FUNCTION`]. The policy that verifies contexts counts only if it applies to the application and is
/// unchanged.
pub(crate) fn restriction_body(schema: &str, layout: &Layout) -> String {
    let expressions: Vec<String> =
        all_printed_contexts(schema, layout).iter().map(|printed| Literal(printed).to_string()).collect();
    format!(
        "
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_policy AS p
        WHERE p.polrelid = $1 AND p.polname = '{CONTEXT_POLICY}' AND NOT p.polpermissive AND p.polcmd = '*'
            AND (0 = ANY (p.polroles) OR p.polroles @> (
                SELECT t.polroles FROM pg_policy AS t WHERE t.polrelid = $1 AND t.polname = '{TENANT_POLICY}'
            ))
            AND pg_get_expr(p.polqual, p.polrelid) IN ({expressions})
    );
END
",
        expressions = expressions.join(", ")
    )
}

/// SQL that creates or replaces the functions of the policies, with their privileges. Without a search path of its own, a
/// caller of a function could replace the operators that it uses.
///
/// The result of [`ADMINISTRATOR_FUNCTION`] depends on the session, and that of [`RESTRICTION_FUNCTION`] on the catalogs.
/// They are nevertheless `IMMUTABLE`, so that the planner replaces the calls by their results: what remains of the policies
/// in the plan of the application is one comparison, which is a condition of an index. The server plans a query again if the
/// role or a policy changes.
pub(crate) fn create_context_functions(schema: &str, layout: &Layout, id: IdType) -> String {
    let context = format!("{schema}.{CONTEXT_FUNCTION}()");
    let administrator = format!("{schema}.{ADMINISTRATOR_FUNCTION}()");
    let restriction = format!("{schema}.{RESTRICTION_FUNCTION}(pg_catalog.regclass)");
    let context_properties = "STABLE PARALLEL RESTRICTED SECURITY DEFINER";
    let functions = [
        (&context, id.as_sql(), context_properties, context_body(schema, id)),
        (&administrator, "boolean", "IMMUTABLE PARALLEL SAFE", administrator_body(layout)),
        (&restriction, "boolean", "IMMUTABLE PARALLEL SAFE", restriction_body(schema, layout)),
    ];
    let app = Identifier::from(&layout.roles.app);
    let owner = Identifier::from(&layout.roles.owner);
    let path = path::CATALOG_OF_FUNCTION;
    let create = |(function, returns, properties, body): (&String, &str, &str, String)| {
        format!(
            "CREATE OR REPLACE FUNCTION {function} RETURNS {returns} LANGUAGE plpgsql {properties} {path} \
             AS $tenantry${body}$tenantry$;\n\
             REVOKE ALL ON FUNCTION {function} FROM PUBLIC;\n\
             GRANT EXECUTE ON FUNCTION {function} TO {app}, {owner}"
        )
    };
    functions.map(create).join(";\n")
}
