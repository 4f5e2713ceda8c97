//! Makes the reference: chooses the replays, runs them, and collects the structures.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::owner;
use super::replay::Replay;
use super::scratch;
use super::{Applied, Reference};
use crate::confine;
use crate::database::Database;
use crate::error::{Error, ReferenceError};
use crate::migration::MigrationSet;
use crate::schema::structure::Structure;
use crate::tenants::Tenancy;

/// The most sets of migrations with gaps that are replayed, each from the beginning.
const MAX_SETS_WITH_GAPS: usize = 20;

/// Makes the reference; see [`Reference::make`].
pub(super) fn make(db: &mut Database, tenancy: &Tenancy, wanted: &BTreeSet<Applied>) -> Result<Reference, Error> {
    require_schema_creation(db)?;
    scratch::sweep(db.connection())?;
    let server = db.server().clone();
    let owner = if server.has_tracker && !server.tracker_is_hidden {
        owner::of_fleet(db.connection(), &server.role)?
    } else {
        None
    };
    let horizon = confine::read_horizon(db.connection()).map_err(Error::doing("make the reference"))?;
    let replay = |migrations: Vec<usize>, read_after: BTreeSet<usize>| Replay {
        tenancy,
        server: &server,
        owner: owner.as_ref(),
        horizon,
        migrations,
        read_after,
        reads_leftovers: false,
    };
    let set = tenancy.tenant_migrations();
    let (prefixes, with_gaps): (Vec<&Applied>, Vec<&Applied>) =
        wanted.iter().partition(|applied| is_prefix(applied, set));

    let all = replay((0..set.len()).collect(), prefixes.iter().map(|applied| applied.len()).collect());
    let mut replayed = all.run(db)?;
    let mut structures = BTreeMap::new();
    for applied in prefixes {
        if let Some(structure) = replayed.structures.remove(&applied.len()) {
            structures.insert(applied.clone(), structure);
        }
    }
    for applied in with_gaps.into_iter().take(MAX_SETS_WITH_GAPS) {
        let migrations: Vec<usize> = applied.iter().filter_map(|version| set.position(version)).collect();
        let read_after = BTreeSet::from([migrations.len()]);
        match replay(migrations, read_after).run(db) {
            Ok(mut replayed) => {
                structures.extend(replayed.structures.pop_first().map(|(_, structure)| (applied.clone(), structure)));
            }
            // A migration needs one that these tenants have not applied, so there is no reference for them.
            Err(Error::NoReference(_)) => {}
            Err(error) => return Err(error),
        }
    }
    // The replaying role owns the schema, but another role may own the tenants. All other owners are stored relative to it.
    if let Some(owner) = &owner {
        for facts in structures.values_mut().filter_map(Structure::schema_facts) {
            facts.insert("owner".to_owned(), owner.name.clone().into());
        }
    }
    Ok(Reference { tables: replayed.tables, structures, set: set.clone() })
}

/// What all tenant migrations produce.
pub(crate) struct Products {
    /// The structure, with markers for the schema's name.
    pub(crate) structure: Structure,
    /// What they leave besides the structure, as a clause: rows, or a sequence that is not at its start.
    pub(crate) leftovers: Option<String>,
}

/// Replays all tenant migrations as the connected role, as `create` applies them. Nothing is left in the database; see
/// [`Reference::make`].
///
/// # Errors
/// As [`Reference::make`].
pub(crate) fn products(db: &mut Database, tenancy: &Tenancy) -> Result<Products, Error> {
    require_schema_creation(db)?;
    scratch::sweep(db.connection())?;
    let server = db.server().clone();
    let horizon = confine::read_horizon(db.connection()).map_err(Error::doing("make the reference"))?;
    let count = tenancy.tenant_migrations().len();
    let replay = Replay {
        tenancy,
        server: &server,
        owner: None,
        horizon,
        migrations: (0..count).collect(),
        read_after: BTreeSet::from([count]),
        reads_leftovers: true,
    };
    let mut replayed = replay.run(db)?;
    let structure = replayed.structures.remove(&count).unwrap_or_else(|| [].into_iter().collect());
    Ok(Products { structure, leftovers: replayed.leftovers })
}

/// Fails unless this session can create a schema.
fn require_schema_creation(db: &mut Database) -> Result<(), Error> {
    let (role, database) = (db.server().role.clone(), db.server().database.clone());
    if db.server().in_recovery {
        return Err(Error::from(ReferenceError::Standby));
    }
    let (can_create, read_only): (bool, bool) = diesel::select((
        sql::<Bool>("pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"),
        sql::<Bool>("pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool"),
    ))
    .get_result(db.connection())
    .map_err(Error::doing("read the privileges of the role"))?;
    if !can_create {
        return Err(Error::from(ReferenceError::NoCreatePrivilege { role, database }));
    }
    if read_only {
        return Err(Error::from(ReferenceError::ReadOnly { role }));
    }
    Ok(())
}

fn is_prefix(applied: &Applied, set: &MigrationSet) -> bool {
    applied.iter().enumerate().all(|(index, version)| set.position(version) == Some(index))
}
