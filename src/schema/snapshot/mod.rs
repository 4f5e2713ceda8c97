//! Snapshots: everything that the tenant migrations produce, as one script, so that creating a tenant does not take longer
//! with each migration.
//!
//! A snapshot is made from a replay of the migrations, [proven](make) before it is used, and [stored](store) in
//! `public.schema_snapshot` under a [key] of what it depends on.

mod key;
mod make;
mod store;

use crate::database::Database;
use crate::error::Error;
use crate::model::{NamePolicy, SchemaName};
use crate::postgres;
use crate::schema::{reference, structure};
use crate::tenants::Tenancy;

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

    /// The script for a schema whose name needs no quotes.
    pub(crate) fn script_in(&self, schema: &SchemaName) -> String {
        self.script.replace(&self.placeholder, schema.as_str())
    }
}

/// The snapshot for the migrations of a tenancy: reads it, or makes and stores it.
///
/// # Errors
/// The connection is lost. After other errors, tenants can be created without a snapshot.
pub(crate) fn choose(db: &mut Database, tenancy: &Tenancy) -> Result<Choice, Error> {
    let count = tenancy.tenant_migrations().len();
    if count < MIN_MIGRATIONS {
        return Ok(Err(format!("there are fewer than {MIN_MIGRATIONS} migrations")));
    }
    match find_or_make(db, tenancy) {
        Err(error @ Error::Postgres(postgres::Error::Query { lost: true, .. })) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
        Ok(choice) => Ok(choice),
    }
}

fn find_or_make(db: &mut Database, tenancy: &Tenancy) -> Result<Choice, Error> {
    let key = key::of(tenancy, db.server().version);
    let stored = store::find(db.connection(), &key)?;
    if !stored.is_trusted {
        return Ok(Err("other roles may write to public.schema_snapshot".to_owned()));
    }
    if let Some(choice) = stored.choice {
        return Ok(choice);
    }
    let made = make::make(db, tenancy)?;
    // Another run may need it again, but this one does not depend on it.
    if let Err(error) = store::save(db.connection(), &key, &stored.environment, &made)
        && matches!(error, Error::Postgres(postgres::Error::Query { lost: true, .. }))
    {
        return Err(error);
    }
    Ok(made)
}
