//! Types: enums, domains, composite types and ranges.

use super::Phase;
use super::builder::Builder;
use super::text::{field, fields, ident, list, literal, number};
use crate::schema::structure::{Object, ObjectKind as Kind};

/// The properties of a base type, in the order in which its definition lists them.
const BASE_KEYS: [&str; 18] = [
    "shell",
    "input",
    "output",
    "receive",
    "send",
    "typmod_in",
    "typmod_out",
    "analyze",
    "internallength",
    "passedbyvalue",
    "alignment",
    "storage",
    "category",
    "preferred",
    "delimiter",
    "subscript",
    "collatable",
    "element",
];

impl Builder<'_> {
    pub(super) fn create_type(&mut self, object: &Object) {
        let identity = &object.identity;
        let name = self.whole(&identity.name);
        let sql = match identity.kind {
            Kind::Enum => {
                let labels: Vec<String> = list(object, "labels").into_iter().map(literal).collect();
                format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))
            }
            Kind::Domain => {
                let mut sql = format!("CREATE DOMAIN {name} AS {}", object.text("type").unwrap_or_default());
                if let Some(collation) = object.text("collation") {
                    sql += &format!(" COLLATE {collation}");
                }
                if let Some(default) = object.text("default") {
                    sql += &format!(" DEFAULT {default}");
                }
                if object.is("not_null") {
                    sql += " NOT NULL";
                }
                sql
            }
            Kind::CompositeType => {
                let mut attributes: Vec<Object> = self
                    .expected
                    .children(&identity.name)
                    .filter(|child| child.identity.kind == Kind::Attribute)
                    .cloned()
                    .collect();
                attributes.sort_by_key(|attribute| number(attribute, "position"));
                let lines: Vec<String> = attributes.iter().map(attribute).collect();
                for attribute in &attributes {
                    self.begin(&attribute.identity);
                    if attribute.facts.contains_key("comment") {
                        self.comment(attribute);
                    }
                }
                format!("CREATE TYPE {name} AS ({})", lines.join(", "))
            }
            Kind::RangeType => match range(object) {
                Some(options) => format!("CREATE TYPE {name} AS RANGE ({options})"),
                None => return,
            },
            _ => return self.create_base_type(object),
        };
        self.make(Phase::Type, name, sql);
        self.dress(object);
        if identity.kind == Kind::Domain {
            self.create_children(&identity.name, Kind::DomainConstraint);
        }
    }

    /// Adds the labels that are missing, where those that are there are in their order.
    pub(super) fn alter_enum(&mut self, object: &Object) {
        let Some(there) = self.there(&object.identity) else { return };
        let (wanted, mut labels) = (list(object, "labels"), list(there, "labels"));
        let name = self.whole(&object.identity.name);
        let extra: Vec<&str> = labels.iter().copied().filter(|label| !wanted.contains(label)).collect();
        let common: Vec<&str> = labels.iter().copied().filter(|label| wanted.contains(label)).collect();
        let in_order = common.iter().copied().eq(wanted.iter().copied().filter(|label| common.contains(label)));
        if in_order && (extra.is_empty() || !self.allow_data_loss) {
            for (index, label) in wanted.iter().enumerate().filter(|(_, label)| !common.contains(label)) {
                let before = index.checked_sub(1).map(|index| wanted[index]);
                // Those before it are there by now.
                let place = match before {
                    Some(before) => format!("AFTER {}", literal(before)),
                    None => format!("BEFORE {}", literal(labels.first().copied().unwrap_or_default())),
                };
                let place = if labels.is_empty() { String::new() } else { format!(" {place}") };
                self.run(Phase::Ahead, format!("ALTER TYPE {name} ADD VALUE IF NOT EXISTS {}{place}", literal(label)));
                labels.push(label);
            }
        }
        if self.allow_data_loss && (!extra.is_empty() || !in_order) {
            // A type that cannot be changed is created again.
            return self.rename_label(&name, &wanted, &list(there, "labels"));
        }
        for label in &extra {
            let other = wanted.iter().find(|label| !common.contains(label)).filter(|_| extra.len() == 1);
            let to = other.map_or_else(|| "…".to_owned(), |label| literal(label));
            self.leave(
                format!("ALTER TYPE {name} RENAME VALUE {} TO {to}", literal(label)),
                "a label cannot be removed; if it is only called differently, rename it, or make the type anew and cast \
                 the columns to it",
            );
        }
        if !in_order {
            let labels: Vec<String> = wanted.into_iter().map(literal).collect();
            self.leave(
                format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", ")),
                "the order of labels cannot be changed; rename the type, make it anew like this, cast the columns to it \
                 and drop the old one",
            );
        }
    }

    /// Renames the only label that is extra where the only one that is missing has its place.
    fn rename_label(&mut self, name: &str, wanted: &[&str], there: &[&str]) {
        let differing: Vec<(&&str, &&str)> = there.iter().zip(wanted).filter(|(old, new)| old != new).collect();
        let [(old, new)] = differing[..] else { return };
        if wanted.len() != there.len() || wanted.contains(old) || there.contains(new) {
            return;
        }
        let sql = format!("ALTER TYPE {name} RENAME VALUE {} TO {}", literal(old), literal(new));
        self.run(Phase::Type, &sql);
        let assumption = format!("the label {} is {} under another name", literal(old), literal(new));
        self.added(&sql, |statement| statement.assumption = Some(assumption));
    }

    /// Creates a base type. Its functions need the shell type, and the complete type needs its functions.
    fn create_base_type(&mut self, object: &Object) {
        let name = self.whole(&object.identity.name);
        self.run(Phase::Schema, format!("CREATE TYPE {name}"));
        self.complete_base_type(object);
        self.dress(object);
    }

    /// Makes a shell type complete.
    fn complete_base_type(&mut self, object: &Object) {
        let name = self.whole(&object.identity.name);
        let definition = fields(object.text("base").unwrap_or_default(), &BASE_KEYS);
        if field(&definition, "shell").is_none() {
            let options: Vec<String> = definition.iter().map(|(key, value)| base_option(key, value)).collect();
            self.make(Phase::Operator, &name, format!("CREATE TYPE {name} ({})", options.join(", ")));
        }
    }

    /// Changes what can be changed of a base type: its optional functions and its storage.
    pub(super) fn alter_base_type(&mut self, object: &Object) {
        const CHANGED: [&str; 7] = ["receive", "send", "typmod_in", "typmod_out", "analyze", "subscript", "storage"];
        let Some(there) = self.there(&object.identity).and_then(|there| there.text("base")) else { return };
        let (wanted, there) = (fields(object.text("base").unwrap_or_default(), &BASE_KEYS), fields(there, &BASE_KEYS));
        if field(&there, "shell").is_some() {
            return self.complete_base_type(object);
        }
        let changed = CHANGED.iter().filter(|key| field(&wanted, key) != field(&there, key));
        let options: Vec<String> = changed
            .map(|key| match field(&wanted, key) {
                Some(value) => base_option(key, value),
                None => format!("{} = NONE", key.to_uppercase()),
            })
            .collect();
        if !options.is_empty() {
            let name = self.whole(&object.identity.name);
            self.run(Phase::Operator, format!("ALTER TYPE {name} SET ({})", options.join(", ")));
        }
    }

    pub(super) fn alter_domain(&mut self, domain: &Object, fact: &str) {
        let alter = format!("ALTER DOMAIN {}", self.whole(&domain.identity.name));
        let change = match (fact, domain.text(fact)) {
            ("default", Some(default)) => format!("SET DEFAULT {default}"),
            ("default", None) => "DROP DEFAULT".to_owned(),
            ("not_null", _) if domain.is(fact) => "SET NOT NULL".to_owned(),
            ("not_null", _) => "DROP NOT NULL".to_owned(),
            _ => return,
        };
        self.run(Phase::Type, format!("{alter} {change}"));
    }

    pub(super) fn add_domain_constraint(&mut self, constraint: &Object) {
        let Some(domain) = constraint.identity.on.as_deref().map(|on| self.whole(on)) else { return };
        let name = ident(&constraint.identity.name);
        let not_valid = if constraint.is("validated") { "" } else { " NOT VALID" };
        let definition = constraint.text("definition").unwrap_or_default();
        self.run(Phase::Constraint, format!("ALTER DOMAIN {domain} ADD CONSTRAINT {name} {definition}{not_valid}"));
        if constraint.facts.contains_key("comment") {
            self.comment(constraint);
        }
    }

    pub(super) fn alter_domain_constraint(&mut self, constraint: &Object, fact: &str) {
        let Some(domain) = constraint.identity.on.as_deref().map(|on| self.whole(on)) else { return };
        if fact == "validated" && constraint.is(fact) {
            let name = ident(&constraint.identity.name);
            self.run(Phase::Constraint, format!("ALTER DOMAIN {domain} VALIDATE CONSTRAINT {name}"));
        }
    }

    pub(super) fn add_attribute(&mut self, object: &Object) {
        let Some(name) = object.identity.on.as_deref().map(|on| self.whole(on)) else { return };
        self.run(Phase::Type, format!("ALTER TYPE {name} ADD ATTRIBUTE {}", attribute(object)));
        if object.facts.contains_key("comment") {
            self.comment(object);
        }
    }

    /// The server refuses it where a column has the type, so that nothing can be lost.
    pub(super) fn alter_attribute(&mut self, object: &Object) {
        let Some(name) = object.identity.on.as_deref().map(|on| self.whole(on)) else { return };
        let attribute = attribute(object);
        let (label, kind) = attribute.split_at(ident(&object.identity.name).len());
        self.run(Phase::Type, format!("ALTER TYPE {name} ALTER ATTRIBUTE {label} TYPE{kind}"));
    }
}

