//! What a person must confirm.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;

/// It was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unconfirmed {
    /// There is no terminal to ask on.
    #[error("this must be confirmed, and there is no terminal to ask on")]
    NoTerminal,
    /// The answer was another.
    #[error("not confirmed; nothing was changed")]
    Declined,
    /// What was shown is no longer so.
    #[error("tenants were changed after they were shown; nothing was done")]
    Changed,
}

impl Unconfirmed {
    /// What to do about it.
    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::NoTerminal => Some("look at it with --dry-run, then give --yes"),
            Self::Declined => None,
            Self::Changed => Some("run the command again to see what it would do now"),
        }
    }
}

/// What counts as a yes.
pub(crate) enum Answer<'a> {
    /// `y` or `yes`.
    Yes,
    /// This text.
    Text(&'a str),
}

/// Asks, unless `yes` was said beforehand.
pub(crate) fn confirm(yes: bool, question: &str, answer: Answer<'_>) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Unconfirmed::NoTerminal.into());
    }
    // In one piece: standard error is not buffered, and the answer shows behind what is there.
    io::stderr().lock().write_all(format!("{question} ").as_bytes())?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let given = line.trim();
    let confirmed = match answer {
        Answer::Yes => ["y", "yes"].contains(&given.to_ascii_lowercase().as_str()),
        Answer::Text(text) => given == text,
    };
    match confirmed {
        true => Ok(()),
        false => Err(Unconfirmed::Declined.into()),
    }
}
