//! Changes of a column's type.

use super::Phase;
use super::builder::Builder;
use super::lossless::{self, Change};
use super::text::{ident, list, literal};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    /// Changes the type or collation of a column, and its default with it.
    pub(super) fn retype(&mut self, column: &Object) {
        let (Some(on), Some(actual)) = (&column.identity.on, self.actual_object(&column.identity)) else { return };
        let (word, table, name) =
            (self.table_keyword(&column.identity), self.qualified(on), ident(&column.identity.name));
        if word.ends_with("VIEW") || super::common::is_inherited(column) {
            return;
        }
        let (from, to) = (actual.text("type").unwrap_or_default(), column.text("type").unwrap_or_default());
        let change = lossless::change(&self.expected, from, to);
        let computed = column.text("generated").is_some();
        let mut sql = format!("ALTER {word} {table} ALTER COLUMN {name} TYPE {to}");
        if let Some(collation) = column.text("collation") {
            sql += &format!(" COLLATE {collation}");
        }
        if change != Some(Change::Alone) && !computed && word == "TABLE" {
            sql += &format!(" USING {name}::{to}");
        }
        // The old default may have no cast to the new type.
        if actual.text("default").is_some() && !computed {
            sql = sql.replacen(" ALTER COLUMN", &format!(" ALTER COLUMN {name} DROP DEFAULT, ALTER COLUMN"), 1);
        }
        if !computed && let Some(default) = column.text("default") {
            sql += &format!(", ALTER COLUMN {name} SET DEFAULT {default}");
        }
        let cast = sql.clone();
        if self.changes_type(&column.identity) {
            self.add(Phase::Alter, sql);
        } else {
            let loss = format!("values of {}.{name} ({from}) that {to} cannot represent", ident(on));
            self.add_lossy(Phase::Alter, sql, format!("{to} may truncate, round or reject values of {from}"), loss);
        }
        if self.allow_data_loss && !computed && word == "TABLE" {
            self.add_other_casts(column, &cast, to);
        }
    }

    /// Adds the alternatives to a cast that fails: through text, then with the default for values that are not labels, then
    /// with the default for all values.
    fn add_other_casts(&mut self, column: &Object, sql: &str, to: &str) {
        let (on, name) = (ident(column.identity.on.as_deref().unwrap_or_default()), ident(&column.identity.name));
        let default = column.text("default").unwrap_or("NULL");
        let using = format!(" USING {name}::{to}");
        let with_using = |expression: String| {
            if sql.contains(&using) {
                return sql.replacen(&using, &format!(" USING {expression}"), 1);
            }
            let kind = format!(" TYPE {to}");
            sql.replacen(&kind, &format!("{kind} USING {expression}"), 1)
        };
        let mut others = vec![(
            with_using(format!("{name}::text::{to}")),
            format!("values of {on}.{name} that {to} cannot represent, because they are cast through text"),
        )];
        let label = super::text::parts(to).pop().unwrap_or_default();
        let target = Identity { kind: Kind::Enum, on: None, name: label };
        if let Some(target) = self.expected.objects.get(&target) {
            let labels: Vec<String> = list(target, "labels").into_iter().map(literal).collect();
            let known = format!("{name}::text IN ({})", labels.join(", "));
            others.push((
                with_using(format!("CASE WHEN {known} THEN {name}::text::{to} ELSE {default} END")),
                format!("the values of {on}.{name} that are not labels of {to}, which become {default}"),
            ));
        }
        others.push((
            with_using(format!("({default})::{to}")),
            format!("all values of {on}.{name}, which become {default}"),
        ));
        self.add_alternatives(sql, others);
    }
}
