//! The tenants of a command that resumes a run.

use crate::text::shell_word;

/// The maximum number of names in a suggested command.
pub(crate) const SHORT: usize = 10;

/// A regular expression for exactly these tenants, as a word of a shell, if it is short enough to read.
pub(crate) fn only(names: &[&str]) -> Option<String> {
    let escaped: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
    (!names.is_empty() && names.len() <= SHORT).then(|| match escaped.as_slice() {
        [one] => shell_word(&format!("^{one}$")),
        many => shell_word(&format!("^({})$", many.join("|"))),
    })
}
