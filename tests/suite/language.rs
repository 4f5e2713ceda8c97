//! Words that no text of the project uses, because there is a plainer or a standard one.
//!
//! The check reads the help of every command, the source code with its tests, examples and benchmarks, the migrations, and
//! the documentation. It splits identifiers into words, so that names are checked as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use crate::support::source::root;
use crate::support::{Tenantry, set_up};

/// Patterns of words, and what to write instead.
const WORDS: &[(&str, &str)] = &[
    (r"amiss", "problem, finding"),
    (r"(un)?mend(s|ed|ing)?", "fix, repair"),
    (r"tell(s|er|ing)?|told", "report, show, print, list"),
    (r"says? (so|that|what|when|which|who|why)", "report, state"),
    (r"h(o|e)ld(s|ing)? (\S+ ){0,6}against", "compare with"),
    (r"lack(s|ed|ing)?", "has no, is missing"),
    (r"as the reference", "matches the reference"),
    (r"whole or not at all", "atomically, in one transaction"),
    (r"broken off|ended early", "interrupted, aborted"),
    (r"go(es|ing|ne)? on( with)?|went on", "resume, continue"),
    (r"put (aside|off)", "deferred for retry"),
    (r"at work|under way", "running, in progress"),
    (r"anew|once more", "again"),
    (r"(can|could|cannot) be had", "can be acquired"),
    (r"in the way( of)?", "blocked by"),
    (r"(is|are|was|were) gone", "does not exist, is lost, was dropped"),
    (r"(is|are|was|were) not there", "does not exist"),
    (r"that is none", "unknown"),
    (r"to be looked at", "to be checked"),
    (r"in (pieces|portions)", "in batches"),
    (r"beg[iu]ns? no other|no other was begun", "stop before the next tenant"),
    (r"all is (not )?well|is well with", "failed, healthy"),
    (r"what is meant|is meant to", "to accept, intended"),
    (r"what (stands|is wrong)", "the value found, the problem"),
    (r"as (it is|they are)\b[^.\n]{0,3}(\.|,|;|$)", "unchanged"),
    (r"keeps others from", "holds the lock"),
    (r"in vain", "without success"),
    (r"wants", "needs, requires"),
    (r"whoever|whichever|wherever", "name the person, the thing or the place"),
];

static FORBIDDEN: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(WORDS.iter().map(|(words, _)| format!(r"(?i)\b({words})(\b|$)"))).expect("the patterns are valid")
});

/// The boundaries between words in the name of a type.
static CAMEL_CASE: LazyLock<Regex> = LazyLock::new(|| Regex::new("([a-z])([A-Z])").expect("a valid pattern"));

#[test]
fn no_text_contains_a_listed_word() {
    let found: Vec<String> = texts().iter().flat_map(|(name, text)| problems(name, text)).collect();
    assert!(found.is_empty(), "replace these words:\n{}", found.join("\n"));
}

/// `\d+` shows the comments of the tables in `public`.
#[test]
fn no_comment_of_a_table_contains_a_listed_word() {
    let comments = "SELECT description FROM pg_description JOIN pg_class ON pg_class.oid = objoid \
                    WHERE classoid = 'pg_class'::regclass AND relnamespace = 'public'::regnamespace";
    let comments = set_up().strings(comments);
    assert!(comments.len() > 5, "{comments:#?}");
    assert_eq!(problems("comment", &comments.join("\n")), [""; 0]);
}

#[test]
fn listed_word_is_found_with_its_replacement() {
    assert_eq!(problems("a", "fine\nIt Tells more"), ["a:2: `Tells`: report, show, print, list"]);
    assert_eq!(problems("a", "held the tenant against it").len(), 1);
    assert_eq!(problems("a", "recommended, intelligible, the lock is held"), [""; 0]);
}

#[test]
fn listed_word_is_found_in_a_name() {
    assert_eq!(problems("a", "fn a_tenant_is_gone()"), ["a:1: `is gone`: does not exist, is lost, was dropped"]);
    assert_eq!(problems("a", "struct ToldAnew;").len(), 2);
    assert_eq!(problems("a", "fn unmended_telling() {}").len(), 2);
    assert_eq!(problems("a", "fn retold_intelligibly(recommended: Lackey)"), [""; 0]);
}

/// The words of the list in a text and in its identifiers, with their lines and what to write instead.
fn problems(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = CAMEL_CASE.replace_all(line, "$1 $2").replace('_', " ");
        for index in FORBIDDEN.matches(&words) {
            let pattern = Regex::new(&FORBIDDEN.patterns()[index]).expect("a valid pattern");
            let word = pattern.find(&words).expect("the set found it").as_str();
            problems.push(format!("{name}:{}: `{word}`: {}", number + 1, WORDS[index].1));
        }
    }
    problems
}

/// Everything that is checked, with its name.
fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for place in ["src", "tests", "examples", "benches", "migrations", "docs", "scripts"] {
        collect(&root().join(place), &mut files);
    }
    files.extend([".env.example", "Makefile", ".ci/run"].map(|file| root().join(file)));
    let top = fs::read_dir(root()).expect("the repository").map(|entry| entry.expect("an entry").path());
    files.extend(top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    // This file has the list itself.
    files.retain(|path| !path.ends_with(file!()));
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("a file of the repository").to_string_lossy().into_owned();
        let mut text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if name.starts_with("migrations/") {
            // Databases have recorded the statements, which therefore never change.
            text = text
                .lines()
                .map(|line| line.find("--").map_or("", |start| &line[start..]))
                .collect::<Vec<_>>()
                .join("\n");
        }
        (name, text)
    };
    files.into_iter().map(named).chain(helps()).collect()
}

/// The files in a folder and in those below it, except for the results of builds.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        if path.ends_with("target") {
            return;
        }
        for entry in fs::read_dir(path).expect("a folder") {
            collect(&entry.expect("an entry").path(), files);
        }
    } else {
        files.push(path.to_owned());
    }
}

/// The help of every command.
pub fn helps() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let help = Tenantry::new().args(&words).arg("--help").run().assert_code(0).stdout.clone();
        for command in commands_in(&help) {
            open.push([words.clone(), vec![command]].concat());
        }
        found.push((["help"].into_iter().map(str::to_owned).chain(words).collect::<Vec<_>>().join(" "), help));
    }
    assert!(found.len() > 20, "every command was found");
    found
}

/// The commands that a help text lists, without `help` itself.
fn commands_in(help: &str) -> Vec<String> {
    let line = Regex::new(r"(?m)^  ([a-z][a-z-]*)(  .*)?$").expect("a valid pattern");
    let names = line.captures_iter(help).map(|found| found[1].to_owned());
    names.filter(|name| name != "help").collect()
}
