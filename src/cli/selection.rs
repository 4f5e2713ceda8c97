//! Options that select tenants.

use anyhow::Result;
use clap::Args;
use regex::Regex;

use super::context::{Context, shell_word};
use super::output::count;
use super::request::SelectionRequest;
use crate::database::Database;
use crate::tenants::tracker;

/// Selects tenants by name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Matching {
    /// Only tenants whose names match this regular expression
    #[arg(long = "match", value_name = "REGEX")]
    pub(crate) matching: Option<Regex>,

    /// Do not fail if --match selects no tenant
    #[arg(long)]
    allow_empty: bool,
}

/// `--match` selects none of the tenants.
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

    /// Exclude tenants whose names match this regular expression
    #[arg(long, value_name = "REGEX")]
    except: Option<Regex>,
}

impl Selection {
    /// Checks that `--match`, if it is given, matches the name of a tenant, as [`Matching::require_any`] does.
    pub(crate) fn require_any(&self, context: &Context, db: &mut Database) -> Result<()> {
        self.matching.require_any(context, db)
    }

    /// The selection, for the record of the run.
    pub(crate) fn request(&self) -> SelectionRequest {
        let text = |regex: &Option<Regex>| regex.as_ref().map(|regex| regex.as_str().to_owned());
        SelectionRequest { matching: text(&self.matching.matching), except: text(&self.except) }
    }

    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.picks(name) && !self.except.as_ref().is_some_and(|except| except.is_match(name))
    }

    /// The options as given, for a suggested command.
    pub(crate) fn flags(&self) -> String {
        [("match", &self.matching.matching), ("except", &self.except)]
            .into_iter()
            .filter_map(|(flag, regex)| Some(format!(" --{flag} {}", shell_word(regex.as_ref()?.as_str()))))
            .collect()
    }
}

impl NothingMatches {
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }
}

impl Matching {
    /// Checks that `--match`, if it is given, matches the name of a tenant. Also succeeds if the database has no tracker.
    ///
    /// # Errors
    /// [`NothingMatches`], unless `--allow-empty` is given; or the tracker cannot be read.
    pub(crate) fn require_any(&self, context: &Context, db: &mut Database) -> Result<()> {
        let Some(regex) = &self.matching else { return Ok(()) };
        if self.allow_empty || !db.server().has_tracker {
            return Ok(());
        }
        let names = tracker::names(db.connection())?;
        if names.iter().any(|name| regex.is_match(name)) {
            return Ok(());
        }
        let hint =
            format!("'{}' lists the tenants; to accept this, add --allow-empty", context.command("list --names"));
        Err(NothingMatches { pattern: regex.as_str().to_owned(), tenants: names.len(), hint }.into())
    }

    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matching.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}