/// A property of a base type as `CREATE TYPE` and `ALTER TYPE` take it.
fn base_option(key: &str, value: &str) -> String {
    let category;
    let value = match (key, value) {
        ("internallength", "-1") => "VARIABLE",
        ("alignment", "c") => "char",
        ("alignment", "s") => "int2",
        ("alignment", "i") => "int4",
        ("alignment", _) => "double",
        ("storage", "p") => "plain",
        ("storage", "e") => "external",
        ("storage", "m") => "main",
        ("storage", _) => "extended",
        ("category", value) => {
            category = literal(value);
            &category
        }
        ("collatable", _) => "true",
        ("internallength" | "passedbyvalue" | "preferred" | "delimiter" | "element", value) => value,
        (_, function) => function_name(function),
    };
    format!("{} = {value}", key.to_uppercase())
}

/// The name in a function's signature.
fn function_name(signature: &str) -> &str {
    let mut quoted = false;
    let arguments = signature.find(|c| {
        quoted ^= c == '"';
        c == '(' && !quoted
    });
    arguments.map_or(signature, |at| &signature[..at])
}

fn attribute(object: &Object) -> String {
    let collation = object.text("collation").map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
    format!("{} {}{collation}", ident(&object.identity.name), object.text("type").unwrap_or_default())
}

fn range(object: &Object) -> Option<String> {
    const KEYS: [&str; 6] = ["subtype", "opclass", "collation", "canonical", "subtype_diff", "multirange"];
    let found = fields(object.text("range")?, &KEYS);
    // A function that makes ranges canonical takes the type itself, which is not there yet.
    if field(&found, "canonical").is_some_and(|function| function != "-") {
        return None;
    }
    let options = found.iter().filter(|(_, value)| *value != "-").map(|(key, value)| match *key {
        "opclass" => format!("SUBTYPE_OPCLASS = {value}"),
        "multirange" => format!("MULTIRANGE_TYPE_NAME = {value}"),
        key => format!("{} = {value}", key.to_uppercase()),
    });
    Some(options.collect::<Vec<_>>().join(", "))
}
