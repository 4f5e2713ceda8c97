//! Confirmation prompts.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;

use crate::text;

/// Why a command was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unconfirmed {
    /// There is no terminal to ask on.
    #[error("confirmation required, but there is no terminal")]
    NoTerminal,
    /// The answer was not the expected one.
    #[error("not confirmed; nothing was changed")]
    Declined,
    /// The tenants changed after they were shown.
    #[error("tenants changed after they were shown; nothing was done")]
    Changed,
}

impl Unconfirmed {
    /// What to do next.
    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::NoTerminal => Some("check with --dry-run, then add --yes"),
            Self::Declined => None,
            Self::Changed => Some("run the command again to see the current plan"),
        }
    }
}

/// The answer that confirms.
pub(crate) enum Answer<'a> {
    /// `y` or `yes`.
    Yes,
    /// This text.
    Text(&'a str),
}

/// Asks for confirmation unless `yes` is set.
pub(crate) fn confirm(yes: bool, question: &str, answer: Answer<'_>) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Unconfirmed::NoTerminal.into());
    }
    // In one call, because standard error is not buffered.
    io::stderr().lock().write_all(format!("{} ", text::one_line(question)).as_bytes())?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let given = line.trim();
    let confirmed = match answer {
        Answer::Yes => ["y", "yes"].contains(&given.to_ascii_lowercase().as_str()),
        Answer::Text(text) => given == text,
    };
    if confirmed { Ok(()) } else { Err(Unconfirmed::Declined.into()) }
}
