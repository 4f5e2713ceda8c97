//! One pass over tenants: select, stamp, fingerprint, read representatives, confirm.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, Oid, Text};

use super::archived::restore_grants;
use super::candidate::{Candidate, Versions};
use super::check::{FEW, Member, Verdicts};
use super::compare::compare;
use super::difference::Difference;
use super::stamp::{self, Stamped, Stamps};
use crate::database::Database;
use crate::error::Error;
use crate::migration::MigrationSet;
use crate::model::{State, TenantName};
use crate::postgres::{self, CHUNK};
use crate::schema::reference;
use crate::schema::structure::{self, AT_ONCE, Fingerprint, Structure};
use crate::tenants::{Fleet, Tenant};

/// The values that all passes share.
pub(super) struct Pass<'a> {
    pub(super) set: &'a MigrationSet,
    pub(super) versions: &'a Versions<'a>,
    /// The names of all tenants.
    pub(super) names: &'a HashSet<String>,
    pub(super) stamps: Stamps,
}

/// Tenants with the same applied migrations, the same state and the same fingerprint. The last member represents them.
struct Alike<'t> {
    members: Vec<Candidate<'t>>,
    /// The reason reason the last representative could not be read.
    reason: Option<String>,
}

/// A group with the differences of its representative, which did not change while it was read.
struct ComparedGroup<'t> {
    members: Vec<Candidate<'t>>,
    differences: Arc<[Difference]>,
}

/// The number of members that are tried as the representative of a group.
const REPRESENTATIVES: usize = 3;

impl Pass<'_> {
    /// Adds the verdicts on tenants. Returns the tenants that changed or were dropped in the meantime.
    pub(super) fn run(
        &self,
        db: &mut Database,
        tenants: &[&Tenant],
        verdicts: &mut Verdicts,
    ) -> Result<Vec<TenantName>, Error> {
        let candidates = self.select(tenants, verdicts);
        let stamped = Stamped::read(db, &candidates, self.versions, self.stamps)?;
        let (stored, candidates): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|it| stamped.is_stored(it));
        let alike = self.by_fingerprint(db, candidates)?;
        let mut changed = Vec::new();
        let compared = self.read_representatives(db, alike, &stamped, verdicts, &mut changed)?;

        let (matching, differing): (Vec<_>, Vec<_>) = compared.into_iter().partition(|it| it.differences.is_empty());
        let matching: Vec<Candidate<'_>> = matching.into_iter().flat_map(|it| it.members).collect();
        stamped.remember(db, &matching)?;
        let same =
            ComparedGroup { members: stored.into_iter().chain(matching).collect(), differences: Vec::new().into() };
        let differing = self.confirm(db, differing, &stamped, &mut changed)?;
        let compared: Vec<ComparedGroup<'_>> = std::iter::once(same).chain(differing).collect();
        let own_names = own_names(db.connection(), compared.iter().flat_map(|it| &it.members))?;
        for ComparedGroup { members, differences } in &compared {
            let member = |it: &Candidate<'_>| {
                Some(Member { name: it.name().clone(), own_name: own_names.get(&it.oid)?.clone() })
            };
            verdicts.compared(differences, members.iter().filter_map(member));
        }
        Ok(changed)
    }

    fn select<'t>(&self, tenants: &[&'t Tenant], verdicts: &mut Verdicts) -> Vec<Candidate<'t>> {
        let mut candidates = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            match self.versions.candidate(tenant) {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => verdicts.unchecked(&tenant.name, reason),
            }
        }
        candidates
    }

    /// Groups tenants by fingerprint. A tenant that is always read in full is alone in its group.
    fn by_fingerprint<'t>(&self, db: &mut Database, candidates: Vec<Candidate<'t>>) -> Result<Vec<Alike<'t>>, Error> {
        let oids: Vec<u32> = candidates.iter().map(|candidate| candidate.oid).collect();
        let fingerprints = match oids.len() {
            ..=FEW => HashMap::new(),
            _ => structure::fingerprints(db, &oids)?,
        };
        let mut groups: BTreeMap<(usize, State, Fingerprint), Vec<Candidate<'t>>> = BTreeMap::new();
        let mut alike = Vec::new();
        for candidate in candidates {
            match fingerprints.get(&candidate.oid) {
                Some(fingerprint) if !self.versions.may_mention(&candidate) => {
                    groups
                        .entry((candidate.version, candidate.tenant.state, *fingerprint))
                        .or_default()
                        .push(candidate);
                }
                _ => alike.push(Alike { members: vec![candidate], reason: None }),
            }
        }
        alike.extend(groups.into_values().map(|members| Alike { members, reason: None }));
        Ok(alike)
    }

    /// Reads a representative of each group and compares it with the reference. If the representative cannot be read, or
    /// has changed since its stamp was read before the fingerprints, another member takes its place.
    fn read_representatives<'t>(
        &self,
        db: &mut Database,
        mut alike: Vec<Alike<'t>>,
        stamped: &Stamped,
        verdicts: &mut Verdicts,
        changed: &mut Vec<TenantName>,
    ) -> Result<Vec<ComparedGroup<'t>>, Error> {
        let mut compared = Vec::new();
        for _ in 0..REPRESENTATIVES {
            let mut again = Vec::new();
            let mut chunks = alike.into_iter().peekable();
            while chunks.peek().is_some() {
                let chunk: Vec<Alike<'t>> = chunks.by_ref().take(AT_ONCE).collect();
                let oids: Vec<u32> = chunk.iter().map(|group| group.representative().oid).collect();
                let mut structures = read(db, &oids)?;
                let after = stamp::read_current(db.connection(), &oids)?;
                for mut group in chunk {
                    let representative = *group.representative();
                    let structure = structures.remove(&representative.oid);
                    if !stamped.is_unchanged(&representative, &after) {
                        changed.push(representative.name().clone());
                        group.reason = None;
                    } else if let Some(Ok(mut structure)) = structure {
                        let expected = self.versions.expected(&representative);
                        restore_grants(representative.tenant, &mut structure, expected);
                        let differences = compare(expected, &structure, self.names).into();
                        compared.push(ComparedGroup { members: group.members, differences });
                        continue;
                    } else {
                        let reason = structure.and_then(Result::err).unwrap_or_else(|| "it was not found".to_owned());
                        let reason = format!("the structure cannot be read: {reason}");
                        verdicts.unchecked(representative.name(), &reason);
                        group.reason = Some(reason);
                    }
                    group.members.pop();
                    if !group.members.is_empty() {
                        again.push(group);
                    }
                }
            }
            alike = again;
        }
        for Alike { members, reason } in alike {
            for member in members {
                match &reason {
                    Some(reason) => verdicts.unchecked(member.name(), reason),
                    None => changed.push(member.name().clone()),
                }
            }
        }
        Ok(compared)
    }

    /// Removes the tenants whose catalog rows or ledgers have changed since they were read. The change may be the only
    /// difference.
    fn confirm<'t>(
        &self,
        db: &mut Database,
        mut differing: Vec<ComparedGroup<'t>>,
        stamped: &Stamped,
        changed: &mut Vec<TenantName>,
    ) -> Result<Vec<ComparedGroup<'t>>, Error> {
        let members = || differing.iter().flat_map(|it| &it.members);
        let oids: Vec<u32> = members().map(|member| member.oid).collect();
        let names: Vec<TenantName> = members().map(|member| member.name().clone()).collect();
        if names.is_empty() {
            return Ok(differing);
        }
        let after = stamp::read_current(db.connection(), &oids)?;
        let fleet = Fleet::read_some(db.connection(), self.set, &names)?;
        for ComparedGroup { members, .. } in &mut differing {
            members.retain(|member| {
                let unchanged = stamped.is_unchanged(member, &after)
                    && fleet.get(member.name()).is_some_and(|now| {
                        reference::applied(now) == reference::applied(member.tenant) && now.unfinished.is_none()
                    });
                if !unchanged {
                    changed.push(member.name().clone());
                }
                unchanged
            });
        }
        Ok(differing)
    }
}

