//! Restores an archive as a tenant.
//!
//! The statements of an archive name its schema, so they run in a schema of this name, which is renamed to that of the tenant at the
//! end. If another schema has this name, it has another one meanwhile, which no other session can see.

use std::path::Path;
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text};

use super::archive::{ArchivePart, ArchiveReader};
use super::inspect::{ArchivedSchema, inspect, refused, statements};
use super::load::{LoadFailure, LoadedSchema, settings};
use super::roles::JudgedRoles;
use super::{ArchivePrograms, BackupError};
use crate::database::Database;
use crate::error::{Error, FailedTenant, TenantError};
use crate::local::LocalError;
use crate::model::{SchemaName, State, TenantName};
use crate::operations::migrate::{Batch, SchemaTarget, TrackerRow, tracker_guard, transaction_settings};
use crate::operations::{mentions_of, require_free, transaction_error};
use crate::postgres::{path, session};
use crate::record::runs::{Counts, DoneRow, FailedRow, Run};
use crate::run::Commit;
use crate::schema::reference::scratch_name;
use crate::schema::structure;
use crate::sql::archive::ArchiveStatement;
use crate::sql::quote::Identifier;
use crate::tenants::{Tenancy, ledger};

/// A restored tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoredTenant {
    /// The id of the run in `public.schema_run`.
    pub(crate) run: i64,
    /// The name that the tenant had when it was dumped.
    pub(crate) source: String,
    /// The owner of the schema.
    pub(crate) owner: String,
    /// The number of tables, without the ledger.
    pub(crate) tables: usize,
    /// The number of rows, without those of the ledger.
    pub(crate) rows: i64,
    /// The roles that owned objects in the schema, which belong to its owner now.
    pub(crate) former_owners: Vec<String>,
    /// The roles whose privileges were not restored, because they do not exist or are those of other tenants.
    pub(crate) omitted_roles: Vec<String>,
}

/// Why a restore failed in its transaction.
enum RestoreFailure {
    Server(DieselError),
    Backup(BackupError),
    /// As a clause.
    Refused(String),
}

impl From<DieselError> for RestoreFailure {
    fn from(error: DieselError) -> Self {
        Self::Server(error)
    }
}

impl From<BackupError> for RestoreFailure {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl From<LocalError> for RestoreFailure {
    fn from(error: LocalError) -> Self {
        Self::Backup(error.into())
    }
}

impl From<LoadFailure> for RestoreFailure {
    fn from(failure: LoadFailure) -> Self {
        match failure {
            LoadFailure::Server(error) => Self::Server(error),
            LoadFailure::Archive(error) => error.into(),
            LoadFailure::Refused(reason) => Self::Refused(reason),
        }
    }
}

/// The restore of a tenant.
struct Restoring<'a> {
    tenancy: &'a Tenancy,
    programs: &'a ArchivePrograms,
    file: &'a Path,
    tenant: &'a TenantName,
    archived: ArchivedSchema,
    owner: String,
    roles: JudgedRoles,
    version: i32,
    run: Run,
}

/// The statements of a part of an archive.
#[derive(Default)]
struct ArchiveScript {
    /// Those that run as the owner of the schema.
    contained: String,
    /// Those that give objects to other roles, which run as the connected role.
    owners: String,
}

const DOING: &str = "restore the tenant";

