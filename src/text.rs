//! Escaping of untrusted text (from the database, files and arguments) before it is printed or stored.
//!
//! Names, messages and comments may contain any character. Control characters affect the terminal, bidirectional controls
//! reorder the displayed text, and invisible characters make different names look equal. The command line passes all output
//! through these functions, which show such characters as escapes such as `\u{1b}`.

use std::borrow::Cow;

/// The maximum number of printed bytes of a field of untrusted text.
pub(crate) const MAX_SHOWN: usize = 2 * 1024;

/// The maximum number of bytes of a field of untrusted text that are kept in memory or stored in the database.
pub(crate) const MAX_KEPT: usize = 8 * 1024;

/// Whether a terminal interprets the character, reorders text because of it, or displays nothing for it.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero-width characters and directional marks.
            | '\u{200b}'..='\u{200f}'
            // Line and paragraph separators, bidirectional embeddings and overrides.
            | '\u{2028}'..='\u{202e}'
            // Invisible operators, bidirectional isolates, deprecated format characters.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, interlinear annotations, language tags.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes every unprintable character, including line breaks and tabs.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unprintable)
}

/// Escapes every unprintable character except tabs.
#[cfg(feature = "cli")]
pub(crate) fn one_line_with_tabs(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_unprintable(c) && c != '\t')
}

/// Escapes every unprintable character except line feeds and tabs. CRLF is replaced by a line feed.
pub(crate) fn multi_line(text: &str) -> Cow<'_, str> {
    let unprintable = |c| is_unprintable(c) && c != '\n' && c != '\t';
    if text.contains("\r\n") {
        escape(&text.replace("\r\n", "\n"), unprintable).into_owned().into()
    } else {
        escape(text, unprintable)
    }
}

/// Escapes unprintable characters in a part of a JSON document as equivalent `\u` escapes.
#[cfg(feature = "cli")]
pub(crate) fn json(fragment: &str) -> Cow<'_, str> {
    // Line feeds, tabs and carriage returns are white space between values.
    let unprintable = |c| is_unprintable(c) && c != '\n' && c != '\t' && c != '\r';
    if !fragment.contains(unprintable) {
        return Cow::Borrowed(fragment);
    }
    let mut out = String::with_capacity(fragment.len() + 16);
    for c in fragment.chars() {
        if unprintable(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Truncates a text to at most `limit` bytes, at a character boundary, and appends the number of omitted bytes.
pub(crate) fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit);
    Cow::Owned(format!("{}… ({} bytes more)", &text[..end], text.len() - end))
}

fn escape(text: &str, unprintable: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Quotes a text for a shell if necessary. The result is as short as it can be for the common cases, because it is printed in
/// commands for people.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@,=+%".contains(c);
    match text {
        plain if !plain.is_empty() && plain.chars().all(is_plain) => plain.to_owned(),
        quoted => format!("'{}'", quoted.replace('\'', r"'\''")),
    }
}

/// Words of a command line.
#[cfg(feature = "cli")]
pub(crate) fn shell_words(words: &[&str]) -> String {
    words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
}

/// The known word that `given` is most likely a misspelling of, if one is close: for each four characters, one may be wrong,
/// missing, added or swapped with the next, at least one and at most three.
pub(crate) fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (given.chars().count() / 4).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (distance(given, word), word))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many characters must be changed, added, removed or swapped with the next to turn one word into the other.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unprintable_characters_are_escaped() {
        assert_eq!(one_line("a\u{1b}[2J\u{7}\n\tb"), "a\\u{1b}[2J\\u{7}\\n\\tb");
        assert_eq!(one_line("\u{9b}31m \u{202e}txt\u{2066}\u{200b}"), "\\u{9b}31m \\u{202e}txt\\u{2066}\\u{200b}");
        assert_eq!(one_line_with_tabs("a\tb\nc"), "a\tb\\nc");
        assert_eq!(multi_line("a\r\nb\rc\n\td"), "a\nb\\rc\n\td");
        assert_eq!(json("\"\u{9b}\u{202e}\u{e0001}\u{7f}\""), "\"\\u009b\\u202e\\udb40\\udc01\\u007f\"");
    }

    #[test]
    fn a_word_is_quoted_for_a_shell_if_necessary() {
        for plain in ["acme", "a-b_c.d/e:f@g,h=i+j%k"] {
            assert_eq!(shell_word(plain), plain);
        }
        for (text, word) in [("", "''"), ("a b", "'a b'"), ("$1;", "'$1;'"), ("it's", r"'it'\''s'"), ("ü\"", "'ü\"'")]
        {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn only_a_similar_word_is_suggested() {
        let known = ["acme", "globex", "initech"];
        for (given, word) in [("acm", "acme"), ("glboex", "globex"), ("initehc", "initech"), ("Acme", "acme")] {
            assert_eq!(closest(given, known), Some(word), "{given}");
        }
        for given in ["", "umbrella", "ace1", "glob"] {
            assert_eq!(closest(given, known), None, "{given}");
        }
    }

    #[test]
    fn printable_text_is_unchanged() {
        for text in ["", "Größe 表 🎉 é", "naïve « café »", "C:\\temp"] {
            assert_eq!((one_line(text), multi_line(text), json(text)), (text.into(), text.into(), text.into()));
        }
    }

    #[test]
    fn long_text_is_truncated_at_a_character_boundary() {
        assert_eq!(clip("short", 5), "short");
        assert_eq!(clip("shorter", 5), "short… (2 bytes more)");
        assert_eq!(clip("aäb", 2), "a… (3 bytes more)");
        assert!(clip(&"ä".repeat(MAX_KEPT), MAX_KEPT).len() < MAX_KEPT + 40);
    }

    proptest! {
        #[test]
        fn output_contains_no_unprintable_character(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(is_unprintable));
            prop_assert!(!multi_line(&text).replace(['\n', '\t'], "").contains(is_unprintable));
        }

        #[test]
        fn escaped_json_is_equivalent(text in any::<String>()) {
            let document = serde_json::to_string(&text).unwrap();
            let escaped = json(&document);
            prop_assert!(!escaped.contains(is_unprintable));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }

        #[test]
        fn truncated_text_is_a_prefix(text in any::<String>(), limit in 0..40_usize) {
            let clipped = clip(&text, limit);
            let kept = clipped.split("… (").next().unwrap_or_default();
            prop_assert!(clipped == text || text.starts_with(kept));
        }
    }
}
