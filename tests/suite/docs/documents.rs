//! Whether `docs/json.md` describes the JSON documents that it shows: each key, and the type of each value.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::anchor;
use crate::language::helps;
use crate::support::source::root;

/// The fields of each kind of object, by the anchor of its heading: the key, and the types of its value.
type Tables = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn every_document_matches_its_description() {
    let text = std::fs::read_to_string(root().join("docs/json.md")).expect("the page");
    let tables = tables(&text);
    let mut problems = Vec::new();
    let mut shown = 0;
    for (heading, document) in documents(&text) {
        check_object(&document, &heading, &heading, &tables, &mut problems);
        shown += 1;
    }
    assert_eq!(problems, [""; 0]);
    assert!(shown > 15, "only {shown} documents are shown");
}

#[test]
fn a_document_that_differs_from_its_description_is_reported() {
    let text = "## a\n| `one` | integer or null | x |\n| `many` | array of [b](#b) | x |\n## b\n| `x` | string | x |\n";
    let problems = |document: &str| {
        let mut problems = Vec::new();
        check_object(&serde_json::from_str(document).unwrap(), "a", "a", &tables(text), &mut problems);
        problems
    };
    assert_eq!(problems(r#"{"one": 1, "many": [{"x": "y"}]}"#), [""; 0]);
    assert_eq!(problems(r#"{"one": null, "many": []}"#), [""; 0]);
    assert_eq!(problems(r#"{"one": "1", "many": []}"#), ["a.one: \"1\" is not: integer or null"]);
    assert_eq!(problems(r#"{"one": 1, "many": [{"x": 2}]}"#), ["a.many.x: 2 is not: string"]);
    assert_eq!(problems(r#"{"one": 1, "more": 2, "many": []}"#), ["a.more: not described"]);
    assert_eq!(problems(r#"{"one": 1}"#), ["a.many: described, but not in the document"]);
}

/// The problems of a document, by the description of a section of the page.
pub fn problems(section: &str, document: &Value) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/json.md")).expect("the page");
    let mut problems = Vec::new();
    check_object(document, section, section, &tables(&text), &mut problems);
    problems
}

/// The commands that print no JSON: scripts, pages and the output of other commands.
const WITHOUT_DOCUMENT: [&str; 10] =
    ["browse", "completions", "demo", "local", "local psql", "local stop", "man", "metrics", "psql", "reference"];

#[test]
fn every_command_with_a_document_has_a_section() {
    let text = std::fs::read_to_string(root().join("docs/json.md")).expect("the page");
    let is_described = |command: &str| {
        let heading = text.lines().any(|line| line == format!("### {command}"));
        heading || text.lines().any(|line| line.contains(&format!("`{command}`")) && line.contains(" print"))
    };
    let groups = ["benchmark", "key", "server", "shared"];
    let commands = helps().into_iter().filter_map(|(name, _)| name.strip_prefix("help ").map(str::to_owned));
    let missing: Vec<String> = commands
        .filter(|command| !WITHOUT_DOCUMENT.contains(&command.as_str()) && !groups.contains(&command.as_str()))
        .filter(|command| !is_described(command))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// A section may extend the fields of another section.
fn tables(text: &str) -> Tables {
    let row = Regex::new(r"^\| `(\w+)` \| ([^|]+) \|").expect("a pattern");
    let also = Regex::new(r"^The fields of an? \[[^\]]+\]\(#([\w-]+)\), and:").expect("a pattern");
    let mut tables = Tables::new();
    let mut extended = Vec::new();
    let mut heading = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            heading = anchor(line);
        } else if let Some(found) = row.captures(line) {
            tables.entry(heading.clone()).or_default().insert(found[1].to_owned(), found[2].to_owned());
        } else if let Some(found) = also.captures(line) {
            extended.push((heading.clone(), found[1].to_owned()));
        }
    }
    for (heading, base) in extended {
        let fields = tables.get(&base).unwrap_or_else(|| panic!("no table for {base}")).clone();
        tables.entry(heading).or_default().extend(fields);
    }
    tables
}

/// The documents that commands print, each with its heading.
fn documents(text: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut heading = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("## ") || line.starts_with("### ") {
            heading = anchor(line);
        } else if line.starts_with("$ ") {
            let mut output = String::new();
            while let Some(more) = lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with("```")) {
                output += more;
                output.push('\n');
            }
            if output.starts_with('{') {
                let value = serde_json::from_str(&output);
                found.push((heading.clone(), value.unwrap_or_else(|error| panic!("{error} in the output of {line}"))));
            }
        }
    }
    found
}

fn check_object(value: &Value, kind: &str, path: &str, tables: &Tables, problems: &mut Vec<String>) {
    let (Some(object), Some(table)) = (value.as_object(), tables.get(kind)) else {
        problems.push(format!("{path}: no object, or there is no table for {kind}"));
        return;
    };
    for (key, value) in object {
        let path = format!("{path}.{key}");
        match table.get(key) {
            Some(types) => check_value(value, types, &path, tables, problems),
            None => problems.push(format!("{path}: not described")),
        }
    }
    for key in table.keys().filter(|key| !object.contains_key(*key)) {
        problems.push(format!("{path}.{key}: described, but not in the document"));
    }
}

fn check_value(value: &Value, types: &str, path: &str, tables: &Tables, problems: &mut Vec<String>) {
    let alternatives: Vec<&str> = types.trim().split(" or ").collect();
    let object = alternatives.iter().find_map(|kind| kind.trim_start_matches("array of ").split_once("](#"));
    let object = object.map(|(_, anchor)| anchor.trim_end_matches(')'));
    let is = |kind: &str| alternatives.contains(&kind);
    let (fits, nested) = match value {
        Value::Null => (is("null"), Vec::new()),
        Value::Bool(_) => (is("boolean"), Vec::new()),
        Value::Number(number) => (is("integer") && number.is_i64(), Vec::new()),
        Value::String(_) => (is("string"), Vec::new()),
        // Their fields are those of the user's query.
        Value::Array(values) if is("array of objects") => (values.iter().all(Value::is_object), Vec::new()),
        Value::Array(values) if is("array of strings") => (values.iter().all(Value::is_string), Vec::new()),
        Value::Array(values) => (types.contains("array of ["), values.iter().collect()),
        // Their keys are the user's.
        Value::Object(fields) if is("object of strings") => (fields.values().all(Value::is_string), Vec::new()),
        Value::Object(_) => (!types.contains("array of") && object.is_some(), vec![value]),
    };
    if !fits {
        problems.push(format!("{path}: {value} is not: {}", types.trim()));
    }
    for value in nested {
        check_object(value, object.unwrap_or_default(), path, tables, problems);
    }
}
