//! Options that select tenants.

use anyhow::Result;
use clap::Args;
use regex::Regex;

use super::context::{Context, Usage};
use super::output::count;
use super::request::SelectionRequest;
use crate::database::Database;
use crate::tenants::tracker;
use crate::text::{self, shell_word};

/// Selects tenants by name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Matching {
    /// Only tenants whose names match this regular expression; may be repeated to match several
    #[arg(long = "match", value_name = "REGEX")]
    matching: Vec<Regex>,

    /// Do not fail if a --match selects no tenant
    #[arg(long)]
    allow_empty: bool,
}

/// A `--match` selects none of the tenants.
#[derive(Debug, thiserror::Error)]
#[error("--match {} matches none of {}", shell_word(.pattern), count(*.tenants, "tenant"))]
pub(crate) struct NothingMatches {
    pattern: String,
    tenants: usize,
    hint: String,
}

/// Selects tenants by name, with exceptions.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    matching: Matching,

    /// Exclude tenants whose names match this regular expression; may be repeated
    #[arg(long, value_name = "REGEX")]
    except: Vec<Regex>,
}

impl Selection {
    /// Checks that each `--match` matches the name of a tenant, as [`Matching::require_any`] does.
    pub(crate) fn require_any(&self, context: &Context, db: &mut Database) -> Result<()> {
        self.matching.require_any(context, db, &[])
    }

    /// The selection, for the record of the run.
    pub(crate) fn request(&self) -> SelectionRequest {
        let texts = |list: &[Regex]| list.iter().map(|regex| regex.as_str().to_owned()).collect();
        SelectionRequest { matching: texts(&self.matching.matching), except: texts(&self.except) }
    }

    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.picks(name) && !self.except.iter().any(|except| except.is_match(name))
    }

    /// The options as given, for a suggested command.
    pub(crate) fn flags(&self) -> String {
        let flags = |flag: &str, list: &[Regex]| -> String {
            list.iter().map(|regex| format!(" --{flag} {}", shell_word(regex.as_str()))).collect()
        };
        flags("match", &self.matching.matching) + &flags("except", &self.except)
    }
}

/// Checks that each name is that of one of these tenants, which are the active ones.
pub(crate) fn require_known<'a>(
    context: &Context,
    mut names: impl Iterator<Item = &'a str>,
    active: &[impl AsRef<str>],
) -> Result<()> {
    let active = || active.iter().map(AsRef::as_ref);
    let Some(unknown) = names.find(|name| active().all(|known| known != *name)) else { return Ok(()) };
    let hint = match text::closest(unknown, active()) {
        Some(closest) => format!("a tenant with a similar name is {closest}"),
        None => format!("'{}' lists the tenants", context.command("list")),
    };
    let message = format!("tenant {unknown}: no active tenant has this name");
    Err(Usage::with_hint("unknown-tenant", message, hint).into())
}

impl NothingMatches {
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }
}

impl Matching {
    /// Checks that each `--match` matches the name of a tenant or one of `others`. Also succeeds if the database has no
    /// tracker.
    ///
    /// # Errors
    /// [`NothingMatches`], unless `--allow-empty` is given; or the tracker cannot be read.
    pub(crate) fn require_any(&self, context: &Context, db: &mut Database, others: &[&str]) -> Result<()> {
        if self.matching.is_empty() || self.allow_empty || !db.server().has_tracker {
            return Ok(());
        }
        let names = tracker::names(db.connection())?;
        let all = || names.iter().map(String::as_str).chain(others.iter().copied());
        let Some(regex) = self.matching.iter().find(|regex| !all().any(|name| regex.is_match(name))) else {
            return Ok(());
        };
        let hint =
            format!("'{}' lists the tenants; to accept this, add --allow-empty", context.command("list --names"));
        Err(NothingMatches { pattern: regex.as_str().to_owned(), tenants: names.len(), hint }.into())
    }

    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.is_empty() || self.matching.iter().any(|regex| regex.is_match(name))
    }
}
