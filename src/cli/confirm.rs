//! ConfirmOption prompts.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::text;

/// Why a command was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unconfirmed {
    /// There is no terminal to ask on.
    #[error("confirmation required, but there is no terminal")]
    NoTerminal,
    /// The same, for a command without a plan to look at.
    #[error("confirmation required, but there is no terminal")]
    NoTerminalNorPlan,
    /// The answer was not the expected one.
    #[error("not confirmed; nothing was changed")]
    Declined,
    /// The tenants changed after they were shown.
    #[error("tenants changed after they were shown; nothing was done")]
    Changed,
}

impl Unconfirmed {
    /// The stable name of the error.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoTerminal | Self::NoTerminalNorPlan => "confirmation-required",
            Self::Declined => "not-confirmed",
            Self::Changed => "changed-since-plan",
        }
    }

    /// What to do next.
    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::NoTerminal => Some("check with --dry-run, then add --yes"),
            Self::NoTerminalNorPlan => Some("add --yes"),
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

/// The option of a command that asks for confirmation.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct ConfirmOption {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl ConfirmOption {
    /// Whether a person confirms, who must see the plan before.
    pub(crate) fn is_asked(self) -> bool {
        !self.yes
    }

    /// Asks for confirmation unless the option is given.
    pub(crate) fn ask(self, question: &str, answer: Answer<'_>) -> Result<()> {
        if self.yes { Ok(()) } else { ask(question, answer) }
    }

    /// The same, for a command without `--dry-run`.
    pub(crate) fn ask_without_plan(self, question: &str, answer: Answer<'_>) -> Result<()> {
        self.ask(question, answer).map_err(|error| match error.downcast_ref() {
            Some(Unconfirmed::NoTerminal) => Unconfirmed::NoTerminalNorPlan.into(),
            _ => error,
        })
    }
}

fn ask(question: &str, answer: Answer<'_>) -> Result<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Unconfirmed::NoTerminal.into());
    }
    // One question at a time, also if a command runs on several servers.
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
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
