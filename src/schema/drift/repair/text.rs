//! Identifiers, and the texts of facts.

use serde_json::Value;

use crate::model::NamePolicy;
use crate::schema::structure::Object;
use crate::sql::quote::{Identifier, Literal};

/// An identifier, quoted if necessary.
pub(super) fn ident(name: &str) -> String {
    // A name of the strict rule needs quotes only for upper-case letters.
    if NamePolicy::Strict.parse(name).is_ok() && !name.contains(|c: char| c.is_ascii_uppercase()) {
        name.to_owned()
    } else {
        Identifier::of_object(name).to_string()
    }
}

/// A string constant.
pub(super) fn literal(text: &str) -> String {
    Literal(text).to_string()
}

/// Whether a text contains a whole name: `acme.users` is not in `acme.users_id_seq`.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || "_$\"".contains(c);
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let continues = name.ends_with(part) && after.is_some_and(part);
        before.is_none_or(|c| c != '.' && !part(c)) && !continues
    })
}

/// Whether a text contains a name as a word, qualified or not.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || "_$".contains(c);
    text.match_indices(word).any(|(at, _)| {
        let around = [text[..at].chars().next_back(), text[at + word.len()..].chars().next()];
        !around.into_iter().flatten().any(part)
    })
}

/// All facts of an object except its comment, as one text.
pub(super) fn full_text(object: &Object) -> String {
    fn add(value: &Value, text: &mut String) {
        match value {
            Value::String(part) => {
                text.push_str(part);
                text.push('\n');
            }
            Value::Array(values) => values.iter().for_each(|value| add(value, text)),
            _ => {}
        }
    }
    let mut text = object.ddl.clone().unwrap_or_default();
    text.push('\n');
    object.facts.iter().filter(|(fact, _)| *fact != "comment").for_each(|(_, value)| add(value, &mut text));
    text
}

/// A fact that is a list of texts.
pub(super) fn list<'a>(object: &'a Object, fact: &str) -> Vec<&'a str> {
    let values = object.facts.get(fact).and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A fact that is a number.
pub(super) fn number(object: &Object, fact: &str) -> Option<i64> {
    object.facts.get(fact).and_then(Value::as_i64)
}

/// Converts options from `name=value` to SQL, with `prefix` before each name.
pub(super) fn options(list: &[&str], prefix: &str) -> String {
    let options = list.iter().map(|option| match option.split_once('=') {
        Some((name, value)) => format!("{prefix}{name}={}", literal(value)),
        None => format!("{prefix}{option}"),
    });
    options.collect::<Vec<_>>().join(", ")
}

/// The change of one list of options to another: the options to set, and the names to reset.
pub(super) fn change_of_options(from: &[&str], to: &[&str], prefix: &str) -> (String, String) {
    let name = |option: &&str| option.split('=').next().unwrap_or_default().to_owned();
    let saved: Vec<String> = to.iter().map(name).collect();
    let set: Vec<&str> = to.iter().copied().filter(|option| !from.contains(option)).collect();
    let reset: Vec<String> =
        from.iter().map(name).filter(|name| !saved.contains(name)).map(|name| format!("{prefix}{name}")).collect();
    (options(&set, prefix), reset.join(", "))
}

/// Splits a text such as `function acme.f, result integer, hashes` into fields. The keys occur in the order of `keys`, each
/// at most once.
pub(super) fn fields<'a>(text: &'a str, keys: &[&'static str]) -> Vec<(&'static str, &'a str)> {
    let mut found: Vec<(&'static str, usize, usize)> = Vec::new();
    let mut from = 0;
    for key in keys {
        let at = text[from..].match_indices(key).map(|(at, _)| from + at).find(|at| {
            let before = *at == 0 || text[..*at].ends_with(", ");
            let after = &text[at + key.len()..];
            before && (after.is_empty() || after.starts_with([' ', ',']))
        });
        if let Some(at) = at {
            found.push((key, at, at + key.len()));
            from = at + key.len();
        }
    }
    let ends = found.iter().skip(1).map(|(_, at, _)| at - 2).chain([text.len()]);
    found
        .iter()
        .zip(ends)
        .map(|((key, _, behind), end)| {
            let value = text[*behind..end].trim();
            if FUNCTIONS.contains(key) { (*key, value.split('(').next().unwrap_or_default()) } else { (*key, value) }
        })
        .collect()
}

/// The keys whose values are functions with argument types. The statements need only the functions' names.
const FUNCTIONS: [&str; 28] = [
    "end",
    "function",
    "restrict",
    "join",
    "sfunc",
    "finalfunc",
    "combinefunc",
    "serialfunc",
    "deserialfunc",
    "msfunc",
    "minvfunc",
    "mfinalfunc",
    "canonical",
    "subtype_diff",
    "input",
    "output",
    "receive",
    "send",
    "typmod_in",
    "typmod_out",
    "analyze",
    "subscript",
    "start",
    "gettoken",
    "headline",
    "lextypes",
    "init",
    "lexize",
];

/// The value of a key in the result of [`fields`].
pub(super) fn field<'a>(fields: &[(&'static str, &'a str)], key: &str) -> Option<&'a str> {
    fields.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

/// The parts of a qualified name, without quotes.
pub(super) fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut chars) = (false, name.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                parts.last_mut().expect("one part").push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => parts.last_mut().expect("one part").push(c),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_if_necessary() {
        for (name, quoted) in [("users", "users"), ("Users", "\"Users\""), ("order", "\"order\""), ("a b", "\"a b\"")] {
            assert_eq!(ident(name), quoted);
        }
    }

    #[test]
    fn only_whole_names_count_as_mentioned() {
        assert!(mentions("FROM acme.users u", "acme.users"));
        assert!(mentions("nextval('acme.users_id_seq'::regclass)", "acme.users_id_seq"));
        assert!(!mentions("nextval('acme.users_id_seq'::regclass)", "acme.users"));
        assert!(!mentions("FROM theacme.users", "acme.users"));
        assert!(mentions("EXECUTE FUNCTION acme.f()", "acme.f("));
        assert!(has_word("users.id = 1", "id") && !has_word("users.uid = 1", "id"));
    }

    #[test]
    fn fields_are_found_in_order() {
        let found = fields("function acme.f, result numeric, hashes", &["function", "result", "join", "hashes"]);
        assert_eq!(found, [("function", "acme.f"), ("result", "numeric"), ("hashes", "")]);
    }

    #[test]
    fn qualified_name_is_split_into_parts() {
        assert_eq!(parts("users.id"), ["users", "id"]);
        assert_eq!(parts("\"a.b\".\"c\"\"d\""), ["a.b", "c\"d"]);
    }

    #[test]
    fn options_are_set_and_reset() {
        let (set, reset) = change_of_options(&["fillfactor=70", "x=1"], &["fillfactor=80"], "");
        assert_eq!((set.as_str(), reset.as_str()), ("fillfactor='80'", "x"));
    }
}
