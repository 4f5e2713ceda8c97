//! The codes of errors: `docs/errors.md` lists the codes of every error type, and each code has one meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use regex::Regex;

use crate::support::source::{root, sources};

/// Types that are errors only for the standard library: the text that is another error's source, and the result of a parser
/// that the crate does not export.
const WITHOUT_CODE: [&str; 2] = ["LastLines", "Unterminated"];

/// The types that have each code.
type Codes = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_code_is_described_with_its_types() {
    let (codes, _) = in_source();
    assert!(codes.len() > 80, "{codes:?}");
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$").unwrap();
    let mut described = Codes::new();
    for found in row.captures_iter(&page) {
        let types = found[2].split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        assert_eq!(described.insert(found[1].to_owned(), types), None, "{} has one meaning", &found[1]);
    }
    assert_eq!(codes, described);
    let kebab = Regex::new("^[a-z]+(-[a-z]+)*$").unwrap();
    let other: Vec<&String> = codes.keys().filter(|code| !kebab.is_match(code)).collect();
    assert_eq!(other, [""; 0]);
}

#[test]
fn every_public_error_type_has_a_code() {
    let (_, with_code) = in_source();
    let error = Regex::new(r"(?s)#\[derive\([^)]*\bError\)\](?:\s*#\[[^\n]*)*\s*pub (?:enum|struct) (\w+)").unwrap();
    let mut without = BTreeSet::new();
    for path in sources("src") {
        let text = fs::read_to_string(&path).unwrap();
        for found in error.captures_iter(&text) {
            let name = qualified(&path, &found[1]);
            if !with_code.contains(&name) {
                without.insert(name);
            }
        }
    }
    assert_eq!(without, WITHOUT_CODE.map(str::to_owned).into());
}

/// The codes in the source, and the types that have a function `code`.
fn in_source() -> (Codes, BTreeSet<String>) {
    let function = Regex::new(r"(?s)\n    pub fn code\(&self\) -> &'static str \{\n(.*?)\n    \}\n").unwrap();
    let implementation = Regex::new(r"(?m)^impl(?:<[^>]*>)? (\w+)").unwrap();
    let literal = Regex::new(r#"(?:=>|^)\s*(?:\{\s*)?"([^"]+)""#).unwrap();
    let (mut codes, mut types) = (Codes::new(), BTreeSet::new());
    for path in sources("src") {
        let text = fs::read_to_string(&path).unwrap();
        for found in function.captures_iter(&text) {
            let before = &text[..found.get(0).unwrap().start()];
            let name = implementation.captures_iter(before).last().expect("an impl precedes the function");
            let name = qualified(&path, &name[1]);
            for code in literal.captures_iter(&found[1]) {
                codes.entry(code[1].to_owned()).or_default().insert(name.clone());
            }
            types.insert(name);
        }
    }
    (codes, types)
}

/// `Error` of the module `postgres` is another type than the crate's.
fn qualified(path: &std::path::Path, name: &str) -> String {
    if name == "Error" && path.ends_with("src/postgres/error.rs") {
        return "postgres::Error".to_owned();
    }
    name.to_owned()
}
