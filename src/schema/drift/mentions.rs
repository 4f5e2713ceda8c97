//! Words of a reference that look like a tenant's name, and are not.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::words::{last_identifier, schemas_on_path};
use crate::schema::structure::{OWN, Structure};

/// The words before a dot in a reference that are not schema names: table aliases, and words in function bodies.
///
/// The fingerprint omits a tenant's own name everywhere. A tenant that has the name of an alias would
/// look unlike all others, or like one that it is unlike; it is read in full.
pub(super) struct Mentions(HashSet<String>);

impl Mentions {
    pub(super) fn of(structure: &Structure) -> Self {
        let mut words = HashSet::new();
        words_before_dots(structure, &mut words);
        Self(words)
    }

    pub(super) fn may_be(&self, name: &str) -> bool {
        self.0.iter().any(|word| word.ends_with(name))
    }
}

fn words_before_dots(structure: &Structure, words: &mut HashSet<String>) {
    fn texts(value: &Value, words: &mut HashSet<String>) {
        match value {
            Value::String(text) => {
                for (dot, _) in text.match_indices('.') {
                    words.extend(last_identifier(&text[..dot]).map(Cow::into_owned));
                }
                // A function's `search_path` contains no dots.
                if let Some(path) = text.strip_prefix("search_path=") {
                    words.extend(schemas_on_path(path));
                }
            }
            Value::Array(values) => values.iter().for_each(|value| texts(value, words)),
            _ => {}
        }
    }
    for object in structure.objects.values() {
        texts(&Value::String(object.identity.name.replace(OWN, " ")), words);
        object.facts.values().for_each(|value| texts(value, words));
    }
}
