//! The arguments that functions are called with.

use super::{ProbedTenancy, Targets};
use crate::sql::quote::Literal;

/// The values of other tenants that are tried, of each sort.
const OTHERS: usize = 3;

/// What an argument is made from.
#[derive(Debug, Clone, Copy)]
enum Sample<'a> {
    Null,
    /// The id or the schema of a tenant.
    Tenant(&'a str),
    /// A value of another tenant's row.
    Value(&'a str),
    /// `0`, an empty text and so on.
    Zero,
    /// `1`, a pattern that matches each text, and so on.
    One,
}

/// Lists of arguments for parameters of these types: NULL, the ids of the own and of other tenants, values of other tenants'
/// rows, and simple values.
pub(super) fn samples(targets: &Targets, parameters: &[String]) -> Vec<Vec<String>> {
    let mut tenants: Vec<String> = Vec::new();
    match &targets.tenancy {
        ProbedTenancy::Rows { own, .. } => {
            tenants.extend(own.map(|own| own.to_string()));
            let others =
                targets.markers.iter().filter_map(|marker| marker.tenant).filter(|tenant| Some(*tenant) != *own);
            for other in others.map(|other| other.to_string()) {
                if !tenants.contains(&other) && tenants.len() <= OTHERS {
                    tenants.push(other);
                }
            }
        }
        ProbedTenancy::Schemas { own, others } => {
            tenants.push(own.clone());
            tenants.extend(others.iter().take(OTHERS).cloned());
        }
    }
    let mut samples = vec![Sample::Null];
    samples.extend(tenants.iter().map(|tenant| Sample::Tenant(tenant)));
    samples.extend(targets.markers.iter().take(OTHERS).map(|marker| Sample::Value(&marker.text)));
    samples.extend([Sample::Zero, Sample::One]);
    let mut lists: Vec<Vec<String>> = Vec::new();
    for sample in samples {
        let list: Vec<String> = parameters.iter().map(|name| argument(name, sample)).collect();
        if !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}

/// An argument of a type. A value that the type cannot have is a simple one.
fn argument(type_name: &str, sample: Sample<'_>) -> String {
    let is_text = ["text", "character varying", "character", "name"].contains(&type_name);
    let is_number = ["smallint", "integer", "bigint", "numeric", "real", "double precision"].contains(&type_name);
    let value = match (type_name, sample) {
        (_, Sample::Null) => None,
        (_, Sample::Tenant(value) | Sample::Value(value)) if is_text => Some(value),
        ("uuid", Sample::Tenant(value) | Sample::Value(value)) if value.parse::<uuid::Uuid>().is_ok() => Some(value),
        ("integer", Sample::Tenant(value) | Sample::Value(value)) if value.parse::<i32>().is_ok() => Some(value),
        ("bigint" | "numeric", Sample::Tenant(value) | Sample::Value(value)) if value.parse::<i64>().is_ok() => {
            Some(value)
        }
        (_, Sample::One) if is_text => Some("%"),
        (_, _) if is_text => Some(""),
        (_, Sample::One) if is_number => Some("1"),
        (_, _) if is_number => Some("0"),
        ("boolean", Sample::One) => Some("true"),
        ("boolean", _) => Some("false"),
        ("uuid", _) => Some("00000000-0000-0000-0000-000000000000"),
        ("json" | "jsonb", _) => Some("{}"),
        ("date" | "timestamp without time zone" | "timestamp with time zone", Sample::One) => Some("infinity"),
        ("date" | "timestamp without time zone" | "timestamp with time zone", _) => Some("-infinity"),
        (name, _) if name.ends_with("[]") => Some("{}"),
        _ => None,
    };
    match value {
        Some(value) => format!("{}::{type_name}", Literal(value)),
        None => format!("NULL::{type_name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_type_of_the_parameter() {
        let tenant = "a0000000-0000-4000-8000-000000000001";
        for (name, sample, expected) in [
            ("text", Sample::Null, "NULL::text"),
            ("text", Sample::Tenant("it's"), "'it''s'::text"),
            ("uuid", Sample::Tenant(tenant), "'a0000000-0000-4000-8000-000000000001'::uuid"),
            ("uuid", Sample::Value("x"), "'00000000-0000-0000-0000-000000000000'::uuid"),
            ("integer", Sample::Tenant("7"), "'7'::integer"),
            ("integer", Sample::Tenant("9000000000"), "'0'::integer"),
            ("bigint", Sample::Value(tenant), "'0'::bigint"),
            ("numeric", Sample::One, "'1'::numeric"),
            ("boolean", Sample::One, "'true'::boolean"),
            ("uuid[]", Sample::Zero, "'{}'::uuid[]"),
            ("app.kind", Sample::Zero, "NULL::app.kind"),
        ] {
            assert_eq!(argument(name, sample), expected);
        }
    }
}
