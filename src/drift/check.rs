//! The fleet held against the reference: by fingerprint, and in full only where tenants differ.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Oid, Text};

use super::compare::compare;
use super::difference::Difference;
use super::mentions::Mentions;
use super::stamp::{Stamped, Stamps};
use crate::database::Database;
use crate::error::Error;
use crate::fleet::{Fleet, Tenant};
use crate::ledger::Ledger;
use crate::name::TenantName;
use crate::postgres::CHUNK;
use crate::reference::{self, Reference};
use crate::structure::{self, AT_ONCE, Fingerprint};
use crate::tenancy::Tenancy;

/// Tenants with the same differences from the reference, each at the migrations that it has.
#[derive(Debug, Clone)]
pub struct Group {
    /// The tenants, in order.
    pub members: Vec<Member>,
    /// In what they differ; nothing where they are as the reference.
    pub differences: Arc<[Difference]>,
}

/// A tenant of a [`Group`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: TenantName,
    /// Its schema's name as the server quotes it.
    pub own_name: String,
}

/// What a check came to.
#[derive(Debug, Clone, Default)]
pub struct Drift {
    /// The tenants that were compared, the largest group first.
    pub groups: Vec<Group>,
    /// The tenants that could not be compared, and why.
    pub not_compared: Vec<NotCompared>,
}

/// Tenants that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCompared {
    /// The tenants, in order.
    pub tenants: Vec<TenantName>,
    /// Why.
    pub why: String,
}

/// Up to so many tenants are read in full at once: a hash over the catalogs of a large fleet would take longer.
pub(super) const FEW: usize = 8;

/// Holds tenants against the reference. Those without a ledger that can be read are left out; that they lack it is another
/// finding. `names` are the names of all tenants of the database: what leads to one of them is told as such.
///
/// # Errors
/// What the server answered.
pub fn check(
    db: &mut Database,
    tenancy: &Tenancy,
    tenants: &[&Tenant],
    reference: &Reference,
    names: &HashSet<String>,
    stamps: Stamps,
) -> Result<Drift, Error> {
    let mut not_compared = Excluded::default();
    let comparable: Vec<Candidate<'_>> = tenants
        .iter()
        .filter_map(|tenant| {
            let crate::Schema::Ledger { oid, ledger } = &tenant.schema else { return None };
            let why = if !ledger.unknown.is_empty() {
                "they have migrations that are none of the tenant migrations"
            } else if tenant.unfinished.is_some() {
                "a migration is unfinished"
            } else if reference.structure(&ledger.applied).is_none() {
                "there is no reference for the migrations that they have"
            } else {
                return Some(Candidate { tenant, oid: *oid, ledger });
            };
            not_compared.add(&tenant.name, why);
            None
        })
        .collect();
    let stamped = Stamped::read(db, &comparable, reference, stamps)?;
    let unchanged: HashSet<u32> = stamped.unchanged(&comparable);
    let (as_before, comparable): (Vec<_>, Vec<_>) =
        comparable.into_iter().partition(|candidate| unchanged.contains(&candidate.oid));
    let oids: Vec<u32> = comparable.iter().map(|candidate| candidate.oid).collect();
    let fingerprints = match oids.len() {
        ..=FEW => HashMap::new(),
        _ => structure::fingerprints(db, &oids)?,
    };

    // Each suspect is read; what is found holds for all that have its fingerprint.
    let mut alike: BTreeMap<(&Vec<String>, Fingerprint), Vec<Candidate<'_>>> = BTreeMap::new();
    let mut suspects: Vec<Suspect<'_>> = Vec::new();
    let mut mentioned: HashMap<*const Ledger, Mentions> = HashMap::new();
    for candidate in &comparable {
        let mentions = mentioned
            .entry(Arc::as_ptr(candidate.ledger))
            .or_insert_with(|| Mentions::of(reference.structure(&candidate.ledger.applied)));
        match fingerprints.get(&candidate.oid) {
            Some(fingerprint) if !mentions.may_mean(candidate.tenant.name.as_str()) => {
                alike.entry((&candidate.ledger.applied, *fingerprint)).or_default().push(*candidate);
            }
            _ => suspects.push(Suspect { candidate: *candidate, others: Vec::new() }),
        }
    }
    for members in alike.into_values() {
        let (first, others) = members.split_first().expect("a group has a member");
        let others = others.iter().map(|other| (other.oid, &other.tenant.name)).collect();
        suspects.push(Suspect { candidate: *first, others });
    }

    let mut groups: HashMap<Arc<[Difference]>, Vec<Member>> = HashMap::new();
    for chunk in suspects.chunks(AT_ONCE) {
        for (suspect, outcome) in compare_some(db, chunk, reference, names)? {
            match outcome {
                Err(why) => {
                    not_compared.add(&suspect.candidate.tenant.name, &why);
                    suspect.others.iter().for_each(|(_, name)| not_compared.add(name, &why));
                }
                Ok((own_name, differences)) => {
                    let members = groups.entry(differences.into()).or_default();
                    members.push(Member { name: suspect.candidate.tenant.name.clone(), own_name });
                    members.extend(quoted(db.connection(), &suspect.others)?);
                }
            }
        }
    }
    let as_before: Vec<(u32, &TenantName)> =
        as_before.iter().map(|candidate| (candidate.oid, &candidate.tenant.name)).collect();
    let same: Arc<[Difference]> = Vec::new().into();
    if !as_before.is_empty() {
        groups.entry(Arc::clone(&same)).or_default().extend(quoted(db.connection(), &as_before)?);
    }
    if let Some(members) = groups.get(&same) {
        stamped.remember(db, members, &comparable)?;
    }
    changed_meanwhile(db, tenancy, &comparable, &mut groups, &mut not_compared)?;
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(differences, mut members)| {
            members.sort_by(|a, b| a.name.cmp(&b.name));
            Group { members, differences }
        })
        .collect();
    groups
        .sort_by(|a, b| b.members.len().cmp(&a.members.len()).then_with(|| a.members[0].name.cmp(&b.members[0].name)));
    Ok(Drift { groups, not_compared: not_compared.into_list() })
}

