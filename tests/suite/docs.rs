//! The commands in README.md and `docs/`: the commands of each page run in order, in a shell with its own server, and
//! their output is compared with the page.
//!
//! `UPDATE_DOCS=1 cargo test --test suite -- docs::` writes the new output into the pages. A page consists of text and:
//!
//! - blocks marked `console`: lines that begin with `$ ` are commands, continued by lines that begin with `> `; what
//!   follows is what they print on standard output and standard error;
//! - blocks marked with a language and `file=PATH`: the block is written to that file;
//! - comments that begin with `<!-- run`: commands that run but are not shown to the reader.
//!
//! Other blocks are not run.

pub mod documents;
mod page;
mod session;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use page::Page;
use regex::Regex;
use session::Session;

use crate::language::helps;
use crate::support::normalized;
use crate::support::source::root;

macro_rules! pages {
    ($($test:ident: $path:literal;)*) => {
        const PAGES: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $test() {
                check($path);
            }
        )*
    };
}

pages! {
    readme: "README.md";
    adoption: "docs/adoption.md";
    ci: "docs/ci.md";
    copies: "docs/copies.md";
    drift: "docs/drift.md";
    getting_started: "docs/getting-started.md";
    isolation: "docs/isolation.md";
    json: "docs/json.md";
    lint: "docs/lint.md";
    moves: "docs/moves.md";
    operations: "docs/operations.md";
    roles_and_grants: "docs/roles-and-grants.md";
    servers: "docs/servers.md";
    shared_tables: "docs/shared-tables.md";
    upgrading: "docs/upgrading.md";
}

/// The text with placeholders for values that differ between runs or machines.
fn masked(text: &str) -> String {
    const MASKS: [(&str, &str); 8] = [
        (r#""pid": \d+"#, r#""pid": PID"#),
        // The name of the machine.
        (r"BY +|\bme@\S+ *", "me@HOST "),
        (r#""host": "[^"]*""#, r#""host": "HOST""#),
        // The version of the server.
        (r#""version": \d+,"#, r#""version": MAJOR,"#),
        // The version of a new migration is the current time.
        (r"\d{14}_(add_invoices|add_phone|baseline)", "VERSION_$1"),
        (r"(newest|up to) \d{14}", "$1 VERSION"),
        // The time in the name of a backup, and the size of an archive.
        (r"\d{8}T\d{6}Z\.dump", "TIME.dump"),
        (r"(rows?), [\d.]+ kB", "$1, SIZE"),
    ];
    MASKS.iter().fold(normalized(text), |text, (pattern, shown)| {
        Regex::new(pattern).expect("a pattern").replace_all(&text, *shown).into_owned()
    })
}

/// Runs the page's commands and compares what they print with the page, or rewrites the page.
fn check(path: &str) {
    let file = root().join(path);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    let page = Page::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let printed = Session::start().run(&page);
    let current = page.with_outputs(&printed, |old, new| masked(old) == masked(new));
    if current == text {
        return;
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, current).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let diff = similar::TextDiff::from_lines(&text, &current);
    let diff = diff.unified_diff().context_radius(6).header(path, "what the commands print").to_string();
    panic!("{path} differs from what its commands print; UPDATE_DOCS=1 rewrites it\n{diff}");
}

#[test]
fn every_page_with_commands_is_listed() {
    let mut found: BTreeSet<String> = ["README.md".to_owned()].into();
    for entry in fs::read_dir(root().join("docs")).expect("the folder docs") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            // Files for CI, which are no pages.
            continue;
        }
        let text = fs::read_to_string(&path).expect("a page");
        if text.contains("```console") {
            found.insert(format!("docs/{}", path.file_name().expect("a name").to_string_lossy()));
        }
    }
    assert_eq!(found, PAGES.iter().map(|page| (*page).to_owned()).collect());
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the page");
    let missing: Vec<String> = helps()
        .into_iter()
        .filter_map(|(name, _)| name.strip_prefix("help ").map(str::to_owned))
        .filter(|command| !command.contains(' ') && !readme.contains(&format!("`{command}`")))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// Every variable that a command reads is in the table of settings and in `.env.example`.
#[test]
fn every_setting_is_described() {
    let page = fs::read_to_string(root().join("docs/getting-started.md")).expect("the page");
    let example = fs::read_to_string(root().join(".env.example")).expect("the example");
    let variable = Regex::new(r"\[env: (\w+)").expect("a pattern");
    let mut missing = BTreeSet::new();
    for (_, help) in helps() {
        for found in variable.captures_iter(&help) {
            if !page.contains(&format!("`{}`", &found[1])) || !example.contains(&format!("{}=", &found[1])) {
                missing.insert(found[1].to_owned());
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn every_kind_of_finding_and_level_is_described() {
    let page = fs::read_to_string(root().join("docs/drift.md")).expect("the page");
    let kinds = tenantry::health::FindingKind::ALL.iter().map(|kind| kind.as_str());
    let servers = tenantry::servers::findings::ServerFindingKind::ALL.iter().map(|kind| kind.as_str());
    let levels = tenantry::schema::drift::Level::ALL.iter().map(|level| level.as_str());
    let missing: Vec<&str> =
        kinds.chain(servers).chain(levels).filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
    assert_eq!(missing, [""; 0]);
}

/// Links to files of the repository and to headings have a target.
#[test]
fn every_link_has_a_target() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    let mut broken = Vec::new();
    for page in markdown() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            if target.contains("://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().expect("a folder").join(path) };
            let known = file.exists()
                && (heading.is_empty() || headings(&fs::read_to_string(&file).expect("a page")).contains(heading));
            if !known {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// The anchors of a page's headings.
fn headings(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(line: &str) -> String {
    let words = line.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}

/// The pages of the repository.
fn markdown() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let paths = files.map(|entry| entry.expect("a file").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}