/// Restores an archive as a new tenant, in one transaction: if the connection is lost at the commit, the tenant exists completely
/// or not at all. With a chosen owner, the schema and all objects belong to it, or else to the owners in the archive.
///
/// # Errors
/// [`Error::Tenant`] or [`Error::CannotRestore`] if the tenant cannot be restored, or the errors of the server and of pg_restore.
pub(crate) fn restore(
    db: &mut Database,
    tenancy: &Tenancy,
    programs: &ArchivePrograms,
    file: &Path,
    (tenant, chosen): (&TenantName, Option<&str>),
) -> Result<RestoredTenant, BackupError> {
    db.require_writable(tenancy)?;
    require_free(db, tenancy, tenant, None)?;
    let archived = inspect(programs, file, tenant)?;
    let owner = chosen.map(str::to_owned).or_else(|| archived.owner.clone());
    let owner = owner.ok_or_else(|| refused(tenant, "the archive does not name the owner of its schema"))?;
    let roles = JudgedRoles::of(db, &archived, &owner, chosen)?;
    let run = Run::begin(db, "restore")?;
    let version = db.server().version;
    let restoring = Restoring { tenancy, programs, file, tenant, archived, owner, roles, version, run };
    match restoring.execute(db.connection()) {
        Ok(Loaded { tables, rows, .. }) => {
            run.end(db, None, Counts::of(1, 0, &[], 0));
            let Restoring { archived, owner, roles: JudgedRoles { omitted: omitted_roles, owners }, .. } = restoring;
            let former = archived.other_owners.into_iter().filter(|role| *role != owner && !owners.contains(role));
            Ok(RestoredTenant {
                run: run.id(),
                source: archived.name.to_string(),
                former_owners: former.collect(),
                owner,
                tables,
                rows,
                omitted_roles,
            })
        }
        Err(failure) => {
            let (recorded, error) = failure.after_rollback(db, tenant)?;
            let failed = [FailedTenant::new(tenant, recorded)];
            run.record_failures(db.connection(), &[FailedRow::of_blocked(&failed[0])])?;
            run.end(db, None, Counts::of(0, 0, &failed, 0));
            let [FailedTenant { error: recorded, .. }] = failed;
            let of_tenant = || Error::Tenant { name: tenant.clone(), error: Box::new(recorded) }.into();
            Err(error.unwrap_or_else(of_tenant))
        }
    }
}

impl RestoreFailure {
    /// Ends the failed transaction. Returns the error for the record, and the error of the command if that is another one.
    fn after_rollback(
        self,
        db: &mut Database,
        tenant: &TenantName,
    ) -> Result<(TenantError, Option<BackupError>), BackupError> {
        let error = match self {
            Self::Server(error) => return Ok((transaction_error(db, error, tenant, DOING)?, None)),
            Self::Backup(error) => error,
            Self::Refused(reason) => refused(tenant, reason),
        };
        db.connection().batch_execute("ROLLBACK").map_err(Error::doing(DOING))?;
        Ok((TenantError::NotRestored { reason: error.to_string() }, Some(error)))
    }
}

