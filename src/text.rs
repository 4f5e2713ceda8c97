//! Text that others wrote (the database, files, arguments), made safe to print and to store.
//!
//! A name, a message or a comment may hold any character. Control characters act on a terminal, bidirectional controls
//! change the order in which text is displayed, and invisible characters make two names look equal. Everything that the
//! command line prints passes one of these functions, so that such a character is shown as an escape such as `\u{1b}`.

use std::borrow::Cow;

/// The most bytes of one field of foreign text that are printed.
pub(crate) const MAX_SHOWN: usize = 2 * 1024;

/// The most bytes of one field of foreign text that are kept in memory or stored in the database.
pub(crate) const MAX_KEPT: usize = 8 * 1024;

/// Whether a terminal would act on the character, reorder text because of it, or display nothing for it.
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

/// The text as one line: every unprintable character is escaped, line breaks and tabs included.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unprintable)
}

/// The text as one line in which tabs stay.
#[cfg(feature = "cli")]
pub(crate) fn one_line_with_tabs(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_unprintable(c) && c != '\t')
}

/// The text with its line feeds and tabs, and every other unprintable character escaped. A carriage return before a line
/// feed belongs to the line break.
pub(crate) fn multi_line(text: &str) -> Cow<'_, str> {
    let unprintable = |c| is_unprintable(c) && c != '\n' && c != '\t';
    match text.contains("\r\n") {
        true => escape(&text.replace("\r\n", "\n"), unprintable).into_owned().into(),
        false => escape(text, unprintable),
    }
}

/// Part of a JSON document with the unprintable characters that JSON allows in strings written as `\u` escapes, which mean
/// the same.
#[cfg(feature = "cli")]
pub(crate) fn json(fragment: &str) -> Cow<'_, str> {
    // White space between the values of a document.
    let unprintable = |c| is_unprintable(c) && c != '\n' && c != '\t' && c != '\r';
    if !fragment.contains(unprintable) {
        return Cow::Borrowed(fragment);
    }
    let mut out = String::with_capacity(fragment.len() + 16);
    for c in fragment.chars() {
        match unprintable(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The first `limit` bytes of a text at most, at a character boundary, and how many bytes are left out.
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
        match unprintable(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_readable() {
        assert_eq!(one_line("a\u{1b}[2J\u{7}\n\tb"), "a\\u{1b}[2J\\u{7}\\n\\tb");
        assert_eq!(one_line("\u{9b}31m \u{202e}txt\u{2066}\u{200b}"), "\\u{9b}31m \\u{202e}txt\\u{2066}\\u{200b}");
        assert_eq!(one_line_with_tabs("a\tb\nc"), "a\tb\\nc");
        assert_eq!(multi_line("a\r\nb\rc\n\td"), "a\nb\\rc\n\td");
        assert_eq!(json("\"\u{9b}\u{202e}\u{e0001}\u{7f}\""), "\"\\u009b\\u202e\\udb40\\udc01\\u007f\"");
    }

    #[test]
    fn what_is_printable_stays() {
        for text in ["", "Größe 表 🎉 é", "naïve « café »", "C:\\temp"] {
            assert_eq!((one_line(text), multi_line(text), json(text)), (text.into(), text.into(), text.into()));
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(clip("short", 5), "short");
        assert_eq!(clip("shorter", 5), "short… (2 bytes more)");
        assert_eq!(clip("aäb", 2), "a… (3 bytes more)");
        assert!(clip(&"ä".repeat(MAX_KEPT), MAX_KEPT).len() < MAX_KEPT + 40);
    }

    proptest! {
        #[test]
        fn nothing_unprintable_is_left(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(is_unprintable));
            prop_assert!(!multi_line(&text).replace(['\n', '\t'], "").contains(is_unprintable));
        }

        #[test]
        fn json_means_the_same(text in any::<String>()) {
            let document = serde_json::to_string(&text).unwrap();
            let escaped = json(&document);
            prop_assert!(!escaped.contains(is_unprintable));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }

        #[test]
        fn clipping_keeps_a_beginning(text in any::<String>(), limit in 0..40_usize) {
            let clipped = clip(&text, limit);
            let kept = clipped.split("… (").next().unwrap_or_default();
            prop_assert!(clipped == text || text.starts_with(kept));
        }
    }
}
