//! The rows of tenants as a table, CSV or JSON.

use std::fmt;

use anyhow::{Context as _, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::cli::output::Output;
use crate::operations::ExecResult;

/// The first column.
const TENANT: &str = "tenant";

/// A row as JSON has it: columns in their order, also if several have the same name. The values are the server's text.
pub(super) struct JsonRow(Vec<(String, Box<RawValue>)>);

impl JsonRow {
    pub(super) fn all_of(result: &ExecResult) -> Result<Vec<Self>> {
        result.rows.iter().map(|row| serde_json::from_str(row).context("cannot read a row")).collect()
    }
}

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = JsonRow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonRow, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(JsonRow(columns))
            }
        }
        deserializer.deserialize_map(RowVisitor)
    }
}

impl Serialize for JsonRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A value as text. NULL is empty.
fn text(value: &RawValue) -> Result<String> {
    Ok(match value.get() {
        "null" => String::new(),
        json if json.starts_with('"') => serde_json::from_str(json).context("cannot read a value")?,
        json => json.to_owned(),
    })
}

/// The rows of all tenants.
pub(super) struct FleetRows<'a> {
    rows: Vec<(&'a str, JsonRow)>,
    /// The columns of all tenants, in the order of their first appearance. A name that a row has several times is several
    /// columns.
    columns: Vec<(String, usize)>,
}

impl<'a> FleetRows<'a> {
    pub(super) fn of(results: &'a [ExecResult]) -> Result<Self> {
        let mut all = Self { rows: Vec::new(), columns: Vec::new() };
        for result in results {
            for row in JsonRow::all_of(result)? {
                for column in numbered(&row) {
                    if !all.columns.contains(&column) {
                        all.columns.push(column);
                    }
                }
                all.rows.push((result.tenant.as_str(), row));
            }
        }
        Ok(all)
    }

    fn head(&self) -> Vec<&str> {
        std::iter::once(TENANT).chain(self.columns.iter().map(|(name, _)| name.as_str())).collect()
    }

    /// The cells of each row. A column that the row does not have is empty.
    fn cells(&self) -> Result<Vec<Vec<String>>> {
        let cells = |(tenant, row): &(&str, JsonRow)| -> Result<Vec<String>> {
            let names = numbered(row);
            let mut cells = vec![(*tenant).to_owned()];
            for column in &self.columns {
                let value = names.iter().position(|name| name == column).map(|place| &row.0[place].1);
                cells.push(value.map_or(Ok(String::new()), |value| text(value))?);
            }
            Ok(cells)
        };
        self.rows.iter().map(cells).collect()
    }

    /// Prints nothing if no tenant returned a row: the names of the columns are not known.
    pub(super) fn print_table(&self, output: &Output) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        output.table(&self.head(), self.cells()?)
    }

    pub(super) fn print_csv(&self, output: &Output) -> Result<()> {
        output.csv(&self.head(), self.cells()?)
    }

    pub(super) fn print_json_lines(&self, output: &Output) -> Result<()> {
        #[derive(Serialize)]
        struct JsonLine<'a> {
            tenant: &'a str,
            row: &'a JsonRow,
        }
        let lines: serde_json::Result<Vec<String>> =
            self.rows.iter().map(|(tenant, row)| serde_json::to_string(&JsonLine { tenant, row })).collect();
        output.json_lines(lines?)
    }
}

/// The names of the columns of a row, each with the number of columns of that name before it.
fn numbered(row: &JsonRow) -> Vec<(String, usize)> {
    let mut names: Vec<(String, usize)> = Vec::with_capacity(row.0.len());
    for (name, _) in &row.0 {
        let before = names.iter().filter(|(other, _)| other == name).count();
        names.push((name.clone(), before));
    }
    names
}