impl Restoring<'_> {
    /// The transaction.
    fn execute(&self, conn: &mut PgConnection) -> Result<Loaded, RestoreFailure> {
        let began = Instant::now();
        let (new, place) = (self.tenant.schema(), &self.archived.name);
        let target = SchemaTarget::tenant(self.tenancy, new, Some(self.run));
        let of_place = SchemaTarget::tenant(self.tenancy, place, Some(self.run));
        let mut begin = Batch::begin(target, Commit::Durable);
        begin.guard(&[
            path::CATALOG_IN_BLOCK.to_owned(),
            target.lock_for_transaction(),
            of_place.lock_for_transaction(),
            tracker_guard(new, TrackerRow::Missing),
        ]);
        begin.push(&settings());
        conn.batch_execute(begin.sql())?;
        let aside = self.set_aside(conn)?;
        let role = Identifier::of_object(&self.owner);
        conn.batch_execute(&format!("CREATE SCHEMA {} AUTHORIZATION {role}", Identifier::from(place)))?;
        let loaded = self.load(conn)?;
        let mut end = Batch::default();
        end.push(&session::reset(session::Locks::None));
        end.push(&transaction_settings(target));
        end.push(&loaded.owners);
        for (from, to) in [(place, new)].into_iter().chain(aside.as_ref().map(|aside| (aside, place))) {
            if from != to {
                end.push(&rename(from, to));
            }
        }
        end.guard(&[ledger::definition_guard(new)]);
        conn.batch_execute(end.sql())?;
        if place != new {
            self.refuse_mentions(conn)?;
        }
        let mut end = Batch::default();
        end.track(new, TrackerRow::Missing, State::Active);
        let to = newest(conn, new)?;
        let row = DoneRow { from: None, to: to.as_deref(), before: began.elapsed(), attempts: 1 };
        if let Some(row) = self.run.record(new, &row) {
            end.push(row.text());
        }
        conn.batch_execute(end.commit().sql())?;
        Ok(loaded)
    }

    /// Renames a schema that has the name of the archive's. Returns its name in this transaction.
    fn set_aside(&self, conn: &mut PgConnection) -> Result<Option<SchemaName>, RestoreFailure> {
        let place = &self.archived.name;
        let exists = sql_query("SELECT nspname::text AS name FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind::<Text, _>(place.as_str());
        let exists: Vec<Row> = exists.load(conn)?;
        if exists.is_empty() {
            return Ok(None);
        }
        let aside = scratch_name();
        conn.batch_execute(&rename(place, &aside))?;
        Ok(Some(aside))
    }

    /// Loads the archive.
    fn load(&self, conn: &mut PgConnection) -> Result<Loaded, RestoreFailure> {
        let loaded = LoadedSchema { schema: &self.archived.name, owner: &self.owner };
        let mut archive = ArchiveReader::open(&self.programs.restore, self.file)?;
        let (mut all, mut has_ledger) = (Loaded::default(), false);
        while let Some(part) = archive.next()? {
            match part {
                ArchivePart::Statements(text) => {
                    let script = self.script(&text)?;
                    if !script.contained.is_empty() {
                        loaded.execute(conn, &script.contained)?;
                    }
                    all.owners.push_str(&script.owners);
                }
                ArchivePart::Rows(table) => {
                    let count = loaded.rows(conn, &table, &mut archive)?;
                    match table.table == ledger::TABLE {
                        true => has_ledger = true,
                        false => (all.tables, all.rows) = (all.tables + 1, all.rows + count),
                    }
                }
            }
        }
        match has_ledger {
            true => Ok(all),
            false => {
                Err(RestoreFailure::Refused("the archive has no migration ledger, so it is not a tenant's".to_owned()))
            }
        }
    }

    /// The statements that are executed, without those about privileges of roles that are omitted.
    fn script(&self, text: &str) -> Result<ArchiveScript, RestoreFailure> {
        let mut script = ArchiveScript::default();
        let mut is_own_grantor = true;
        for (what, statement) in statements(self.tenant, text)? {
            let sql = match what {
                ArchiveStatement::OtherGrantor => {
                    is_own_grantor = false;
                    continue;
                }
                ArchiveStatement::OwnGrantor => {
                    is_own_grantor = true;
                    continue;
                }
                ArchiveStatement::Privileges(role) => {
                    if !is_own_grantor || role.is_some_and(|role| self.roles.omitted.contains(&role)) {
                        continue;
                    }
                    statement.sql().to_owned()
                }
                ArchiveStatement::ObjectOwner { schema, role } => {
                    if self.roles.owners.contains(&role) && schema == self.archived.name.as_str() {
                        script.owners.push_str(statement.sql());
                        script.owners.push_str(";\n");
                    }
                    continue;
                }
                ArchiveStatement::Object => statement.sql().to_owned(),
                ArchiveStatement::Setting(sql) => sql,
                ArchiveStatement::Session
                | ArchiveStatement::Restrict
                | ArchiveStatement::CreateSchema(_)
                | ArchiveStatement::SchemaOwner(_)
                | ArchiveStatement::Rows(_) => continue,
            };
            script.contained.push_str(&sql);
            script.contained.push_str(";\n");
        }
        Ok(script)
    }

    /// PostgreSQL does not change text when a schema is renamed.
    fn refuse_mentions(&self, conn: &mut PgConnection) -> Result<(), RestoreFailure> {
        let oid = crate::operations::schema_oid(conn, self.tenant.schema())?;
        let mut structures = structure::read_in_transaction(conn, self.version, &[oid])?;
        let objects = structures.remove(&oid).map(|read| mentions_of(&read, self.archived.name.as_str()));
        match objects.unwrap_or_default() {
            objects if objects.is_empty() => Ok(()),
            objects => {
                let (name, objects) = (&self.archived.name, objects.join(", "));
                Err(RestoreFailure::Refused(format!("text names the schema {name} of the archive in: {objects}")))
            }
        }
    }
}

/// What was loaded from an archive.
#[derive(Default)]
struct Loaded {
    /// The number of tables, without the ledger.
    tables: usize,
    /// The number of rows, without those of the ledger.
    rows: i64,
    /// The statements that give objects to other roles.
    owners: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

fn rename(from: &SchemaName, to: &SchemaName) -> String {
    format!("ALTER SCHEMA {} RENAME TO {};", Identifier::from(from), Identifier::from(to))
}

/// The newest version in the ledger of the new tenant.
fn newest(conn: &mut PgConnection, new: &SchemaName) -> QueryResult<Option<String>> {
    let row: Row = sql_query(format!(
        "SELECT pg_catalog.max(version::pg_catalog.text COLLATE pg_catalog.\"C\") AS name FROM ONLY {}",
        ledger::qualified(new)
    ))
    .get_result(conn)?;
    Ok(row.name)
}
