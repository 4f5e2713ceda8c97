//! The changes of a column's type that lose no data.

use crate::schema::structure::{Identity, ObjectKind, Structure};

/// How values convert to another type without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Alone,
    Cast,
}

const TEXTS: [&str; 3] = ["text", "character varying", "character"];

/// The types whose text form does not depend on settings.
const WRITTEN: [&str; 13] = [
    "smallint", "integer", "bigint", "numeric", "boolean", "uuid", "json", "jsonb", "inet", "cidr", "macaddr", "name",
    "xml",
];

/// How all values of the type `from` convert to `to` without loss; `None` if some may not.
pub(super) fn change(structure: &Structure, from: &str, to: &str) -> Option<Change> {
    if let (Some(from), Some(to)) = (from.strip_suffix("[]"), to.strip_suffix("[]")) {
        return change(structure, from, to).filter(|change| *change == Change::Alone);
    }
    if from == to {
        return Some(Change::Alone);
    }
    let own = |kind, name: &str| {
        let name = name.strip_prefix(&format!("{}.", structure.own_name))?;
        let name = super::text::parts(name).pop()?;
        structure.objects.get(&Identity { kind, on: None, name })
    };
    // A domain and its base type have the same values. The server checks the constraints.
    let base = |name: &str| own(ObjectKind::Domain, name).and_then(|domain| domain.text("type")).map(str::to_owned);
    if base(from).is_some_and(|base| base == to) || base(to).is_some_and(|base| base == from) {
        return Some(Change::Cast);
    }
    let ((from, few), (to, many)) = (split_modifiers(from), split_modifiers(to));
    if own(ObjectKind::Enum, &to).is_some() {
        // The cast fails for values that are not labels.
        return TEXTS[..2].contains(&from.as_str()).then_some(Change::Cast);
    }
    let unlimited_text = to == "text" || to == "character varying" && many.is_empty();
    if unlimited_text && (WRITTEN.contains(&from.as_str()) || own(ObjectKind::Enum, &from).is_some()) {
        return Some(Change::Cast);
    }
    let wider = |few: &[i64], many: &[i64]| match (few.first(), many.first()) {
        (_, None) => true,
        (Some(few), Some(many)) => many >= few,
        (None, Some(_)) => false,
    };
    let alone = match (from.as_str(), to.as_str()) {
        (from, "text") if TEXTS.contains(&from) => true,
        ("character varying" | "character", "character varying") => wider(&few, &many),
        ("text", "character varying") => many.is_empty(),
        ("bit", "bit varying") => wider(&few, &many),
        ("smallint", "integer" | "bigint" | "real" | "double precision")
        | ("integer", "bigint" | "double precision") => true,
        ("smallint" | "integer" | "bigint", "numeric") => match many[..] {
            [] => true,
            [precision] => precision >= digits(&from),
            [precision, scale, ..] => precision - scale >= digits(&from),
        },
        ("real", "double precision") | ("date", "timestamp without time zone") | ("cidr", "inet") => true,
        ("jsonb", "json") => return Some(Change::Cast),
        ("numeric", "numeric") => match (&few[..], &many[..]) {
            (_, []) => true,
            (few, many) if !few.is_empty() => {
                let scale = |of: &[i64]| of.get(1).copied().unwrap_or(0);
                scale(many) >= scale(few) && many[0] - scale(many) >= few[0] - scale(few)
            }
            _ => false,
        },
        (from, to) if from == to => wider(&few, &many) && (from != "bit"),
        _ => false,
    };
    alone.then_some(Change::Alone)
}

fn digits(integer: &str) -> i64 {
    match integer {
        "smallint" => 5,
        "integer" => 10,
        _ => 19,
    }
}

/// Splits the modifiers from a type's name: `timestamp(3) without time zone` into `timestamp without time zone` and 3.
fn split_modifiers(name: &str) -> (String, Vec<i64>) {
    let (Some(from), Some(to)) = (name.find('('), name.find(')')) else { return (name.to_owned(), Vec::new()) };
    let numbers = name[from + 1..to].split(',').filter_map(|number| number.trim().parse().ok()).collect();
    (format!("{}{}", &name[..from], &name[to + 1..]), numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lossless_type_changes_are_recognized() {
        let structure = Structure::from_iter([]);
        let loses = |from: &str, to: &str| change(&structure, from, to).is_none();
        for (from, to) in [
            ("character varying(10)", "text"),
            ("character varying(10)", "character varying(20)"),
            ("character varying(10)[]", "text[]"),
            ("text", "character varying"),
            ("integer", "bigint"),
            ("integer", "numeric(12,2)"),
            ("numeric(10,2)", "numeric(12,3)"),
            ("numeric(10,2)", "numeric"),
            ("timestamp(3) without time zone", "timestamp without time zone"),
            ("timestamp(3) with time zone", "timestamp(6) with time zone"),
            ("uuid", "text"),
            ("jsonb", "text"),
            ("date", "timestamp without time zone"),
        ] {
            assert!(!loses(from, to), "{from} to {to}");
        }
        for (from, to) in [
            ("text", "character varying(10)"),
            ("character varying(20)", "character varying(10)"),
            ("bigint", "integer"),
            ("text", "integer"),
            ("integer", "numeric(10,2)"),
            ("numeric(10,2)", "numeric(10,3)"),
            ("numeric", "numeric(10,2)"),
            ("timestamp with time zone", "text"),
            ("timestamp with time zone", "timestamp without time zone"),
            ("timestamp without time zone", "timestamp(3) without time zone"),
            ("json", "jsonb"),
            ("bytea", "text"),
        ] {
            assert!(loses(from, to), "{from} to {to}");
        }
    }
}
