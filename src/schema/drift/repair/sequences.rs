//! Sequences.

use super::Phase;
use super::builder::Builder;
use super::common::owning;
use super::text::{ident, literal, number};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};

impl Builder<'_> {
    pub(super) fn create_sequence(&mut self, sequence: &Object) {
        let name = self.qualified(&sequence.identity.name);
        // The sequence of an identity column is created with the column.
        if sequence.is("identity") {
            let Some((table, column)) = owning(sequence) else { return };
            let column = Identity { kind: Kind::Column, on: Some(table), name: column };
            return self.credit(&column);
        }
        let unlogged = if sequence.is("unlogged") { "UNLOGGED " } else { "" };
        let sql = format!("CREATE {unlogged}SEQUENCE {name}{}", type_of(sequence) + &options(sequence));
        self.add_creating(Phase::Sequence, &name, sql);
        self.add_owner_grants_comment(sequence);
        if sequence.facts.contains_key("owned_by") {
            self.alter_sequence(sequence, "owned_by");
        }
        if let Some((table, column)) = owning(sequence) {
            let holder = Identity { kind: Kind::Column, on: Some(table.clone()), name: column.clone() };
            if self.actual.objects.contains_key(&holder) {
                let (table, column) = (self.qualified(&table), ident(&column));
                self.continue_after(&name, &table, &column);
            }
        }
    }

    /// Sets a new sequence to the largest value of its column.
    pub(super) fn continue_after(&mut self, sequence: &str, table: &str, column: &str) {
        self.add(
            Phase::OwnedBy,
            format!(
                "SELECT pg_catalog.setval({}, max({column})) FROM {table} HAVING max({column}) IS NOT NULL",
                literal(sequence)
            ),
        );
    }

    pub(super) fn alter_sequence(&mut self, sequence: &Object, fact: &str) {
        let name = self.qualified(&sequence.identity.name);
        match fact {
            "type" | "start" | "increment" | "minimum" | "maximum" | "cache" | "cycle" => {
                let kind = if sequence.is("identity") { String::new() } else { type_of(sequence) };
                let cycle = if sequence.is("cycle") { "" } else { " NO CYCLE" };
                self.add(Phase::Sequence, format!("ALTER SEQUENCE {name}{kind}{}{cycle}", options(sequence)));
            }
            // Changes with the identity of the column.
            "owned_by" | "identity" if self.differs(&sequence.identity, "identity") => {
                if let Some((table, column)) = owning(sequence) {
                    self.credit(&Identity { kind: Kind::Column, on: Some(table), name: column });
                }
            }
            "owned_by" => {
                let owner = match (sequence.text(fact), owning(sequence)) {
                    (None, _) => "NONE".to_owned(),
                    (Some(_), Some((table, column))) => format!("{}.{}", self.qualified(&table), ident(&column)),
                    (Some(elsewhere), None) => elsewhere.to_owned(),
                };
                self.add(Phase::OwnedBy, format!("ALTER SEQUENCE {name} OWNED BY {owner}"));
            }
            "unlogged" if sequence.is(fact) => {
                let loss = format!("the current value of sequence {name} if the server crashes");
                let sql = format!("ALTER SEQUENCE {name} SET UNLOGGED");
                self.add_lossy(Phase::Sequence, sql, "a server crash would reset its value", loss);
            }
            "unlogged" => self.add(Phase::Sequence, format!("ALTER SEQUENCE {name} SET LOGGED")),
            _ => {}
        }
    }
}

fn type_of(sequence: &Object) -> String {
    format!(" AS {}", sequence.text("type").unwrap_or("bigint"))
}

/// The options of a sequence except its type.
pub(super) fn options(sequence: &Object) -> String {
    let words = [
        ("start", "START WITH"),
        ("increment", "INCREMENT BY"),
        ("minimum", "MINVALUE"),
        ("maximum", "MAXVALUE"),
        ("cache", "CACHE"),
    ];
    let mut options: String =
        words.iter().filter_map(|(fact, word)| Some(format!(" {word} {}", number(sequence, fact)?))).collect();
    if sequence.is("cycle") {
        options.push_str(" CYCLE");
    }
    options
}