impl<'t> Alike<'t> {
    fn representative(&self) -> &Candidate<'t> {
        self.members.last().expect("a group has a member")
    }
}

/// Reads schemas in full. If that fails, each is read separately. A schema that does not exist is not in the result.
fn read(db: &mut Database, oids: &[u32]) -> Result<HashMap<u32, Result<Structure, String>>, Error> {
    let version = db.server().version;
    match (structure::read(db.connection(), version, oids), oids) {
        (Ok(structures), _) => Ok(structures.into_iter().map(|(oid, structure)| (oid, Ok(structure))).collect()),
        (Err(error @ Error::Postgres(postgres::Error::Query { lost: true, .. })), _) => Err(error),
        (Err(error), [one]) => Ok(HashMap::from([(*one, Err(error.to_string()))])),
        (Err(_), _) => {
            let mut structures = HashMap::new();
            for oid in oids {
                structures.extend(read(db, std::slice::from_ref(oid))?);
            }
            Ok(structures)
        }
    }
}

/// The names of the candidates' schemas, quoted if necessary, by oid. A schema that does not exist is not in the result.
fn own_names<'a>(
    conn: &mut PgConnection,
    candidates: impl Iterator<Item = &'a Candidate<'a>>,
) -> Result<HashMap<u32, String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = Text)]
        own_name: String,
    }
    let oids: Vec<u32> = candidates.map(|candidate| candidate.oid).collect();
    let mut names = HashMap::with_capacity(oids.len());
    for chunk in oids.chunks(CHUNK) {
        let rows: Vec<Row> = sql_query(
            "SELECT oid, pg_catalog.quote_ident(nspname::pg_catalog.text) AS own_name FROM pg_catalog.pg_namespace \
             WHERE oid = ANY ($1)",
        )
        .bind::<Array<Oid>, _>(chunk)
        .load(conn)
        .map_err(Error::doing("read the names of schemas"))?;
        names.extend(rows.into_iter().map(|row| (row.oid, row.own_name)));
    }
    Ok(names)
}
