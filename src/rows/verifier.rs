//! The schema that verifies contexts: the keys that verify signed contexts, and the function that returns the tenant of a transaction.

use super::layout::{CONTEXT_SETTING, Layout};
use crate::model::IdType;
use crate::postgres::path;
use crate::sql::quote::Identifier;

/// The table with the keys, without its schema.
pub(crate) const KEY_TABLE: &str = "context_key";

/// The function that returns the tenant of the signed context, without its schema.
pub(crate) const CONTEXT_FUNCTION: &str = "current_tenant";

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

/// SQL that creates or replaces the function, with its privileges. Without a search path of its own, a caller of the
/// function could replace the operators that it uses.
pub(crate) fn create_context_function(schema: &str, layout: &Layout, id: IdType) -> String {
    let function = format!("{schema}.{CONTEXT_FUNCTION}()");
    let body = context_body(schema, id);
    format!(
        "CREATE OR REPLACE FUNCTION {function} RETURNS {id} LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER \
         {path} AS $tenantry${body}$tenantry$;\n\
         REVOKE ALL ON FUNCTION {function} FROM PUBLIC;\n\
         GRANT EXECUTE ON FUNCTION {function} TO {app}, {owner}",
        id = id.as_sql(),
        path = path::CATALOG_OF_FUNCTION,
        app = Identifier::from(&layout.roles.app),
        owner = Identifier::from(&layout.roles.owner),
    )
}
