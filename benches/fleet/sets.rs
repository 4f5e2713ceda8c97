//! The migrations that are run: the repository's, those of them that are transactional, and one more.

use std::fs;
use std::path::Path;

use anyhow::Result;
use tenantry::migration::Mode;
use tenantry::{MigrationSet, Tenancy, embed_migrations};

static TENANT: tenantry::Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");

static THIRTEEN: tenantry::Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/benches/fleet/thirteen");

/// The migrations that are rolled out, one after the other.
const NEXT: (&str, &str) = ("20990101000000_add_estimate", "ALTER TABLE tasks ADD COLUMN estimate_hours integer;\n");
const ONE_MORE: (&str, &str) = ("20990102000000_add_budget", "ALTER TABLE projects ADD COLUMN budget integer;\n");

/// What the tenants are made of.
pub struct Sets {
    /// The repository's tenant migrations.
    pub full: Tenancy,
    /// Those of them that are transactional.
    pub transactional: Tenancy,
    /// Those, and the first one that is rolled out.
    pub transactional_next: Tenancy,
    /// All, and the first one that is rolled out.
    pub next: Tenancy,
    /// All, and both.
    pub one_more: Tenancy,
    /// Thirteen tables, as an application has them.
    pub thirteen: Tenancy,
}

impl Sets {
    /// Loads them.
    pub fn load() -> Result<Self> {
        let full = MigrationSet::from_embedded(&TENANT)?;
        let transactional = full
            .iter()
            .filter(|migration| migration.mode() == Mode::Transactional)
            .map(|migration| (migration.folder(), migration.up().text()));
        let transactional = set_of(transactional)?;
        let next = full.merge(&set_of([NEXT])?)?;
        let one_more = next.merge(&set_of([ONE_MORE])?)?;
        Ok(Self {
            full: Tenancy::new(full)?,
            transactional_next: Tenancy::new(transactional.merge(&set_of([NEXT])?)?)?,
            transactional: Tenancy::new(transactional)?,
            next: Tenancy::new(next)?,
            one_more: Tenancy::new(one_more)?,
            thirteen: Tenancy::new(MigrationSet::from_embedded(&THIRTEEN)?)?,
        })
    }
}

/// A set of folders with an up.sql each.
fn set_of<'a>(migrations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<MigrationSet> {
    let root = tempfile::tempdir()?;
    for (folder, up) in migrations {
        let folder = root.path().join(folder);
        fs::create_dir(&folder)?;
        write(&folder.join("up.sql"), up)?;
    }
    Ok(MigrationSet::from_dir(root.path())?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(fs::write(path, text)?)
}
