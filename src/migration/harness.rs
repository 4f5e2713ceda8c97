//! Diesel's migration traits, so that Diesel's harness can run a [`MigrationSet`].

use std::sync::Arc;

use diesel::connection::BoxableConnection;
use diesel::migration::{self, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel::pg::Pg;

use super::{FolderName, Migration, MigrationSet, Mode, Script};

impl migration::Migration<Pg> for Migration {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        execute(&self.up, self.mode, conn)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        match &self.down {
            Some(down) => execute(down, self.mode, conn),
            None => Err(format!("migration {} cannot be reverted: it has no down.sql", self.folder()).into()),
        }
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

impl MigrationMetadata for Migration {
    fn run_in_transaction(&self) -> bool {
        self.mode == Mode::Transactional
    }
}

impl MigrationName for FolderName {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(self.version.as_str())
    }
}

impl MigrationSource<Pg> for MigrationSet {
    fn migrations(&self) -> migration::Result<Vec<Box<dyn migration::Migration<Pg>>>> {
        Ok(self.versioned().map(|migration| Box::new(SharedMigration(Arc::clone(migration))) as _).collect())
    }
}

/// A migration for Diesel's harness, which takes ownership, shared with the set.
struct SharedMigration(Arc<Migration>);

impl migration::Migration<Pg> for SharedMigration {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        self.0.run(conn)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        self.0.revert(conn)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &*self.0
    }

    fn name(&self) -> &dyn MigrationName {
        &self.0.name
    }
}

/// Runs a script for Diesel's harness. Several statements in one message are an implicit transaction; therefore the
/// statements of a non-transactional migration are sent one by one, unlike in Diesel's own file-based migrations.
fn execute(script: &Script, mode: Mode, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
    match mode {
        Mode::Transactional => conn.batch_execute(script.text())?,
        Mode::NonTransactional => {
            for statement in script.statements() {
                conn.batch_execute(statement.sql())?;
            }
        }
    }
    Ok(())
}
