//! Removal of passwords from messages.

use super::{DatabaseUrl, REDACTED, is_secret};

impl DatabaseUrl {
    /// Replaces each occurrence of a secret of this connection string by `***`, for messages from libpq and Diesel.
    ///
    /// Finds a secret also if its characters are percent-encoded or escaped with backslashes.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redact_with(text, &[])
    }

    /// Like [`redact`](Self::redact), with additional secrets such as the value of `PGPASSWORD`.
    #[must_use]
    pub fn redact_with(&self, text: &str, secrets: &[&str]) -> String {
        let own = self.settings.iter().filter(|(key, value)| is_secret(key, value)).map(|(_, value)| value.as_str());
        let secrets: Vec<String> = own
            .chain(secrets.iter().copied())
            .filter(|secret| !secret.is_empty())
            // `{:?}` escapes line breaks and the like.
            .flat_map(|secret| [secret.to_owned(), unquoted_debug(secret)])
            .collect();

        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let longest = secrets.iter().filter_map(|secret| spelled_length(rest, secret)).max();
            if longest.is_some() {
                shown.push_str(REDACTED);
            } else {
                shown.push(next);
            }
            rest = &rest[longest.unwrap_or(next.len_utf8())..];
        }
        shown
    }
}

/// The output of `{:?}` without its quotation marks.
fn unquoted_debug(text: &str) -> String {
    let quoted = format!("{text:?}");
    quoted[1..quoted.len() - 1].to_owned()
}

/// The number of bytes at the start of `text` that spell `secret`, each byte plain, percent-encoded or escaped with
/// backslashes. If several spellings fit (`%25` is itself, or an encoded `%`), the longest one counts.
fn spelled_length(text: &str, secret: &str) -> Option<usize> {
    let text = text.as_bytes();
    let mut ends = vec![0];
    for &byte in secret.as_bytes() {
        let mut next = Vec::new();
        for end in ends {
            let rest = &text[end..];
            let backslashes = rest.iter().take_while(|&&byte| byte == b'\\').count();
            if byte == b'\\' {
                next.extend((1..=backslashes).map(|count| end + count));
            } else if rest.get(backslashes) == Some(&byte) {
                next.push(end + backslashes + 1);
            }
            if percent_decoded(rest) == Some(byte) {
                next.push(end + 3);
            }
        }
        next.sort_unstable();
        next.dedup();
        ends = next;
    }
    ends.last().copied()
}

/// The byte that is encoded as `%xy` at the start of `text`.
fn percent_decoded(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
