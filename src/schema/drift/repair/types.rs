//! Enums, domains, composite types and ranges.

use super::Phase;
use super::builder::Builder;
use super::text::{field, fields, ident, list, literal, number};
use crate::schema::structure::{Object, ObjectKind as Kind};

impl Builder<'_> {
    pub(super) fn create_type(&mut self, object: &Object) {
        let identity = &object.identity;
        let name = self.qualified(&identity.name);
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
                    self.begin_creation(&attribute.identity);
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
        self.add_creating(Phase::Type, name, sql);
        self.add_owner_grants_comment(object);
        if identity.kind == Kind::Domain {
            self.create_children(&identity.name, Kind::DomainConstraint);
        }
    }

    /// Adds the missing labels, if the existing ones are in order.
    pub(super) fn alter_enum(&mut self, object: &Object) {
        let Some(actual) = self.actual_object(&object.identity) else { return };
        let (expected, mut labels) = (list(object, "labels"), list(actual, "labels"));
        let name = self.qualified(&object.identity.name);
        let extra: Vec<&str> = labels.iter().copied().filter(|label| !expected.contains(label)).collect();
        let common: Vec<&str> = labels.iter().copied().filter(|label| expected.contains(label)).collect();
        let ordered = common.iter().copied().eq(expected.iter().copied().filter(|label| common.contains(label)));
        if ordered && (extra.is_empty() || !self.allow_data_loss) {
            for (index, label) in expected.iter().enumerate().filter(|(_, label)| !common.contains(label)) {
                let before = index.checked_sub(1).map(|index| expected[index]);
                // The labels before it exist by then.
                let place = match before {
                    Some(before) => format!("AFTER {}", literal(before)),
                    None => format!("BEFORE {}", literal(labels.first().copied().unwrap_or_default())),
                };
                let place = if labels.is_empty() { String::new() } else { format!(" {place}") };
                self.add(
                    Phase::BeforeTransaction,
                    format!("ALTER TYPE {name} ADD VALUE IF NOT EXISTS {}{place}", literal(label)),
                );
                labels.push(label);
            }
        }
        if self.allow_data_loss && (!extra.is_empty() || !ordered) {
            // An enum with unexpected or misplaced labels is recreated.
            return self.rename_label(&name, &expected, &list(actual, "labels"));
        }
        for label in &extra {
            let other = if extra.len() == 1 { expected.iter().find(|label| !common.contains(label)) } else { None };
            let to = other.map_or_else(|| "…".to_owned(), |label| literal(label));
            self.suggest(
                format!("ALTER TYPE {name} RENAME VALUE {} TO {to}", literal(label)),
                "PostgreSQL cannot remove a label; if the label was renamed, rename it back, or create the type again and \
                 cast the columns to it",
            );
        }
        if !ordered {
            let labels: Vec<String> = expected.into_iter().map(literal).collect();
            self.suggest(
                format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", ")),
                "PostgreSQL cannot change the order of labels; rename the type, create it again like this, cast the \
                 columns to it and drop the old type",
            );
        }
    }

    /// Renames the only label that differs, if its position is the same.
    fn rename_label(&mut self, name: &str, expected: &[&str], actual: &[&str]) {
        let differing: Vec<(&&str, &&str)> = actual.iter().zip(expected).filter(|(old, new)| old != new).collect();
        let [(old, new)] = differing[..] else { return };
        if expected.len() != actual.len() || expected.contains(old) || actual.contains(new) {
            return;
        }
        let sql = format!("ALTER TYPE {name} RENAME VALUE {} TO {}", literal(old), literal(new));
        self.add(Phase::Type, &sql);
        let assumption = format!("label {} was renamed to {}", literal(new), literal(old));
        self.update_statement(&sql, |statement| statement.assumption = Some(assumption));
    }

    pub(super) fn alter_domain(&mut self, domain: &Object, fact: &str) {
        let alter = format!("ALTER DOMAIN {}", self.qualified(&domain.identity.name));
        let change = match (fact, domain.text(fact)) {
            ("default", Some(default)) => format!("SET DEFAULT {default}"),
            ("default", None) => "DROP DEFAULT".to_owned(),
            ("not_null", _) if domain.is(fact) => "SET NOT NULL".to_owned(),
            ("not_null", _) => "DROP NOT NULL".to_owned(),
            _ => return,
        };
        self.add(Phase::Type, format!("{alter} {change}"));
    }

    pub(super) fn add_domain_constraint(&mut self, constraint: &Object) {
        let Some(domain) = constraint.identity.on.as_deref().map(|on| self.qualified(on)) else { return };
        let name = ident(&constraint.identity.name);
        let not_valid = if constraint.is("validated") { "" } else { " NOT VALID" };
        let definition = constraint.text("definition").unwrap_or_default();
        self.add(Phase::Constraint, format!("ALTER DOMAIN {domain} ADD CONSTRAINT {name} {definition}{not_valid}"));
        if constraint.facts.contains_key("comment") {
            self.comment(constraint);
        }
    }

    pub(super) fn alter_domain_constraint(&mut self, constraint: &Object, fact: &str) {
        let Some(domain) = constraint.identity.on.as_deref().map(|on| self.qualified(on)) else { return };
        if fact == "validated" && constraint.is(fact) {
            let name = ident(&constraint.identity.name);
            self.add(Phase::Constraint, format!("ALTER DOMAIN {domain} VALIDATE CONSTRAINT {name}"));
        }
    }

    pub(super) fn add_attribute(&mut self, object: &Object) {
        let Some(name) = object.identity.on.as_deref().map(|on| self.qualified(on)) else { return };
        self.add(Phase::Type, format!("ALTER TYPE {name} ADD ATTRIBUTE {}", attribute(object)));
        if object.facts.contains_key("comment") {
            self.comment(object);
        }
    }

    /// The server refuses this while a column has the type, so no data can be lost.
    pub(super) fn alter_attribute(&mut self, object: &Object) {
        let Some(name) = object.identity.on.as_deref().map(|on| self.qualified(on)) else { return };
        let attribute = attribute(object);
        let (label, kind) = attribute.split_at(ident(&object.identity.name).len());
        self.add(Phase::Type, format!("ALTER TYPE {name} ALTER ATTRIBUTE {label} TYPE{kind}"));
    }
}

fn attribute(object: &Object) -> String {
    let collation = object.text("collation").map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
    format!("{} {}{collation}", ident(&object.identity.name), object.text("type").unwrap_or_default())
}

fn range(object: &Object) -> Option<String> {
    const KEYS: [&str; 6] = ["subtype", "opclass", "collation", "canonical", "subtype_diff", "multirange"];
    let found = fields(object.text("range")?, &KEYS);
    // A canonical function takes the range type as an argument, so it cannot exist before the type.
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
