//! Rare kinds of objects: extensions, collations, conversions, casts, operators and text search. Also publications, which
//! belong to no schema.

use super::Phase;
use super::builder::Builder;
use super::text::{field, fields, ident, list, literal, number, parts};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    pub(super) fn create_other(&mut self, object: &Object) {
        let identity = &object.identity;
        let (qualified, name) = (self.qualified(&identity.name), ident(&identity.name));
        let definition = object.text("definition").unwrap_or_default();
        // The cast from a range to its multirange is created with the range type.
        if let Some(range) = self.range_of(identity) {
            return self.credit(&range);
        }
        let (phase, sql) = match identity.kind {
            Kind::Extension => {
                let version = object.text("version").map(literal).unwrap_or_default();
                let own = &self.actual.own_name;
                (Phase::Schema, Some(format!("CREATE EXTENSION {name} SCHEMA {own} VERSION {version}")))
            }
            Kind::Statistics => (Phase::Index, Some(definition.to_owned())),
            Kind::Publication => {
                let what = match (&identity.on, definition.strip_prefix("table")) {
                    (Some(on), Some(rest)) => format!("TABLE {}{}", self.qualified(on), filtered(rest)),
                    _ => format!("TABLES IN SCHEMA {}", self.actual.own_name),
                };
                (Phase::Setting, Some(format!("ALTER PUBLICATION {name} ADD {what}")))
            }
            Kind::SecurityLabel => return self.security_label(identity, object.text("label")),
            Kind::Collation => (Phase::Schema, collation(&qualified, definition)),
            Kind::Conversion => (Phase::Operator, conversion(&qualified, definition)),
            Kind::Cast => (Phase::Operator, cast(&identity.name, definition)),
            Kind::Operator => (Phase::Operator, self.operator(&identity.name, definition)),
            Kind::OperatorFamily => {
                (Phase::Operator, Some(format!("CREATE OPERATOR FAMILY {}.{}", self.actual.own_name, identity.name)))
            }
            Kind::OperatorClass => (Phase::Constraint, self.operator_class(object)),
            Kind::TextSearchDictionary
            | Kind::TextSearchConfiguration
            | Kind::TextSearchParser
            | Kind::TextSearchTemplate => (Phase::Operator, self.text_search(object)),
            _ => return,
        };
        let Some(sql) = sql else { return };
        self.add_creating(phase, qualified, sql);
        if let (Some(target), Kind::Statistics) = (number(object, "target"), identity.kind) {
            self.statistics_target(object, target);
        }
        match identity.kind {
            Kind::Extension | Kind::Publication => {}
            Kind::Cast | Kind::TextSearchParser | Kind::TextSearchTemplate => {
                if object.facts.contains_key("comment") {
                    self.comment(object);
                }
            }
            _ => self.add_owner_grants_comment(object),
        }
        match identity.kind {
            Kind::TextSearchConfiguration => self.mappings(object),
            Kind::OperatorFamily => self.family_members(object),
            _ => {}
        }
    }

    pub(super) fn alter_other(&mut self, object: &Object, fact: &str) {
        match (object.identity.kind, fact) {
            (Kind::Statistics, "target") => self.statistics_target(object, number(object, fact).unwrap_or(-1)),
            (Kind::Extension, "version") => {
                let version = object.text(fact).map(literal).unwrap_or_default();
                let name = ident(&object.identity.name);
                self.add(Phase::Schema, format!("ALTER EXTENSION {name} UPDATE TO {version}"));
            }
            (Kind::SecurityLabel, _) => self.security_label(&object.identity, object.text("label")),
            (Kind::TextSearchConfiguration, "mappings") => self.mappings(object),
            (Kind::OperatorFamily, "members") => self.family_members(object),
            (Kind::Type, "base") => self.alter_base_type(object),
            _ => {}
        }
    }

    fn range_of(&self, cast: &Identity) -> Option<Identity> {
        if cast.kind != Kind::Cast {
            return None;
        }
        let (from, to) = cast.name.strip_prefix('(')?.strip_suffix(')')?.split_once(" AS ")?;
        let range = Identity { kind: Kind::RangeType, on: None, name: parts(from).pop()? };
        let range = self.expected.objects.get(&range)?;
        range.text("range")?.ends_with(&format!("multirange {to}")).then(|| range.identity.clone())
    }

    fn statistics_target(&mut self, statistics: &Object, target: i64) {
        let name = self.qualified(&statistics.identity.name);
        self.add(Phase::Setting, format!("ALTER STATISTICS {name} SET STATISTICS {target}"));
    }

    fn operator(&self, name: &str, definition: &str) -> Option<String> {
        const KEYS: [&str; 8] = ["function", "result", "commutator", "negator", "restrict", "join", "hashes", "merges"];
        let (symbol, operands) = name.strip_suffix(')')?.split_once(" (")?;
        let (left, right) = operands.split_once(", ")?;
        let found = fields(definition, &KEYS);
        let mut options = vec![format!("FUNCTION = {}", field(&found, "function")?)];
        for (word, operand) in [("LEFTARG", left), ("RIGHTARG", right)] {
            if operand != "NONE" {
                options.push(format!("{word} = {operand}"));
            }
        }
        for (key, value) in &found {
            match *key {
                "commutator" | "negator" => {
                    let operator = value.split('(').next().unwrap_or_default();
                    options.push(format!("{} = OPERATOR({operator})", key.to_uppercase()));
                }
                "restrict" | "join" if *value != "-" => options.push(format!("{} = {value}", key.to_uppercase())),
                "hashes" | "merges" => options.push(key.to_uppercase()),
                _ => {}
            }
        }
        Some(format!("CREATE OPERATOR {}.{symbol} ({})", self.actual.own_name, options.join(", ")))
    }

    fn text_search(&self, object: &Object) -> Option<String> {
        let qualified = self.qualified(&object.identity.name);
        let definition = object.text("definition")?;
        let options = match object.identity.kind {
            Kind::TextSearchConfiguration => format!("PARSER = {}", definition.strip_prefix("parser ")?),
            Kind::TextSearchDictionary => format!("TEMPLATE = {}", definition.strip_prefix("template ")?),
            kind => {
                let keys: &[&'static str] = match kind {
                    Kind::TextSearchParser => &["start", "gettoken", "end", "headline", "lextypes"],
                    _ => &["init", "lexize"],
                };
                let found = fields(definition, keys);
                let options = found.iter().filter(|(_, value)| *value != "-");
                options.map(|(key, value)| format!("{} = {value}", key.to_uppercase())).collect::<Vec<_>>().join(", ")
            }
        };
        Some(format!("CREATE {} {qualified} ({options})", object.identity.kind.as_str().to_uppercase()))
    }

    /// Changes which dictionaries a text search configuration uses for each token type.
    fn mappings(&mut self, configuration: &Object) {
        let identity = &configuration.identity;
        let from = if self.recreated.contains_key(identity) { None } else { self.actual_object(identity) };
        let split = |object: &Object| -> Vec<(String, String)> {
            let mappings = list(object, "mappings").into_iter().filter_map(|mapping| mapping.split_once(": "));
            mappings.map(|(token, dictionaries)| (token.to_owned(), dictionaries.to_owned())).collect()
        };
        let (from, to) = (from.map(split).unwrap_or_default(), split(configuration));
        let alter = format!("ALTER TEXT SEARCH CONFIGURATION {}", self.qualified(&identity.name));
        for (token, dictionaries) in &to {
            match from.iter().find(|(other, _)| other == token) {
                Some((_, same)) if same == dictionaries => {}
                Some(_) => self.add(Phase::Operator, format!("{alter} ALTER MAPPING FOR {token} WITH {dictionaries}")),
                None => self.add(Phase::Setting, format!("{alter} ADD MAPPING FOR {token} WITH {dictionaries}")),
            }
        }
        for (token, _) in from.iter().filter(|(token, _)| !to.iter().any(|(other, _)| other == token)) {
            self.add(Phase::Operator, format!("{alter} DROP MAPPING FOR {token}"));
        }
    }
}

