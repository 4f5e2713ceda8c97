//! Options that select tenants.

use std::collections::HashSet;

use anyhow::Result;
use clap::Args;
use regex::Regex;

use super::context::{Context, Usage};
use super::output::count;
use super::request::SelectionRequest;
use crate::database::Database;
use crate::error::Error;
use crate::model::LabelSelector;
use crate::tenants::{Tenancy, labels, tracker};
use crate::text::{self, shell_word};

/// Selects tenants by name and by label.
#[derive(Debug, Clone, Args)]
pub(crate) struct Matching {
    /// Only tenants whose names match this regular expression; may be repeated to match several
    #[arg(long = "match", value_name = "REGEX")]
    matching: Vec<Regex>,

    /// Only tenants with this label, or with this key and any value; if repeated, all must be present
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<LabelSelector>,

    /// Do not fail if --match or --label selects no tenant
    #[arg(long)]
    allow_empty: bool,
}

/// A `--match` or a `--label` selects none of the tenants.
#[derive(Debug, thiserror::Error)]
#[error("{selection} none of {}", count(*.tenants, "tenant"))]
pub(crate) struct NothingMatches {
    /// The options and a verb, such as `--label ring=canary selects`.
    selection: String,
    tenants: usize,
    /// The command that lists what can be selected.
    listing: &'static str,
}

/// Selects tenants by name and by label, with exceptions.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    matching: Matching,

    /// Exclude tenants whose names match this regular expression; may be repeated
    #[arg(long, value_name = "REGEX")]
    except: Vec<Regex>,
}

/// The tenants that the options select.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    matching: Vec<Regex>,
    except: Vec<Regex>,
    /// The tenants that have the labels; `None` if no label is given.
    labeled: Option<HashSet<String>>,
}

impl Selected {
    /// Whether the tenant with this name is selected.
    pub(crate) fn picks(&self, name: &str) -> bool {
        self.matches(name)
            && self.labeled.as_ref().is_none_or(|labeled| labeled.contains(name))
            && !self.except.iter().any(|except| except.is_match(name))
    }

    fn matches(&self, name: &str) -> bool {
        self.matching.is_empty() || self.matching.iter().any(|regex| regex.is_match(name))
    }
}

impl Selection {
    /// The selected tenants, as [`Matching::resolve`].
    pub(crate) fn resolve(&self, context: &Context, db: &mut Database, tenancy: &Tenancy) -> Result<Selected> {
        Ok(Selected { except: self.except.clone(), ..self.matching.resolve(context, db, tenancy)? })
    }

    /// The selection, for the record of the run.
    pub(crate) fn request(&self) -> SelectionRequest {
        let texts = |list: &[Regex]| list.iter().map(|regex| regex.as_str().to_owned()).collect();
        SelectionRequest {
            matching: texts(&self.matching.matching),
            labels: self.matching.labels.iter().map(LabelSelector::to_string).collect(),
            except: texts(&self.except),
        }
    }

    /// The options as given, for a suggested command.
    pub(crate) fn flags(&self) -> String {
        let excepted = flags("except", self.except.iter().map(Regex::as_str));
        self.matching.name_flags() + &self.matching.label_flags() + &excepted
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
    /// How to fix it.
    pub(crate) fn hint(&self, context: &Context) -> String {
        format!("'{}' lists the tenants; to accept this, add --allow-empty", context.command(self.listing))
    }

    /// The same selection, of the tenants of several servers.
    pub(crate) fn among(&self, tenants: usize) -> Self {
        Self { selection: self.selection.clone(), tenants, listing: self.listing }
    }

    /// A `--match` that matches none.
    pub(crate) fn of_match(regex: &str, tenants: usize) -> Self {
        Self { selection: format!("--match {} matches", shell_word(regex)), tenants, listing: "list --names" }
    }
}

impl Matching {
    /// Whether any of the options is given.
    pub(crate) fn is_any_given(&self) -> bool {
        !self.matching.is_empty() || self.has_labels() || self.allow_empty
    }

    /// Whether tenants are selected by labels.
    pub(crate) fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// The selected tenants. Checks that each `--match` matches the name of a tenant, and that a tenant has the labels.
    ///
    /// # Errors
    /// [`NothingMatches`], unless `--allow-empty` is given; or the tracker cannot be read.
    pub(crate) fn resolve(&self, context: &Context, db: &mut Database, tenancy: &Tenancy) -> Result<Selected> {
        let selected = self.read(db, tenancy)?;
        self.require_any(&selected, context, db, &[])?;
        Ok(selected)
    }

    /// The selected tenants, which may be none.
    ///
    /// # Errors
    /// The errors of [`Database::require_tracker`] if a label is given.
    pub(crate) fn read(&self, db: &mut Database, tenancy: &Tenancy) -> Result<Selected, Error> {
        let labeled = if self.has_labels() {
            db.require_tracker(tenancy)?;
            Some(labels::select(db.connection(), &self.labels)?)
        } else {
            None
        };
        Ok(Selected { matching: self.matching.clone(), except: Vec::new(), labeled })
    }

    /// Checks that each `--match` matches the name of a tenant or one of `others`, and that a tenant has the labels. Also
    /// succeeds if the database has no tracker.
    ///
    /// # Errors
    /// [`NothingMatches`], unless `--allow-empty` is given; or the tracker cannot be read.
    pub(crate) fn require_any(
        &self,
        selected: &Selected,
        context: &Context,
        db: &mut Database,
        others: &[&str],
    ) -> Result<()> {
        if !self.is_any_given() || self.allow_empty || !db.server().has_tracker {
            return Ok(());
        }
        let names = tracker::names(db.connection())?;
        let all = || names.iter().map(String::as_str).chain(others.iter().copied());
        let unmatched = self.matching.iter().filter(|regex| !all().any(|name| regex.is_match(name)));
        let unmatched: Vec<&str> = unmatched.map(Regex::as_str).collect();
        let picks_any = || all().any(|name| selected.picks(name));
        let of_options = || {
            let flags = self.name_flags() + &self.label_flags();
            let verb = if self.matching.len() + self.labels.len() == 1 { "selects" } else { "select" };
            let selection = format!("{} {verb}", flags.trim_start());
            Err(NothingMatches { selection, tenants: names.len(), listing: "list" }.into())
        };
        if let Some(gathered) = context.output().gathered() {
            // Another server may have a tenant that this one does not have.
            gathered.set_unmatched(&unmatched, names.len());
            return match unmatched.as_slice() {
                _ if picks_any() => Ok(()),
                [one] if self.matching.len() == 1 => Err(NothingMatches::of_match(one, names.len()).into()),
                _ => of_options(),
            };
        }
        match unmatched.first() {
            Some(regex) => Err(NothingMatches::of_match(regex, names.len()).into()),
            None if !self.has_labels() || picks_any() => Ok(()),
            None => of_options(),
        }
    }

    fn name_flags(&self) -> String {
        flags("match", self.matching.iter().map(Regex::as_str))
    }

    fn label_flags(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(LabelSelector::to_string).collect();
        flags("label", labels.iter().map(String::as_str))
    }
}

/// ` --FLAG VALUE` for each value.
fn flags<'a>(flag: &str, values: impl Iterator<Item = &'a str>) -> String {
    values.map(|value| format!(" --{flag} {}", shell_word(value))).collect()
}
