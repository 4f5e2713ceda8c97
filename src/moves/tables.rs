//! The tables and sequences of a tenant, and the checksums of rows.

use std::collections::BTreeMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Text};
use sha2::{Digest, Sha256};

use crate::model::SchemaName;
use crate::postgres::raw::{RawFailure, RawSession};
use crate::sql::quote::{Identifier, Literal};
use crate::tenants::ledger;

/// A table of a tenant.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct MovedTable {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// The columns that are not generated.
    #[diesel(sql_type = Array<Text>)]
    pub(super) columns: Vec<String>,
    /// Whether it has rows of its own. Those of a partitioned table are in its partitions.
    #[diesel(sql_type = Bool)]
    pub(super) has_rows: bool,
    /// `d`, `n`, `f` or `i`.
    #[diesel(sql_type = Text)]
    pub(super) identity: String,
    #[diesel(sql_type = Bool)]
    pub(super) has_key: bool,
    /// Whether the WAL does not have its changes.
    #[diesel(sql_type = Bool)]
    pub(super) is_unlogged: bool,
}

/// A sequence and its value.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub(super) struct SequenceValue {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = BigInt)]
    pub(super) value: i64,
    #[diesel(sql_type = Bool)]
    pub(super) is_called: bool,
}

/// The number of the rows of a table, and a checksum that does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RowsDigest {
    pub(super) rows: u64,
    sum: u128,
}

impl RowsDigest {
    /// Adds a row, as `COPY` writes it.
    pub(super) fn add(&mut self, row: &[u8]) {
        let mut head = [0; 16];
        head.copy_from_slice(&Sha256::digest(row)[..16]);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(head));
    }

    /// The number and the checksum as text.
    pub(super) fn text(&self) -> String {
        format!("{}:{:032x}", self.rows, self.sum)
    }
}

/// The digests of tables, by name.
pub(super) type Digests = BTreeMap<String, RowsDigest>;

/// The tables of a schema without the ledger, by name.
pub(super) fn tables(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Vec<MovedTable>> {
    sql_query(
        "SELECT c.relname::text AS name, c.relkind = 'r' AS has_rows, c.relreplident::text AS identity, \
         c.relpersistence = 'u' AS is_unlogged, \
         EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary) AS has_key, \
         ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 \
             AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> $2 ORDER BY c.relname COLLATE \"C\"",
    )
    .bind::<Text, _>(schema.as_str())
    .bind::<Text, _>(ledger::TABLE)
    .load(conn)
}

impl MovedTable {
    /// The qualified name in a schema.
    pub(super) fn qualified(&self, schema: &SchemaName) -> String {
        format!("{}.{}", Identifier::from(schema), Identifier::of_object(&self.name))
    }

    /// The table and its columns for `COPY`, which plans nothing and evaluates no expression of an index or a policy.
    fn for_copy(&self, schema: &SchemaName) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|column| Identifier::of_object(column).to_string()).collect();
        let list = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        self.qualified(schema) + &list
    }

    /// `COPY … TO STDOUT` of the rows in a schema.
    pub(super) fn copy_out(&self, schema: &SchemaName) -> String {
        format!("COPY {} TO STDOUT", self.for_copy(schema))
    }

    /// `COPY … FROM STDIN` into a schema.
    pub(super) fn copy_in(&self, schema: &SchemaName) -> String {
        format!("COPY {} FROM STDIN", self.for_copy(schema))
    }
}

/// Reads the rows of tables, and returns their digests.
pub(super) fn digests(
    session: &mut RawSession,
    schema: &SchemaName,
    tables: &[MovedTable],
) -> Result<Digests, RawFailure> {
    let mut found = Digests::new();
    for table in tables.iter().filter(|table| table.has_rows) {
        let mut digest = RowsDigest::default();
        session.copy_rows(&table.copy_out(schema), &mut |row| {
            digest.add(row);
            Ok(())
        })?;
        found.insert(table.name.clone(), digest);
    }
    Ok(found)
}

/// What differs between digests, for a person.
pub(super) fn differing(expected: &Digests, found: &Digests) -> Vec<String> {
    let mut differing = Vec::new();
    for (table, digest) in expected {
        match found.get(table) {
            Some(other) if other == digest => {}
            Some(other) if other.rows == digest.rows => differing.push(format!("{table} ({} rows)", digest.rows)),
            Some(other) => differing.push(format!("{table} ({} rows instead of {})", other.rows, digest.rows)),
            None => differing.push(format!("{table} (missing)")),
        }
    }
    differing
        .extend(found.keys().filter(|table| !expected.contains_key(*table)).map(|table| format!("{table} (extra)")));
    differing
}

/// The sequences of a schema.
pub(super) fn sequences(conn: &mut PgConnection, schema: &SchemaName) -> QueryResult<Vec<SequenceValue>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT c.relname::text AS name FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind = 'S' ORDER BY c.relname COLLATE \"C\"",
    )
    .bind::<Text, _>(schema.as_str())
    .load(conn)?;
    let mut values = Vec::new();
    for chunk in rows.chunks(crate::postgres::CHUNK) {
        let queries: Vec<String> = chunk
            .iter()
            .map(|row| {
                let name = Identifier::of_object(&row.name);
                format!(
                    "SELECT {}::text AS name, s.last_value AS value, s.is_called FROM {}.{name} AS s",
                    Literal(&row.name),
                    Identifier::from(schema)
                )
            })
            .collect();
        values.extend(sql_query(queries.join(" UNION ALL ")).load::<SequenceValue>(conn)?);
    }
    Ok(values)
}

/// Statements that set the values of sequences in a schema.
pub(super) fn set_sequences(schema: &SchemaName, values: &[SequenceValue]) -> String {
    let set = |one: &SequenceValue| {
        let name = format!("{}.{}", Identifier::from(schema), Identifier::of_object(&one.name));
        format!("SELECT pg_catalog.setval({}::pg_catalog.regclass, {}, {});", Literal(&name), one.value, one.is_called)
    };
    values.iter().map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&str]) -> RowsDigest {
        let mut digest = RowsDigest::default();
        rows.iter().for_each(|row| digest.add(row.as_bytes()));
        digest
    }

    #[test]
    fn a_checksum_depends_on_the_rows_and_not_on_their_order() {
        assert_eq!(digest(&["1\ta\n", "2\tb\n"]), digest(&["2\tb\n", "1\ta\n"]));
        assert_ne!(digest(&["1\ta\n"]), digest(&["1\tb\n"]));
        assert_ne!(digest(&["1\ta\n", "1\ta\n"]), digest(&["1\ta\n"]));
        assert_ne!(digest(&["1\ta\n", "1\ta\n"]), digest(&["1\tb\n", "1\tb\n"]));
    }

    #[test]
    fn differences_name_the_tables() {
        let of = |pairs: &[(&str, &[&str])]| -> Digests {
            pairs.iter().map(|(table, rows)| ((*table).to_owned(), digest(rows))).collect()
        };
        let expected = of(&[("a", &["1"]), ("b", &["1", "2"]), ("c", &[]), ("d", &["x"])]);
        assert_eq!(differing(&expected, &expected), [""; 0]);
        let found = of(&[("a", &["2"]), ("b", &["1"]), ("d", &["x"]), ("e", &[])]);
        assert_eq!(differing(&expected, &found), ["a (1 rows)", "b (1 rows instead of 2)", "c (missing)", "e (extra)"]);
    }
}