/// Converts the condition of a published table to SQL.
fn filtered(rest: &str) -> String {
    rest.replacen(" where ", " WHERE ", 1)
}

fn collation(name: &str, definition: &str) -> Option<String> {
    const KEYS: [&str; 7] = ["provider", "lc_collate", "lc_ctype", "locale", "rules", "not deterministic", "encoding"];
    let found = fields(definition, &KEYS);
    let mut options = Vec::new();
    let provider = match field(&found, "provider")? {
        "i" => "icu",
        "b" => "builtin",
        "c" => "libc",
        _ => return None,
    };
    options.push(format!("PROVIDER = {provider}"));
    for (key, value) in &found {
        match *key {
            "lc_collate" | "lc_ctype" if provider == "libc" => {
                options.push(format!("{} = {}", key.to_uppercase(), literal(value)));
            }
            // Before PostgreSQL 15, `lc_collate` has the ICU locale.
            "lc_collate" if provider == "icu" && field(&found, "locale").is_none() => {
                options.push(format!("LOCALE = {}", literal(value)));
            }
            "locale" | "rules" => options.push(format!("{} = {}", key.to_uppercase(), literal(value))),
            "not deterministic" => options.push("DETERMINISTIC = false".to_owned()),
            _ => {}
        }
    }
    Some(format!("CREATE COLLATION {name} ({})", options.join(", ")))
}

fn conversion(name: &str, definition: &str) -> Option<String> {
    let found = fields(definition, &["from", "to", "function", "default"]);
    let default = if field(&found, "default").is_some() { "DEFAULT " } else { "" };
    let (from, to) = (literal(field(&found, "from")?), literal(field(&found, "to")?));
    Some(format!("CREATE {default}CONVERSION {name} FOR {from} TO {to} FROM {}", field(&found, "function")?))
}

fn cast(name: &str, definition: &str) -> Option<String> {
    let found = fields(definition, &["method", "context", "function"]);
    let how = match field(&found, "method")? {
        // `CREATE CAST` needs the function's argument types.
        "f" => format!("WITH FUNCTION {}", definition.split_once("function ")?.1),
        "i" => "WITH INOUT".to_owned(),
        _ => "WITHOUT FUNCTION".to_owned(),
    };
    let when = match field(&found, "context")? {
        "i" => " AS IMPLICIT",
        "a" => " AS ASSIGNMENT",
        _ => "",
    };
    Some(format!("CREATE CAST {name} {how}{when}"))
}
