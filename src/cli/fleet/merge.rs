//! Puts together what a command printed on several servers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use prometheus::proto::MetricFamily;
use quick_junit::TestSuite;
use serde_json::{Map, Value, json};

use super::outcome::ServerOutcome;
use crate::cli::commands::write_metrics;
use crate::cli::context::Context;
use crate::cli::junit;
use crate::cli::output::{Part, TableForm};

/// The column and the key with the server.
const SERVER: &str = "server";

/// Prints what a command printed on several servers, with the server of each row.
pub(super) fn print(context: &Context, outcomes: &[ServerOutcome]) -> Result<()> {
    let output = context.output();
    let mut all = AllParts::default();
    for outcome in outcomes {
        for part in outcome.gathered.take() {
            all.add(outcome.server.name.as_str(), part);
        }
    }
    if output.is_json() {
        output.json(&document(outcomes, &all.documents))?;
    }
    if !all.json_lines.is_empty() {
        output.json_lines(all.json_lines)?;
    }
    if !all.lines.is_empty() {
        print_lines(context, all.lines)?;
    }
    for table in all.tables {
        table.print(context)?;
    }
    if let Some(path) = all.junit_path {
        junit::write(&path, all.suites)?;
    }
    if !all.metrics.is_empty() {
        write_metrics(&all.metrics.into_values().collect::<Vec<_>>(), all.metrics_path.as_deref())?;
    }
    Ok(())
}

/// Lines need no server if each of the servers has one list of names, and else are below the name of the server.
fn print_lines(context: &Context, lines: Vec<(String, Vec<String>)>) -> Result<()> {
    let mut all = Vec::new();
    for (_, mut lines) in lines {
        all.append(&mut lines);
    }
    context.output().lines(all)
}

/// The parts of all servers.
#[derive(Default)]
struct AllParts {
    documents: Vec<(String, Value)>,
    json_lines: Vec<String>,
    lines: Vec<(String, Vec<String>)>,
    tables: Vec<MergedTable>,
    suites: Vec<TestSuite>,
    junit_path: Option<PathBuf>,
    metrics: BTreeMap<String, MetricFamily>,
    metrics_path: Option<PathBuf>,
}

impl AllParts {
    fn add(&mut self, server: &str, part: Part) {
        match part {
            Part::Json(document) => self.documents.push((server.to_owned(), document)),
            Part::JsonLines(lines) => {
                let with_server = lines.into_iter().map(|line| match serde_json::from_str(&line) {
                    Ok(Value::Object(object)) => Value::Object(with_server(object, server)).to_string(),
                    _ => line,
                });
                self.json_lines.extend(with_server);
            }
            Part::Lines(lines) => self.lines.push((server.to_owned(), lines)),
            Part::Table { head, rows, form } => self.add_table(server, &head, rows, form),
            Part::Junit(mut suite, path) => {
                suite.name = format!("{server}: {}", suite.name.as_str()).into();
                self.suites.push(*suite);
                self.junit_path = Some(path);
            }
            Part::Metrics(families, path) => {
                for mut family in families {
                    match self.metrics.get_mut(family.name()) {
                        Some(known) => {
                            let own = family.take_metric();
                            known.mut_metric().extend(own);
                        }
                        None => {
                            self.metrics.insert(family.name().to_owned(), family);
                        }
                    }
                }
                self.metrics_path = path;
            }
        }
    }

    /// Adds rows to the first table whose first column is the same.
    fn add_table(&mut self, server: &str, head: &[String], rows: Vec<Vec<String>>, form: TableForm) {
        let same = |table: &&mut MergedTable| table.form == form && table.head.first() == head.first();
        let table = match self.tables.iter_mut().find(same) {
            Some(table) => table,
            None => {
                self.tables.push(MergedTable { head: head.to_vec(), rows: Vec::new(), form });
                let last = self.tables.len() - 1;
                &mut self.tables[last]
            }
        };
        table.head.extend(head.iter().filter(|cell| !table.head.contains(cell)).cloned().collect::<Vec<_>>());
        for cells in rows {
            let named = head.iter().cloned().zip(cells).collect();
            table.rows.push((server.to_owned(), named));
        }
    }
}

/// A table of all servers. The cells of a row are by the head of their column.
struct MergedTable {
    head: Vec<String>,
    rows: Vec<(String, Vec<(String, String)>)>,
    form: TableForm,
}

