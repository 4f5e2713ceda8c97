//! Identity columns and their sequences.

use super::Phase;
use super::builder::Builder;
use super::common::owning;
use super::text::{ident, literal};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    /// The clause after `GENERATED`, with the options of the expected sequence.
    pub(super) fn identity_of(&self, column: &Object) -> Option<String> {
        let kind = when(column.text("identity")?);
        let sequence = self.sequence_of(column).map(|sequence| {
            format!(
                " (SEQUENCE NAME {}{})",
                self.qualified(&sequence.identity.name),
                super::sequences::options(sequence)
            )
        });
        Some(format!("{kind} AS IDENTITY{}", sequence.unwrap_or_default()))
    }

    /// The sequence of an identity column in the reference.
    fn sequence_of(&self, column: &Object) -> Option<&Object> {
        let owned = |sequence: &&Object| {
            owning(sequence).is_some_and(|(table, name)| {
                Some(&table) == column.identity.on.as_ref() && name == column.identity.name
            })
        };
        let sequences = self.expected.objects.values().filter(|object| object.identity.kind == Kind::Sequence);
        sequences.filter(|sequence| sequence.is("identity")).find(owned)
    }

    /// Drops the identity of a column, and with it the sequence.
    pub(super) fn drop_identity_of(&mut self, sequence: &Object) {
        let Some((table, column)) = owning(sequence) else { return };
        self.drop_identity(&table, &column);
    }

    fn drop_identity(&mut self, table: &str, column: &str) {
        let sql = format!("ALTER TABLE {} ALTER COLUMN {} DROP IDENTITY", self.qualified(table), ident(column));
        let loss = format!("the current value of the sequence of {}.{}", ident(table), ident(column));
        self.add_lossy(Phase::Alter, sql, "the current value of its sequence would be lost", loss);
    }

    pub(super) fn alter_identity(&mut self, column: &Object) {
        let actual = self.actual_object(&column.identity).and_then(|actual| actual.text("identity"));
        let Some(table) = column.identity.on.clone() else { return };
        match (actual, column.text("identity")) {
            (Some(_), Some(kind)) => self.alter_column_by(column, &format!("SET GENERATED {}", when(kind))),
            (Some(_), None) => self.drop_identity(&table, &column.identity.name),
            (None, Some(_)) => self.add_identity(column, &table),
            (None, None) => {}
        }
    }

    fn add_identity(&mut self, column: &Object, table: &str) {
        let sequence = self.sequence_of(column).map(|sequence| sequence.identity.clone());
        let name = ident(&column.identity.name);
        let group = self.new_group();
        let object = column.identity.clone();
        let add = self.identity_of(column).unwrap_or_default();
        let (from, to) = (self.qualified(table), sequence.as_ref().map(|sequence| self.qualified(&sequence.name)));
        // A serial column already has a sequence. It is renamed, and the new sequence continues from its value.
        let older = sequence.as_ref().filter(|sequence| self.actual.objects.contains_key(sequence)).cloned();
        let has_default = self.actual_object(&object).is_some_and(|actual| actual.text("default").is_some());
        self.in_group(Some(group), &object, |builder| {
            let alter = format!("ALTER TABLE {from} ALTER COLUMN {name}");
            if has_default {
                builder.add(Phase::Alter, format!("{alter} DROP DEFAULT"));
            }
            if column.is("not_null") {
                builder.add(Phase::Alter, format!("{alter} SET NOT NULL"));
            }
            let before = older.as_ref().map(|older| {
                let name = format!("tenantry_{}", older.name);
                let renamed = builder.qualified(&name);
                let rename = format!("ALTER SEQUENCE {} RENAME TO {}", builder.qualified(&older.name), ident(&name));
                builder.add(Phase::Alter, rename);
                renamed
            });
            builder.add(Phase::Alter, format!("{alter} ADD GENERATED {add}"));
            match (to, before) {
                (Some(to), Some(before)) => {
                    let next =
                        format!("SELECT pg_catalog.setval({}, last_value, is_called) FROM {before}", literal(&to));
                    builder.add(Phase::Alter, next);
                    builder.add(Phase::Alter, format!("DROP SEQUENCE {before}"));
                }
                (Some(to), None) => builder.continue_after(&to, &from, &name),
                (None, _) => {}
            }
        });
        if let Some(sequence) = sequence {
            self.begin_creation(&sequence);
            self.add_identity_sequence_properties(&sequence);
        }
    }

    fn add_identity_sequence_properties(&mut self, sequence: &Identity) {
        let Some(object) = self.expected_object(sequence) else { return };
        self.in_group(None, sequence, |builder| {
            if object.facts.contains_key("grants") {
                builder.grants(&object, None);
            }
            if object.facts.contains_key("comment") {
                builder.comment(&object);
            }
        });
    }
}

fn when(identity: &str) -> &'static str {
    if identity == "a" { "ALWAYS" } else { "BY DEFAULT" }
}
