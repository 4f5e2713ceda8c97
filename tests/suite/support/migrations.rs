//! Directories of migrations.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory of migrations, removed with the value.
pub struct Dir {
    folder: TempDir,
    /// The folder that was added last.
    last: Option<PathBuf>,
}

impl Dir {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), last: None }
    }

    /// A copy of this repository's tenant migrations.
    pub fn copy_of_tenant() -> Self {
        Self::copy_of("tenant")
    }

    /// A copy of this repository's public migrations.
    pub fn copy_of_public() -> Self {
        Self::copy_of("public")
    }

    /// Adds a migration: the folder's name, and the text of its `up.sql`.
    pub fn add(mut self, name: &str, up: &str) -> Self {
        fs::create_dir(self.path().join(name)).expect("a new folder");
        self.last = Some(self.path().join(name));
        self.put("up.sql", up)
    }

    /// Gives the migration added last a `down.sql`.
    pub fn down(self, sql: &str) -> Self {
        self.put("down.sql", sql)
    }

    /// Gives the migration added last a `metadata.toml`.
    pub fn metadata(self, toml: &str) -> Self {
        self.put("metadata.toml", toml)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The names of its folders, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names = names_in(self.path());
        names.sort();
        names
    }

    /// Replaces a file, such as `20260101000000_a/up.sql`, which need not exist.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(file), content).expect("the file can be written");
    }

    /// Removes a migration.
    pub fn remove(&self, name: &str) {
        fs::remove_dir_all(self.path().join(name)).expect("the folder can be removed");
    }

    fn put(self, file: &str, text: &str) -> Self {
        let folder = self.last.as_ref().expect("a migration was added before");
        fs::write(folder.join(file), text).expect("the file can be written");
        self
    }

    fn copy_of(set: &str) -> Self {
        let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(set), Self::new());
        for name in names_in(&from) {
            fs::create_dir(to.path().join(&name)).expect("a new folder");
            for file in names_in(&from.join(&name)) {
                fs::copy(from.join(&name).join(&file), to.path().join(&name).join(&file)).expect("a copy");
            }
        }
        to
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}
