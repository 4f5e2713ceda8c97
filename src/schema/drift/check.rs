//! Compares the fleet with the reference: by fingerprint, and in full only where tenants differ.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::candidate::Versions;
use super::difference::Difference;
use super::pass::Pass;
use super::stamp::Stamps;
use crate::database::Database;
use crate::error::Error;
use crate::model::TenantName;
use crate::schema::reference::Reference;
use crate::tenants::{Fleet, Tenancy, Tenant};

/// Tenants with the same differences from the reference, each at its own applied migrations.
#[derive(Debug, Clone)]
pub struct Group {
    /// The tenants, sorted by name.
    pub members: Vec<Member>,
    /// The differences; empty if the tenants match the reference.
    pub differences: Arc<[Difference]>,
}

/// A tenant of a [`Group`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The tenant's name.
    pub name: TenantName,
    /// The name of its schema, quoted if necessary.
    pub own_name: String,
}

/// The result of a check. A tenant that was dropped during the check is in neither list.
#[derive(Debug, Clone, Default)]
pub struct Drift {
    /// The tenants that were compared, the largest group first.
    pub groups: Vec<Group>,
    /// The tenants that were not compared, and reason.
    pub unchecked: Vec<Uncompared>,
}

/// Tenants that were not compared, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncompared {
    /// The tenants, sorted by name.
    pub tenants: Vec<TenantName>,
    /// Why, as a clause: "the schema does not exist".
    pub reason: String,
}

/// Up to this many tenants are read in full. For more, hashing the catalogs is faster.
pub(super) const FEW: usize = 8;

/// The number of attempts to read a tenant that changes during the check.
const PASSES: usize = 3;

/// The reason for a tenant that changed in each of the [`PASSES`].
const CHANGED: &str = "the tenant changed during the check";

/// Compares tenants with the reference. `names` are the names of all tenants of the database: a difference that refers to
/// one of them has the level [`Level::Security`](super::Level::Security).
///
/// A verdict holds for one state of the tenant. If the tenant's catalog rows or ledger change during the check, the tenant
/// is read again. It is unchecked if it changes every time.
///
/// # Errors
/// If the connection fails, or a statement over the whole fleet does.
pub fn check(
    db: &mut Database,
    tenancy: &Tenancy,
    tenants: &[&Tenant],
    reference: &Reference,
    names: &HashSet<String>,
    stamps: Stamps,
) -> Result<Drift, Error> {
    let versions = Versions::of(reference);
    let set = tenancy.tenant_migrations();
    let mut verdicts = Verdicts::default();
    let pass = Pass { set, versions: &versions, names, stamps };
    let mut changed = pass.run(db, tenants, &mut verdicts)?;
    for _ in 1..PASSES {
        if changed.is_empty() {
            break;
        }
        changed.sort_unstable();
        // A tenant that was dropped is not in the result.
        let again = Fleet::read_some(db.connection(), set, &changed)?;
        changed = pass.run(db, &again.tenants.iter().collect::<Vec<_>>(), &mut verdicts)?;
    }
    if !changed.is_empty() {
        changed.sort_unstable();
        let left = Fleet::read_some(db.connection(), set, &changed)?;
        left.tenants.iter().for_each(|tenant| verdicts.unchecked(&tenant.name, CHANGED));
    }
    Ok(verdicts.into_drift())
}

/// The verdicts so far.
#[derive(Default)]
pub(super) struct Verdicts {
    groups: HashMap<Arc<[Difference]>, Vec<Member>>,
    unchecked: BTreeMap<String, Vec<TenantName>>,
}

impl Verdicts {
    pub(super) fn compared(&mut self, differences: &Arc<[Difference]>, members: impl IntoIterator<Item = Member>) {
        let mut members = members.into_iter().peekable();
        if members.peek().is_some() {
            self.groups.entry(Arc::clone(differences)).or_default().extend(members);
        }
    }

    pub(super) fn unchecked(&mut self, tenant: &TenantName, reason: &str) {
        match self.unchecked.get_mut(reason) {
            Some(tenants) => tenants.push(tenant.clone()),
            None => {
                self.unchecked.insert(reason.to_owned(), vec![tenant.clone()]);
            }
        }
    }

    fn into_drift(self) -> Drift {
        let sorted = |(differences, mut members): (_, Vec<Member>)| {
            members.sort_by(|a, b| a.name.cmp(&b.name));
            Group { members, differences }
        };
        let mut groups: Vec<Group> = self.groups.into_iter().map(sorted).collect();
        groups.sort_by(|a, b| {
            b.members.len().cmp(&a.members.len()).then_with(|| a.members[0].name.cmp(&b.members[0].name))
        });
        let unchecked = self.unchecked.into_iter().map(|(reason, mut tenants)| {
            tenants.sort_unstable();
            Uncompared { tenants, reason }
        });
        Drift { groups, unchecked: unchecked.collect() }
    }
}