/// A tenant that can be compared.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) tenant: &'a Tenant,
    /// Its schema's.
    pub(super) oid: u32,
    pub(super) ledger: &'a Arc<Ledger>,
}

/// A tenant to be read in full, and those that are like it.
struct Suspect<'a> {
    candidate: Candidate<'a>,
    others: Vec<(u32, &'a TenantName)>,
}

type Outcome = Result<(String, Vec<Difference>), String>;

/// Reads and compares suspects; where one of them cannot be read, the others are.
fn compare_some<'a, 'b>(
    db: &mut Database,
    suspects: &'b [Suspect<'a>],
    reference: &Reference,
    names: &HashSet<String>,
) -> Result<Vec<(&'b Suspect<'a>, Outcome)>, Error> {
    let version = db.server().version;
    let oids: Vec<u32> = suspects.iter().map(|suspect| suspect.candidate.oid).collect();
    let mut structures = match structure::read(db.connection(), version, &oids) {
        Ok(structures) => structures,
        Err(error @ Error::Query { lost: true, .. }) => return Err(error),
        Err(error) => match suspects {
            [one] => return Ok(vec![(one, Err(format!("their structure cannot be read: {error}")))]),
            _ => {
                let mut outcomes = Vec::new();
                for one in suspects {
                    outcomes.extend(compare_some(db, std::slice::from_ref(one), reference, names)?);
                }
                return Ok(outcomes);
            }
        },
    };
    Ok(suspects
        .iter()
        .filter_map(|suspect| {
            // One that is not there was dropped meanwhile.
            let structure = structures.remove(&suspect.candidate.oid)?;
            let expected = reference.structure(&suspect.candidate.ledger.applied)?;
            let differences = compare(expected, &structure, names);
            Some((suspect, Ok((structure.own_name, differences))))
        })
        .collect())
}

/// Takes out whoever has been migrated or dropped since its ledger was read: what differs may be just that.
fn changed_meanwhile(
    db: &mut Database,
    tenancy: &Tenancy,
    comparable: &[Candidate<'_>],
    groups: &mut HashMap<Arc<[Difference]>, Vec<Member>>,
    not_compared: &mut Excluded,
) -> Result<(), Error> {
    let mut differing: Vec<TenantName> = groups
        .iter()
        .filter(|(differences, _)| !differences.is_empty())
        .flat_map(|(_, members)| members.iter().map(|member| member.name.clone()))
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    differing.sort_unstable();
    let before: HashMap<&TenantName, &Arc<Ledger>> =
        comparable.iter().map(|candidate| (&candidate.tenant.name, candidate.ledger)).collect();
    let now = Fleet::read_some(db.connection(), tenancy.tenant_migrations(), &differing)?;
    let mut changed: HashSet<TenantName> = HashSet::new();
    for name in differing {
        let same = now.get(&name).is_some_and(|tenant| {
            reference::applied(tenant) == before.get(&name).map(|ledger| &ledger.applied) && tenant.unfinished.is_none()
        });
        if !same {
            not_compared.add(&name, "they were changed meanwhile");
            changed.insert(name);
        }
    }
    for members in groups.values_mut() {
        members.retain(|member| !changed.contains(&member.name));
    }
    groups.retain(|_, members| !members.is_empty());
    Ok(())
}

#[derive(Default)]
struct Excluded(BTreeMap<String, Vec<TenantName>>);

impl Excluded {
    fn add(&mut self, tenant: &TenantName, why: &str) {
        self.0.entry(why.to_owned()).or_default().push(tenant.clone());
    }

    fn into_list(self) -> Vec<NotCompared> {
        self.0
            .into_iter()
            .map(|(why, mut tenants)| {
                tenants.sort_unstable();
                NotCompared { tenants, why }
            })
            .collect()
    }
}

/// Schemas' names as the server quotes them.
fn quoted(conn: &mut PgConnection, tenants: &[(u32, &TenantName)]) -> Result<Vec<Member>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = Text)]
        own_name: String,
    }
    let mut members = Vec::with_capacity(tenants.len());
    for chunk in tenants.chunks(CHUNK) {
        let oids: Vec<u32> = chunk.iter().map(|(oid, _)| *oid).collect();
        let rows: Vec<Row> =
            sql_query("SELECT oid, quote_ident(nspname) AS own_name FROM pg_namespace WHERE oid = ANY ($1)")
                .bind::<Array<Oid>, _>(&oids)
                .load(conn)
                .map_err(Error::doing("read the names of schemas"))?;
        let names: HashMap<u32, &TenantName> = chunk.iter().copied().collect();
        members.extend(rows.into_iter().map(|row| Member { name: names[&row.oid].clone(), own_name: row.own_name }));
    }
    Ok(members)
}
