//! What is tried: for each probe and each object that it concerns, attempts.

mod arguments;
mod context;
mod objects;
mod privileges;
mod roles;
mod rows;
mod synthetic;

use super::attempt::ProbeAttempt;
use super::kind::ProbeKind;
use super::targets::{ProbedRelation, ProbedTenancy, Protection, Targets};

pub(super) use context::contexts;

/// A probe of an object.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) probe: ProbeKind,
    pub(super) object: String,
    /// Attempts, of which the first conclusive one counts, or why none is possible.
    pub(super) attempts: Result<Vec<ProbeAttempt>, String>,
}

impl From<ProbeAttempt> for Try {
    fn from(attempt: ProbeAttempt) -> Self {
        Self { probe: attempt.probe, object: attempt.object.clone(), attempts: Ok(vec![attempt]) }
    }
}

impl Try {
    fn impossible(probe: ProbeKind, object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { probe, object: object.into(), attempts: Err(reason.into()) }
    }
}

/// Everything that is tried in single transactions, in the order of the probes.
pub(super) fn all(targets: &Targets) -> Vec<Try> {
    let mut tries = roles::tries(targets);
    for relation in &targets.relations {
        match &relation.protection {
            Protection::OwnRows { column, changes, aim } => {
                rows::tries(targets, relation, column, *changes, aim, &mut tries);
                privileges::of_table(targets, relation, &mut tries);
            }
            Protection::ReadOnly => {
                privileges::writes(relation, &mut tries);
                privileges::of_table(targets, relation, &mut tries);
            }
            Protection::Private => {
                privileges::private(targets, relation, &mut tries);
                privileges::of_table(targets, relation, &mut tries);
            }
            Protection::View => objects::view(targets, relation, &mut tries),
            Protection::Usable => privileges::sequence(relation, &mut tries),
            Protection::Own => {}
        }
        if !matches!(relation.protection, Protection::Own) {
            tries.push(objects::comment(relation));
        }
    }
    if let ProbedTenancy::Rows { references, .. } = &targets.tenancy {
        references.iter().for_each(|key| rows::reference(targets, key, &mut tries));
    }
    objects::tries(targets, &mut tries);
    tries.sort_by_key(|one| one.probe);
    tries
}

/// The table's name as it is shown.
fn shown(relation: &ProbedRelation) -> String {
    let part = |name: &str| {
        let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if is_plain { name.to_owned() } else { crate::sql::quote::Identifier::of_object(name).to_string() }
    };
    format!("{}.{}", part(&relation.schema), part(&relation.name))
}