impl MergedTable {
    fn print(self, context: &Context) -> Result<()> {
        let mut head = vec![SERVER];
        head.extend(self.head.iter().map(String::as_str));
        let empty = match self.form {
            TableForm::Drawn => "-",
            TableForm::Csv => "",
        };
        let rows = self.rows.into_iter().map(|(server, mut named)| {
            let mut cells = vec![server];
            for column in &self.head {
                let at = named.iter().position(|(name, _)| name == column);
                cells.push(at.map_or_else(|| empty.to_owned(), |at| named.swap_remove(at).1));
            }
            cells
        });
        let rows: Vec<Vec<String>> = rows.collect();
        match self.form {
            TableForm::Drawn => context.output().table(&head, rows),
            TableForm::Csv => context.output().csv(&head, rows),
        }
    }
}

/// The document of a command on several servers: `servers` has what each server did. Lists of the servers' documents are put
/// together, and their objects have the server. Numbers are added; a truth is true if it is true on every server; anything
/// else is null unless it is the same everywhere.
fn document(outcomes: &[ServerOutcome], documents: &[(String, Value)]) -> Value {
    let mut merged = Map::new();
    let servers: Vec<Value> = outcomes.iter().map(|outcome| server_document(outcome, documents)).collect();
    merged.insert("servers".to_owned(), Value::Array(servers));
    let objects: Vec<(&str, &Map<String, Value>)> = documents
        .iter()
        .filter_map(|(server, document)| Some((server.as_str(), document.as_object()?)))
        .filter(|(_, object)| !object.contains_key("error") || object.len() > 1)
        .collect();
    let coverage = if outcomes.iter().all(|outcome| outcome.exit.is_some()) { Coverage::All } else { Coverage::Some };
    for (server, object) in objects {
        for (key, value) in object {
            let value = located(key, value, server, coverage);
            match merged.get_mut(key) {
                Some(known) => add(known, value),
                None => {
                    merged.insert(key.clone(), value);
                }
            }
        }
    }
    Value::Object(merged)
}

/// What a command did on a server.
fn server_document(outcome: &ServerOutcome, documents: &[(String, Value)]) -> Value {
    let error = outcome.document.as_ref().and_then(|document| serde_json::to_value(document).ok());
    let own = documents.iter().find(|(server, _)| server == outcome.server.name.as_str());
    let run = own.and_then(|(_, document)| document.get("run")).cloned().unwrap_or(Value::Null);
    json!({
        "server": outcome.server.name.as_str(),
        "region": outcome.server.region,
        "exit_code": outcome.exit.map(crate::cli::exit::Exit::code),
        "run": run,
        "error": error.map_or(Value::Null, |mut error| error["error"].take()),
        "not_reached": outcome.not_reached,
    })
}

/// Whether all servers were reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    All,
    Some,
}

/// A value of a server's document in the document of all servers.
fn located(key: &str, value: &Value, server: &str, coverage: Coverage) -> Value {
    match value {
        // The ids of different servers have nothing in common.
        _ if key == "run" => Value::Null,
        Value::Array(items) => {
            let item = |item: &Value| match item {
                Value::Object(object) => Value::Object(with_server(object.clone(), server)),
                other => other.clone(),
            };
            Value::Array(items.iter().map(item).collect())
        }
        Value::Bool(truth) => Value::Bool(*truth && coverage == Coverage::All),
        other => other.clone(),
    }
}

/// Adds the value of another server.
fn add(known: &mut Value, value: Value) {
    match (&mut *known, value) {
        (Value::Array(known), Value::Array(mut more)) => known.append(&mut more),
        (Value::Bool(known), Value::Bool(more)) => *known = *known && more,
        (Value::Number(one), Value::Number(other)) => {
            let sum = one.as_i64().zip(other.as_i64()).and_then(|(one, other)| one.checked_add(other));
            *known = sum.map_or(Value::Null, Value::from);
        }
        (one, other) if *one == other => {}
        (one, _) => *one = Value::Null,
    }
}

/// The object with its server first.
fn with_server(object: Map<String, Value>, server: &str) -> Map<String, Value> {
    let mut located = Map::from_iter([(SERVER.to_owned(), Value::from(server))]);
    located.extend(object);
    located
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_servers_are_put_together() {
        let mut known = located("tenants", &json!([{ "name": "a" }]), "main", Coverage::All);
        add(&mut known, located("tenants", &json!([{ "name": "b" }]), "eu", Coverage::All));
        assert_eq!(known, json!([{ "server": "main", "name": "a" }, { "server": "eu", "name": "b" }]));
        for (one, other, both) in [
            (json!(2), json!(3), json!(5)),
            (json!(true), json!(false), json!(false)),
            (json!("x"), json!("x"), json!("x")),
            (json!("x"), json!("y"), json!(null)),
            (json!(null), json!("y"), json!(null)),
        ] {
            let mut known = one;
            add(&mut known, other);
            assert_eq!(known, both);
        }
        assert_eq!(located("healthy", &json!(true), "main", Coverage::Some), json!(false));
        assert_eq!(located("run", &json!(7), "main", Coverage::All), json!(null));
    }
}
