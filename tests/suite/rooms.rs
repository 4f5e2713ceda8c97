//! The layers of `src/`: a module imports only from modules of lower layers, so that there is no cycle of imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::support::source::{root, sources};

/// The top-level modules from the bottom to the top. A module may import from those before it. ARCHITECTURE.md has the
/// same list, with the purpose of each.
const LAYERS: [&str; 24] = [
    "text",
    "model",
    "sql",
    "migration",
    "postgres",
    "error",
    "tenants",
    "database",
    "record",
    "roles",
    "run",
    "confine",
    "schema",
    "operations",
    "servers",
    "moves",
    "rows",
    "health",
    "probe",
    "lint",
    "local",
    "backup",
    "application",
    "cli",
];

/// The modules of `schema`, from the bottom to the top.
const SCHEMA: [&str; 4] = ["structure", "reference", "drift", "snapshot"];

/// The names of types that several modules have for the same thing, each its own: the arguments and the JSON document of a
/// command, the row of a query, and the errors of the crate and of its module `postgres`.
const REPEATED: [&str; 4] = ["Args", "Document", "Error", "Row"];

#[test]
fn no_module_imports_from_a_higher_layer() {
    assert_eq!(climbing("src", "crate", &LAYERS), BTreeSet::new());
    assert_eq!(climbing("src/schema", "crate::schema", &SCHEMA), BTreeSet::new());
}

/// The check finds an import from a higher layer.
#[test]
fn import_from_a_higher_layer_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("low.rs", "//! Uses [`crate::high`] in a comment only.\nuse crate::low::x;\n");
    write("high/mod.rs", "use crate::low;\n");
    assert_eq!(climbing(dir.path(), "crate", &["low", "high"]), BTreeSet::new());
    write("low.rs", "use crate::{high::x, low::y};\n");
    let found = climbing(dir.path(), "crate", &["low", "high"]);
    assert_eq!(found, BTreeSet::from(["low.rs imports from high".to_owned()]));
    write("low.rs", "fn f() { crate::high::x() }\n");
    assert_eq!(climbing(dir.path(), "crate", &["low", "high"]).len(), 1);
}

#[test]
fn architecture_map_lists_the_layers_in_order() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map =
        text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("ARCHITECTURE.md has a map");
    let name = Regex::new(r"(?m)^  ([a-z_]+)(?:/|\.rs) ").unwrap();
    let listed: Vec<&str> = name.captures_iter(map).map(|found| found.get(1).unwrap().as_str()).collect();
    assert_eq!(listed, LAYERS);
}

#[test]
fn no_file_has_more_than_400_lines() {
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<_> = sources("src").into_iter().filter(|path| lines(path) > 400).collect();
    assert_eq!(long, [""; 0].map(Into::<std::path::PathBuf>::into));
}

/// A name stands for one type, except [`REPEATED`].
#[test]
fn no_name_stands_for_two_types() {
    let definition = Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type|union) (\w+)").unwrap();
    let associated = Regex::new(r"(?m)^ +type .*$").unwrap();
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources("src") {
        let text = fs::read_to_string(&path).unwrap();
        for found in definition.captures_iter(&associated.replace_all(&text, "")) {
            let file = path.strip_prefix(root()).unwrap().display().to_string();
            files.entry(found[1].to_owned()).or_default().push(file);
        }
    }
    files.retain(|name, files| files.len() > 1 && !REPEATED.contains(&name.as_str()));
    assert_eq!(files, BTreeMap::new());
}

/// A call with `true` or `false` does not show what it does: parameters are enums.
#[test]
fn no_function_has_a_boolean_parameter() {
    let function = Regex::new(r"\bfn (\w+)(?:<[^(]*>)?\(").unwrap();
    let boolean = Regex::new(r":\s*bool\b").unwrap();
    let mut found = BTreeSet::new();
    for path in sources("src") {
        let text = fs::read_to_string(&path).unwrap();
        for start in function.captures_iter(&text) {
            let rest = &text[start.get(0).unwrap().end()..];
            let mut depth = 1;
            let end = rest.find(|character| {
                depth += match character {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            if boolean.is_match(&rest[..end.unwrap()]) {
                found.insert(format!("{}: {}", path.display(), &start[1]));
            }
        }
    }
    assert_eq!(found, BTreeSet::new());
}

/// `AsyncTenants` offers what `Tenants` offers.
#[test]
fn async_tenants_has_the_functions_of_tenants() {
    let functions = |path: &str| -> BTreeSet<String> {
        let function = Regex::new(r"\n    pub (?:async )?fn (\w+)").unwrap();
        let text = fs::read_to_string(root().join(path)).unwrap();
        function.captures_iter(&text).map(|found| found[1].to_owned()).collect()
    };
    let tenants = functions("src/application/tenants.rs");
    assert!(tenants.contains("each"));
    // It has one pool.
    let synchronous: BTreeSet<String> = ["locate", "with_servers"].map(str::to_owned).into();
    let missing: BTreeSet<String> = &tenants - &functions("src/application/asynchronous.rs");
    assert_eq!(missing, synchronous);
}

/// The imports in `dir`, relative to the repository, from modules that come later in `layers`.
fn climbing(dir: impl AsRef<Path>, prefix: &str, layers: &[&str]) -> BTreeSet<String> {
    let dir = root().join(dir);
    let rank: BTreeMap<&str, usize> = layers.iter().enumerate().map(|(rank, name)| (*name, rank)).collect();
    let mut modules = BTreeSet::new();
    let mut found = BTreeSet::new();
    for path in sources(&dir) {
        let relative = path.strip_prefix(&dir).unwrap().to_str().unwrap().to_owned();
        let module = relative.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "main", "mod"].contains(&module.as_str()) {
            continue;
        }
        let own = *rank.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no place among the layers"));
        for name in imported(&fs::read_to_string(&path).unwrap(), prefix) {
            if rank.get(name.as_str()).is_some_and(|other| *other > own) {
                found.insert(format!("{relative} imports from {name}"));
            }
        }
        modules.insert(module);
    }
    assert_eq!(modules.len(), layers.len(), "every layer exists");
    found
}

/// The modules after `prefix::` in the code, outside comments; for a group, each member.
fn imported(code: &str, prefix: &str) -> BTreeSet<String> {
    let comment = Regex::new("(?m)//.*$").unwrap();
    let code = comment.replace_all(code, "");
    let path = Regex::new(&format!(r"\b{prefix}::(\w+|\{{)")).unwrap();
    let member = Regex::new(r"^\s*(\w+)").unwrap();
    let mut names = BTreeSet::new();
    for found in path.captures_iter(&code) {
        let first = found.get(1).unwrap();
        if first.as_str() != "{" {
            names.insert(first.as_str().to_owned());
            continue;
        }
        let mut depth = 1;
        let mut start = first.end();
        for (at, character) in code[first.end()..].char_indices() {
            let at = first.end() + at;
            depth += match character {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            if depth == 0 || depth == 1 && character == ',' {
                names.extend(member.captures(&code[start..at]).map(|name| name[1].to_owned()));
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}
