//! The output of a command and its exit status.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The result of a command.
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    pub(super) command: String,
    pub(super) hidden: Hidden,
}

/// Texts that differ between runs, and their placeholders in snapshots.
#[derive(Default)]
pub(super) struct Hidden(Vec<(String, &'static str)>);

impl Output {
    /// All output as one text, with placeholders for values that differ between runs.
    pub fn snapshot(&self) -> String {
        let code = self.code.map_or("by a signal".to_owned(), |code| code.to_string());
        let mut text = String::new();
        let stderr: String = self.stderr.split_inclusive('\n').filter(|line| !is_progress(line)).collect();
        for part in [&self.stdout, "--- stderr\n", &stderr, &format!("--- exit {code}")] {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text += part;
        }
        self.hidden.apply(&text)
    }

    /// Asserts the exit status, and shows all output if it differs.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "`{}` said:\n{}", self.command, self.whole());
        self
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}` wrote no JSON ({error}):\n{}", self.command, self.whole()))
    }

    fn whole(&self) -> String {
        format!("{}\n--- stderr\n{}\n--- exit {:?}", self.stdout, self.stderr, self.code)
    }
}

/// The text with placeholders for dates, durations, sizes and process ids.
pub fn normalized(text: &str) -> String {
    Hidden::default().apply(text)
}

impl Hidden {
    /// Hides a text. Longer texts are replaced first.
    pub(super) fn add(&mut self, text: impl Into<String>, placeholder: &'static str) {
        self.0.push((text.into(), placeholder));
        self.0.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    }

    /// The text with placeholders.
    pub(super) fn apply(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, (hidden, shown)| text.replace(hidden, shown));
        VOLATILE.iter().fold(text, |text, (pattern, placeholder)| {
            let replace = |found: &Captures<'_>| {
                // A value of another length changes the padding in a table: all padding counts as one space.
                let space = |name| if found.name(name).is_some_and(|part| !part.is_empty()) { " " } else { "" };
                let key = found.name("key").map_or("", |part| part.as_str());
                format!("{}{key}{placeholder}{}", space("before"), space("after"))
            };
            match pattern.replace_all(&text, replace) {
                Cow::Borrowed(_) => text.clone(),
                Cow::Owned(replaced) => replaced,
            }
        })
    }
}

/// Whether a line reports the progress of a long run, which only slow machines show.
fn is_progress(line: &str) -> bool {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\d,]+ of [\d,]+ tenants? \w+, [\d,]+ failed\n?$").expect("a pattern"));
    PATTERN.is_match(line)
}

/// Patterns of values that differ between runs. A space separates a number and its unit, so that settings (`5s`) are
/// kept.
static VOLATILE: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let plain = [
        // A folder of `tempfile`.
        (r"/[\w/.-]*/\.tmp[A-Za-z0-9]{6}\b", "TEMPORARY"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z\b|[+-]\d\d(:?\d\d)?\b| UTC\b)?", "DATE"),
        // Values without a unit are recognized by the words before them: those in JSON, and process ids.
        (r#"(?<key>"\w*(seconds|_ms)": ?)\d+(\.\d+)?"#, "TIME"),
        (r#"(?<key>"\w*bytes": ?)\d+"#, "SIZE"),
        (r"(?<key>\b(pid|process) )\d+\b", "PID"),
        (r"(?<key>\bpg_terminate_backend\()\d+\b", "PID"),
    ];
    // These have no fixed length.
    let padded = [
        (r"\b(\d+ (h|min) )*\d+(\.\d+)? (µs|ms|s|min|h)\b", "TIME"),
        (r"\b\d+(\.\d+)? (bytes|[kMGT]B|[KMGT]iB)\b", "SIZE"),
    ];
    let plain = plain.map(|(value, shown)| (value.to_owned(), shown));
    let padded = padded.map(|(value, shown)| (format!("(?<before> *){value}(?<after> *)"), shown));
    let compiled = |(pattern, shown): (String, _)| (Regex::new(&pattern).expect("a pattern"), shown);
    plain.into_iter().chain(padded).map(compiled).collect()
});
