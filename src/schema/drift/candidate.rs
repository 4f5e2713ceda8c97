//! The tenants that can be compared with the reference, and why the others cannot.

use std::collections::BTreeMap;

use super::mentions::Mentions;
use crate::model::{State, TenantName};
use crate::schema::reference::{self, Applied, Reference};
use crate::schema::structure::Structure;
use crate::tenants::{Schema, Tenant};

/// A tenant that can be compared.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) tenant: &'a Tenant,
    /// The oid of its schema.
    pub(super) oid: u32,
    /// The index of its expected structure in [`Versions`].
    pub(super) version: usize,
}

impl Candidate<'_> {
    pub(super) fn name(&self) -> &TenantName {
        &self.tenant.name
    }
}

/// The expected structures of a reference, by index.
pub(super) struct Versions<'a> {
    reference: &'a Reference,
    versions: Vec<CandidateVersion<'a>>,
    by_applied: BTreeMap<&'a Applied, usize>,
}

struct CandidateVersion<'a> {
    applied: &'a Applied,
    structure: &'a Structure,
    mentions: Mentions,
}

impl<'a> Versions<'a> {
    pub(super) fn of(reference: &'a Reference) -> Self {
        let versions: Vec<CandidateVersion<'_>> = reference
            .structures()
            .map(|(applied, structure)| CandidateVersion { applied, structure, mentions: Mentions::of(structure) })
            .collect();
        let by_applied = versions.iter().enumerate().map(|(index, version)| (version.applied, index)).collect();
        Self { reference, versions, by_applied }
    }

    /// Returns the tenant as a candidate, or the reason why it cannot be compared.
    pub(super) fn candidate<'t>(&self, tenant: &'t Tenant) -> Result<Candidate<'t>, &'static str> {
        let oid = match &tenant.schema {
            Schema::Missing => return Err("the schema does not exist"),
            Schema::Unreadable(_) => return Err("the migration ledger cannot be read"),
            Schema::InvalidLedger { .. } => return Err("the migration ledger is invalid"),
            Schema::NoLedger { .. } => return Err("the schema has no migration ledger"),
            Schema::Ledger { oid, .. } => *oid,
        };
        match tenant.state {
            State::Creating => return Err("its creation is not complete"),
            State::Dropping => return Err("its drop is not complete"),
            State::Moving | State::Arriving => return Err("a move between servers is in progress"),
            State::Registered | State::Active | State::Archived => {}
        }
        if tenant.unfinished.is_some() {
            return Err("a non-transactional migration is unfinished");
        }
        if tenant.ledger().is_some_and(|ledger| ledger.outdated) {
            return Err("its repeatable migrations must be applied again");
        }
        let Some(applied) = reference::applied(tenant) else {
            return Err("the ledger records migrations that are not tenant migrations");
        };
        match self.by_applied.get(&self.reference.selecting(applied)) {
            Some(version) => Ok(Candidate { tenant, oid, version: *version }),
            None => Err("there is no reference for the set of applied migrations"),
        }
    }

    /// The expected structure of a candidate.
    pub(super) fn expected(&self, candidate: &Candidate<'_>) -> &'a Structure {
        self.versions[candidate.version].structure
    }

    /// Whether the reference may contain the candidate's name with another meaning. Its fingerprint is then meaningless.
    pub(super) fn may_mention(&self, candidate: &Candidate<'_>) -> bool {
        self.versions[candidate.version].mentions.may_be(candidate.name().as_str())
    }

    /// The structures as text, in order.
    pub(super) fn texts(&self, server_version: i32) -> impl Iterator<Item = String> {
        self.versions
            .iter()
            .map(move |version| self.reference.to_text(version.applied, server_version).unwrap_or_default())
    }
}
