//! The key of a snapshot: what it depends on, besides the database.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::migration::{Migration, Mode};
use crate::tenants::Tenancy;

/// Changes when this program writes other scripts for the same migrations.
const FORMAT: &str = concat!("1 ", env!("CARGO_PKG_VERSION"));

/// The key of a snapshot.
pub(super) struct SnapshotKey {
    /// SHA-256 over the migrations, the extension schemas and the server's major version.
    pub(super) migrations: String,
    /// The words of the migrations' code in lower case, some of which may be names of roles.
    pub(super) words: Vec<String>,
}

pub(super) fn of(tenancy: &Tenancy, server_version: i32) -> SnapshotKey {
    let set = tenancy.tenant_migrations();
    let major = (server_version / 10_000).to_string();
    let extensions = tenancy.extension_schemas().iter().map(|schema| schema.as_str());
    let migrations = set.iter().flat_map(|migration| {
        let mode = match migration.mode() {
            Mode::Transactional => "transactional",
            Mode::NonTransactional => "not transactional",
        };
        let outside = migration.outside_reason().map_or("inside", |_| "outside");
        [migration.version().as_str(), migration.up().checksum(), mode, outside]
    });
    SnapshotKey {
        migrations: digest(
            [FORMAT, &major, "extensions"].into_iter().chain(extensions).chain(["migrations"]).chain(migrations),
        ),
        words: words(set.iter().map(|migration| &**migration)),
    }
}

fn words<'a>(migrations: impl Iterator<Item = &'a Migration>) -> Vec<String> {
    let scripts = migrations.map(Migration::up).filter(|script| !script.traits().is_plain);
    let words: BTreeSet<String> = scripts
        .flat_map(|script| {
            script.statements().iter().flat_map(|statement| statement.words_of_code()).collect::<Vec<_>>()
        })
        .collect();
    words.into_iter().collect()
}

/// SHA-256 over texts, in hexadecimal.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length separates the parts.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
