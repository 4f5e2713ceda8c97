//! What an archive is of: read before anything is restored.

use std::collections::BTreeSet;
use std::path::Path;

use super::archive::{ArchivePart, ArchiveReader};
use super::{ArchivePrograms, BackupError};
use crate::error::Error;
use crate::model::{SchemaName, TenantName};
use crate::sql::archive::ArchiveStatement;
use crate::sql::statement::{Statement, split};

/// The schema of an archive.
pub(super) struct ArchivedSchema {
    pub(super) name: SchemaName,
    /// Its owner; `None` if the archive was made with --no-owner.
    pub(super) owner: Option<String>,
    /// The other owners of objects in it.
    pub(super) other_owners: BTreeSet<String>,
    /// Whether the statements are certainly those of pg_dump, so that those about owners can be executed by the connected role.
    pub(super) is_restricted: bool,
    /// The roles that have privileges.
    pub(super) grantees: BTreeSet<String>,
}

/// An error for the tenant that is restored.
pub(super) fn refused(tenant: &TenantName, reason: impl Into<String>) -> BackupError {
    Error::CannotRestore { name: tenant.clone(), reason: reason.into() }.into()
}

/// The statements of a text, each with what it does.
pub(super) fn statements<'t>(
    tenant: &TenantName,
    text: &'t str,
) -> Result<Vec<(ArchiveStatement, Statement<'t>)>, BackupError> {
    let statements = split(text).map_err(|error| refused(tenant, format!("the archive is invalid: {error}")))?;
    let recognized = statements.into_iter().map(|statement| {
        let what = ArchiveStatement::of(&statement);
        what.map(|what| (what, statement)).map_err(|reason| refused(tenant, format!("{reason} (in the archive)")))
    });
    recognized.collect()
}

/// Reads all of an archive, so that one that is incomplete or not of one schema is refused before the database is changed.
pub(super) fn inspect(
    programs: &ArchivePrograms,
    file: &Path,
    tenant: &TenantName,
) -> Result<ArchivedSchema, BackupError> {
    let mut archive = ArchiveReader::open(&programs.restore, file)?;
    let (mut schemas, mut owner, mut is_restricted) = (Vec::new(), None, None);
    let (mut other_owners, mut grantees) = (BTreeSet::new(), BTreeSet::new());
    while let Some(part) = archive.next()? {
        let text = match part {
            ArchivePart::Rows(_) => {
                archive.rows(|_| Ok(()))?;
                continue;
            }
            ArchivePart::Statements(text) => text,
        };
        for (what, _) in statements(tenant, &text)? {
            // Only the first statement is certainly that of pg_restore.
            is_restricted.get_or_insert(what == ArchiveStatement::Restrict);
            match what {
                ArchiveStatement::CreateSchema(name) => schemas.push(name),
                ArchiveStatement::SchemaOwner(role) => owner = Some(role),
                ArchiveStatement::ObjectOwner { role, .. } => _ = other_owners.insert(role),
                ArchiveStatement::Privileges(role) => grantees.extend(role),
                _ => {}
            }
        }
    }
    let [name] = schemas.as_slice() else {
        let count = schemas.len();
        return Err(refused(tenant, format!("the archive creates {count} schemas, and that of a tenant creates one")));
    };
    // A name of the server's own schemas is not that of a tenant.
    let name: TenantName =
        name.parse().map_err(|error| refused(tenant, format!("the schema of the archive: {error}")))?;
    let name = name.schema().clone();
    other_owners.retain(|role| owner.as_ref() != Some(role));
    Ok(ArchivedSchema { name, owner, other_owners, is_restricted: is_restricted == Some(true), grantees })
}
