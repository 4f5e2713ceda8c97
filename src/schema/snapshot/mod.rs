//! Snapshots: everything that the tenant migrations produce, as one script, so that creating a tenant does not take longer
//! with each migration.
//!
//! A snapshot is made from a replay of the migrations, [proven](make) before it is used, and [stored](store) in
//! `public.schema_snapshot` under a [key] of what it depends on. [Spare schemas](spares) are made from one in advance.

mod key;
mod make;
pub(crate) mod render;
pub(crate) mod spares;
mod store;

use crate::database::Database;
use crate::error::Error;
use crate::model::{NamePolicy, SchemaName};
use crate::postgres;
use crate::schema::{reference, structure};
use crate::tenants::Tenancy;

use key::SnapshotKey;
use store::StoredSnapshot;

/// With fewer migrations, a replay takes about as long as a snapshot and its query.
const MIN_MIGRATIONS: usize = 20;

/// A script that creates everything that the tenant migrations produce in an empty schema with a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    script: String,
    /// The name of the schema in the script. It is random, so that no other text contains it.
    placeholder: String,
    /// Whether the schema may be renamed after the script has run.
    is_renamable: bool,
}

/// How new tenants get what the migrations produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedFrom {
    /// From a snapshot of what the migrations produce.
    Snapshot {
        /// The tenants for which the migrations were applied nevertheless, and why.
        except: Option<String>,
    },
    /// By applying each migration.
    Migrations {
        /// Why not from a snapshot, as a clause.
        reason: String,
    },
}

/// A snapshot, or the reason as a clause why there is none.
pub(crate) type Choice = Result<Snapshot, String>;

impl Snapshot {
    /// The settings that the script runs with, besides the search path.
    pub(crate) fn settings() -> String {
        format!("{} SET LOCAL check_function_bodies TO off;", structure::PINNED)
    }

    /// The schema in which the script is to run for a tenant: the tenant's, or another one that is renamed afterwards, if the
    /// tenant's name needs quotes. `None` if the tenant cannot be created from the snapshot.
    pub(crate) fn schema_for(&self, schema: &SchemaName) -> Option<SchemaName> {
        let name = schema.as_str();
        if NamePolicy::Strict.parse(name).is_ok() && !name.contains(|c: char| c.is_ascii_uppercase()) {
            return Some(schema.clone());
        }
        self.is_renamable.then(reference::scratch_name)
    }

    /// Whether a schema that was made from it may be renamed.
    pub(crate) fn is_renamable(&self) -> bool {
        self.is_renamable
    }

    /// The script for a schema whose name needs no quotes.
    pub(crate) fn script_in(&self, schema: &SchemaName) -> String {
        self.script.replace(&self.placeholder, schema.as_str())
    }
}

/// What a spare schema was made from: the migrations, and what else a snapshot depends on, as digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpareKey {
    migrations: String,
    environment: String,
}

/// What tenants can be created from.
pub(crate) struct Sources {
    pub(crate) snapshot: Choice,
    /// The spare schemas that can be renamed.
    pub(crate) spares: Vec<SchemaName>,
}

/// A snapshot with the key for the spares that are made from it.
pub(crate) struct Basis {
    pub(crate) snapshot: Choice,
    pub(crate) key: SpareKey,
}

/// What `tenants` new tenants can be created from: reads the snapshot, or makes and stores it.
///
/// # Errors
/// The connection is lost. After other errors, tenants can be created without a snapshot.
pub(crate) fn sources(db: &mut Database, tenancy: &Tenancy, tenants: usize) -> Result<Sources, Error> {
    let count = tenancy.tenant_migrations().len();
    if count < MIN_MIGRATIONS && !db.server().has_spares {
        return Ok(Sources { snapshot: Err(few()), spares: Vec::new() });
    }
    match find_sources(db, tenancy, tenants) {
        Err(error) if is_lost(&error) => Err(error),
        Err(error) => Ok(Sources { snapshot: Err(error.to_string()), spares: Vec::new() }),
        Ok(sources) => Ok(sources),
    }
}

fn few() -> String {
    format!("there are fewer than {MIN_MIGRATIONS} migrations")
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Postgres(postgres::Error::Query { lost: true, .. }))
}

fn find_sources(db: &mut Database, tenancy: &Tenancy, tenants: usize) -> Result<Sources, Error> {
    let key = key::of(tenancy, db.server().version);
    let stored = store::find(db.connection(), &key)?;
    let spares = if db.server().has_spares && spares::is_trusted(db.connection())? {
        let recorded = spares::recorded(db.connection())?;
        spares::ready(db.connection(), &recorded, &stored.spare_key(&key))?
    } else {
        Vec::new()
    };
    let is_enough = spares.len() >= tenants;
    let snapshot = match stored.choice {
        _ if tenancy.tenant_migrations().len() < MIN_MIGRATIONS => Err(few()),
        None if is_enough && stored.is_trusted => Err("the spare schemas were used up".to_owned()),
        choice => choose(db, tenancy, &key, StoredSnapshot { choice, ..stored })?,
    };
    Ok(Sources { snapshot, spares })
}

/// The snapshot for spare schemas, however few migrations there are.
///
/// # Errors
/// The server's error, or [`Error::NoReference`].
pub(crate) fn basis(db: &mut Database, tenancy: &Tenancy) -> Result<Basis, Error> {
    let key = key::of(tenancy, db.server().version);
    let stored = store::find(db.connection(), &key)?;
    let spare_key = stored.spare_key(&key);
    let snapshot = choose(db, tenancy, &key, stored)?;
    let trusted = spares::is_trusted(db.connection())?;
    let snapshot = if trusted { snapshot } else { Err("other roles may write to public.schema_spare".to_owned()) };
    Ok(Basis { snapshot, key: spare_key })
}

/// The key of the spares that can be used now, without making a snapshot.
///
/// # Errors
/// The server's error.
pub(crate) fn current_key(db: &mut Database, tenancy: &Tenancy) -> Result<SpareKey, Error> {
    let key = key::of(tenancy, db.server().version);
    Ok(store::find(db.connection(), &key)?.spare_key(&key))
}

fn choose(db: &mut Database, tenancy: &Tenancy, key: &SnapshotKey, stored: StoredSnapshot) -> Result<Choice, Error> {
    if !stored.is_trusted {
        return Ok(Err("other roles may write to public.schema_snapshot".to_owned()));
    }
    if let Some(choice) = stored.choice {
        return Ok(choice);
    }
    let made = make::make(db, tenancy)?;
    // Another run may need it again, but this one does not depend on it.
    match store::save(db.connection(), key, &stored.environment, &made) {
        Err(error) if is_lost(&error) => Err(error),
        _ => Ok(made),
    }
}
