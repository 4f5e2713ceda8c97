//! Whether a default may differ between rows.

use squawk_syntax::ast::{self, AstNode, Expr};

use crate::lint::code::name;

/// Functions of PostgreSQL that are likely in a default and are `STABLE` or `IMMUTABLE` in all their forms, and syntax
/// that resembles functions.
const NOT_VOLATILE: [&str; 77] = [
    "abs",
    "age",
    "array_append",
    "array_cat",
    "array_fill",
    "array_length",
    "array_to_string",
    "ascii",
    "box",
    "btrim",
    "ceil",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "current_schema",
    "current_setting",
    "date_part",
    "date_trunc",
    "daterange",
    "decode",
    "encode",
    "floor",
    "format",
    "greatest",
    "hashtext",
    "inet_client_addr",
    "initcap",
    "int4range",
    "int8range",
    "json_build_array",
    "json_build_object",
    "json_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object",
    "jsonb_set",
    "justify_interval",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "md5",
    "mod",
    "now",
    "nullif",
    "numrange",
    "point",
    "quote_ident",
    "repeat",
    "replace",
    "right",
    "round",
    "rpad",
    "rtrim",
    "statement_timestamp",
    "string_to_array",
    "substr",
    "substring",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_timestamp",
    "transaction_timestamp",
    "trim",
    "tsrange",
    "tstzrange",
    "upper",
];

/// Functions that return another value at each call.
const VOLATILE: [&str; 9] = [
    "clock_timestamp",
    "gen_random_uuid",
    "nextval",
    "random",
    "timeofday",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
];

/// The first function in a default that is volatile or unknown: a function is volatile by default.
pub(super) fn volatile_function(default: &Expr) -> Option<String> {
    let calls = default.syntax().descendants().filter_map(ast::CallExpr::cast);
    // Functions with their own syntax, such as EXTRACT, have no name there.
    let names = calls.filter_map(|call| call.expr()).map(|called| last_name(&called));
    names.into_iter().find(|name| !NOT_VOLATILE.contains(&name.as_str()))
}

/// Whether a function is one of the server's functions listed here.
pub(in crate::lint) fn is_known(function: &str) -> bool {
    NOT_VOLATILE.contains(&function) || VOLATILE.contains(&function)
}

pub(super) fn is_surely_volatile(function: &str) -> bool {
    VOLATILE.contains(&function)
}

fn last_name(called: &Expr) -> String {
    match called {
        Expr::FieldExpr(it) => it.field().map(|field| name(field.syntax())).unwrap_or_default(),
        other => name(other.syntax()),
    }
}
