//! The migrations of the benchmark: the repository's, its transactional ones, and one more.

use std::fs;
use std::path::Path;

use anyhow::Result;
use tenantry::migration::Mode;
use tenantry::{MigrationSet, Tenancy, embed_migrations};

static TENANT: tenantry::Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/migrations/tenant");

static THIRTEEN: tenantry::Embedded = embed_migrations!("$CARGO_MANIFEST_DIR/benches/fleet/thirteen");

/// The migrations that are rolled out, one after another.
const NEXT: (&str, &str) = ("20990101000000_add_estimate", "ALTER TABLE tasks ADD COLUMN estimate_hours integer;\n");
const ONE_MORE: (&str, &str) = ("20990102000000_add_budget", "ALTER TABLE projects ADD COLUMN budget integer;\n");
/// As a release often brings it: a table with keys and an index.
const TABLE: (&str, &str) = (
    "20990103000000_create_milestones",
    "CREATE TABLE milestones (\n    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    \
     project_id bigint NOT NULL REFERENCES projects,\n    name text NOT NULL,\n    due date\n);\n\
     CREATE INDEX milestones_project_id_idx ON milestones (project_id);\n",
);

/// The migrations that the tenants have.
pub struct Sets {
    /// The repository's tenant migrations.
    pub full: Tenancy,
    /// The transactional ones of these.
    pub transactional: Tenancy,
    /// The transactional ones, and the first migration that is rolled out.
    pub transactional_next: Tenancy,
    /// All of these, and the first migration that is rolled out.
    pub next: Tenancy,
    /// All of these, and the second migration that is rolled out.
    pub one_more: Tenancy,
    /// All of these, and a table that is rolled out.
    pub table: Tenancy,
    /// Thirteen tables, like those of an application.
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
        let table = one_more.merge(&set_of([TABLE])?)?;
        Ok(Self {
            full: Tenancy::new(full)?,
            transactional_next: Tenancy::new(transactional.merge(&set_of([NEXT])?)?)?,
            transactional: Tenancy::new(transactional)?,
            next: Tenancy::new(next)?,
            one_more: Tenancy::new(one_more)?,
            table: Tenancy::new(table)?,
            thirteen: Tenancy::new(MigrationSet::from_embedded(&THIRTEEN)?)?,
        })
    }
}

/// The same for owned texts.
pub fn set_of_owned(migrations: &[(String, String)]) -> Result<MigrationSet> {
    set_of(migrations.iter().map(|(folder, up)| (folder.as_str(), up.as_str())))
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
