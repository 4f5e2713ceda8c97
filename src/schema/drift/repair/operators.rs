//! Operator classes and the members of operator families.

use super::Phase;
use super::builder::Builder;
use super::text::{field, fields, list};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

/// A member of a family, as in `CREATE OPERATOR CLASS` and `ALTER OPERATOR FAMILY … ADD`.
struct FamilyMember {
    sql: String,
    /// The kind and number, as in `ALTER OPERATOR FAMILY … DROP`.
    number: String,
    left: String,
    right: String,
}

impl Builder<'_> {
    /// The statement that creates an operator class, with the missing members of its family that are for its type.
    pub(super) fn operator_class(&self, class: &Object) -> Option<String> {
        let found = fields(class.text("definition")?, &["for type", "family", "default", "storage"]);
        let (kind, family) = (field(&found, "for type")?, field(&found, "family")?);
        let (name, method) = class.identity.name.rsplit_once(" USING ")?;
        let default = field(&found, "default").map(|_| "DEFAULT ").unwrap_or_default();
        let members = self.members_of_class(class);
        let mut items: Vec<String> = members.into_iter().map(|member| member.sql).collect();
        if let Some(storage) = field(&found, "storage") {
            items.push(format!("STORAGE {storage}"));
        }
        if items.is_empty() {
            items.push(format!("STORAGE {kind}"));
        }
        Some(format!(
            "CREATE OPERATOR CLASS {}.{name} {default}FOR TYPE {kind} USING {method} FAMILY {family} AS\n    {}",
            self.actual.own_name,
            items.join(",\n    ")
        ))
    }

    /// The missing members of a class's family that are for its type.
    fn members_of_class(&self, class: &Object) -> Vec<FamilyMember> {
        let found = fields(class.text("definition").unwrap_or_default(), &["for type", "family", "default", "storage"]);
        let (Some(kind), Some(family)) = (field(&found, "for type"), field(&found, "family")) else {
            return Vec::new();
        };
        let Some((_, method)) = class.identity.name.rsplit_once(" USING ") else { return Vec::new() };
        let own = format!("{}.", self.actual.own_name);
        let name = format!("{} USING {method}", family.strip_prefix(&own).unwrap_or(family));
        let identity = Identity { kind: Kind::OperatorFamily, on: None, name };
        let Some(family) = self.expected.objects.get(&identity) else { return Vec::new() };
        let actual = self.actual_object(&identity).map(|actual| list(actual, "members")).unwrap_or_default();
        let missing = list(family, "members").into_iter().filter(|text| !actual.contains(text));
        missing.filter_map(member).filter(|member| member.left == kind && member.right == kind).collect()
    }

    /// Adds the missing members of a family and drops the unexpected ones. Creating a missing class adds its own members.
    pub(super) fn family_members(&mut self, family: &Object) {
        let identity = &family.identity;
        let actual = self.actual_object(identity).map(|actual| list(actual, "members")).unwrap_or_default();
        let expected = list(family, "members");
        let classes = self.expected.objects.values().filter(|object| object.identity.kind == Kind::OperatorClass);
        let missing_classes: Vec<&Object> =
            classes.filter(|class| !self.actual.objects.contains_key(&class.identity)).collect();
        let of_class: Vec<String> = missing_classes
            .into_iter()
            .flat_map(|class| self.members_of_class(class))
            .map(|member| member.sql)
            .collect();
        let alter = format!("ALTER OPERATOR FAMILY {}.{}", self.actual.own_name, identity.name);
        for gone in actual.iter().filter(|text| !expected.contains(text)).filter_map(|text| member(text)) {
            let (number, left, right) = (gone.number, gone.left, gone.right);
            self.add(Phase::Operator, format!("{alter} DROP {number} ({left}, {right})"));
        }
        for new in expected.iter().filter(|text| !actual.contains(text)).filter_map(|text| member(text)) {
            if !of_class.contains(&new.sql) {
                self.add(Phase::Constraint, format!("{alter} ADD {}", new.sql));
            }
        }
    }
}

/// Parses a member from a fact: `operator 1 acme.<(integer,integer)` or `function 1 (integer, integer) acme.f(...)`.
fn member(text: &str) -> Option<FamilyMember> {
    let operands = |types: &str| {
        let (left, right) = types.split_once(',')?;
        Some((left.trim().to_owned(), right.trim().to_owned()))
    };
    if let Some(rest) = text.strip_prefix("operator ") {
        let (number, rest) = rest.split_once(' ')?;
        let (operator, order) = match rest.split_once(" for order by ") {
            Some((operator, family)) => (operator, format!(" FOR ORDER BY {family}")),
            None => (rest, String::new()),
        };
        let (left, right) = operands(operator.strip_suffix(')')?.rsplit_once('(')?.1)?;
        let number = format!("OPERATOR {number}");
        return Some(FamilyMember { sql: format!("{number} {operator}{order}"), number, left, right });
    }
    let rest = text.strip_prefix("function ")?;
    let (number, rest) = rest.split_once(" (")?;
    let (types, function) = rest.split_once(") ")?;
    let (left, right) = operands(types)?;
    let number = format!("FUNCTION {number}");
    Some(FamilyMember { sql: format!("{number} ({left}, {right}) {function}"), number, left, right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_family_member_is_rendered_as_sql() {
        let operator = member("operator 15 <->(point,point) for order by acme.f").expect("a member");
        assert_eq!(operator.sql, "OPERATOR 15 <->(point,point) FOR ORDER BY acme.f");
        assert_eq!((operator.left.as_str(), operator.right.as_str()), ("point", "point"));
        let function = member("function 1 (integer, bigint) acme.cmp(integer,bigint)").expect("a member");
        assert_eq!(function.sql, "FUNCTION 1 (integer, bigint) acme.cmp(integer,bigint)");
        assert_eq!((function.number.as_str(), function.right.as_str()), ("FUNCTION 1", "bigint"));
    }
}
