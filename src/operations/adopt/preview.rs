//! What an adoption would do.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Oid, Text};

use super::operation::{AdoptSchemas, AdoptionJob, AdoptionRefusal, refusal};
use super::{AdoptPlan, known_versions};
use crate::database::Database;
use crate::error::{Error, FailedTenant, TenantError};
use crate::model::TenantName;
use crate::postgres::{CHUNK, Condition, GuardViolation, ServerMessage};
use crate::record::integrity;
use crate::tenants::{Tenancy, ledger};

/// What [`adopt`](super::adopt) would do with a plan.
#[derive(Debug, Default)]
pub struct AdoptPreview {
    /// The schemas that would be adopted.
    pub adopt: Vec<SchemaContents>,
    /// The number of migrations that would be recorded in the ledger of each.
    pub recorded: usize,
    /// The schemas that are adopted already.
    pub unchanged: Vec<TenantName>,
    /// The schemas that would not be adopted, and why.
    pub failed: Vec<FailedTenant>,
}

/// The objects in a schema, without the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaContents {
    /// The name of the schema.
    pub name: TenantName,
    /// The number of tables, also partitioned and foreign ones.
    pub tables: i64,
    /// The number of views and materialized views.
    pub views: i64,
    /// The number of sequences.
    pub sequences: i64,
    /// The number of functions, procedures and aggregates.
    pub functions: i64,
}

impl AdoptPlan {
    /// Finds out what [`adopt`](super::adopt) would do. Each schema is checked in a transaction that is rolled back.
    ///
    /// # Errors
    /// [`Error::MigrationsChanged`], or the server's error.
    pub fn preview(self, db: &mut Database, tenancy: &Tenancy) -> Result<AdoptPreview, Error> {
        integrity::check(db, tenancy)?;
        let AdoptPlan { versions, replace, jobs, unchanged, failed, .. } = self;
        let operation = AdoptSchemas { baseline: versions, replace, known: known_versions(tenancy) };
        let mut preview =
            AdoptPreview { recorded: operation.versions().len(), unchanged, failed, ..AdoptPreview::default() };
        let mut contents = contents(db, &jobs)?;
        for job in jobs {
            let name = job.name.clone();
            match db.connection().batch_execute(&operation.preview(tenancy, &job)) {
                Ok(()) => preview.adopt.extend(job.schema.and_then(|(oid, _)| contents.remove(&oid))),
                Err(error) => {
                    if Condition::of(&error) == Some(Condition::ConnectionLost) {
                        return Err(Error::doing("check the schemas to adopt")(error));
                    }
                    db.connection().batch_execute("ROLLBACK").map_err(Error::doing("end a transaction"))?;
                    match refusal(&error) {
                        Some(AdoptionRefusal::RecordsBaseline) => preview.unchanged.push(name),
                        Some(AdoptionRefusal::Tenant(error)) => preview.failed.push(FailedTenant::new(&name, error)),
                        None => {
                            preview.failed.push(FailedTenant::new(&name, tenant_error(ServerMessage::from(&error))))
                        }
                    }
                }
            }
        }
        Ok(preview)
    }
}

/// The error of a schema whose check failed.
fn tenant_error(message: ServerMessage) -> TenantError {
    match GuardViolation::from_message(&message.message) {
        Some(GuardViolation::Busy) => TenantError::Busy { holder: None },
        Some(GuardViolation::Changed) => TenantError::ConcurrentlyChanged,
        _ => TenantError::Server(message),
    }
}

/// The contents of the schemas, by oid.
fn contents(db: &mut Database, jobs: &[AdoptionJob]) -> Result<HashMap<u32, SchemaContents>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Oid)]
        oid: u32,
        #[diesel(sql_type = BigInt)]
        tables: i64,
        #[diesel(sql_type = BigInt)]
        views: i64,
        #[diesel(sql_type = BigInt)]
        sequences: i64,
        #[diesel(sql_type = BigInt)]
        functions: i64,
    }
    let mut found = HashMap::new();
    for chunk in jobs.chunks(CHUNK) {
        let names: HashMap<u32, &TenantName> =
            chunk.iter().filter_map(|job| Some((job.schema?.0, &job.name))).collect();
        let oids: Vec<u32> = names.keys().copied().collect();
        let rows: Vec<Row> = sql_query(include_str!("contents.sql"))
            .bind::<Array<Oid>, _>(oids)
            .bind::<Text, _>(ledger::TABLE)
            .load(db.connection())
            .map_err(Error::doing("count the objects of the schemas"))?;
        for Row { oid, tables, views, sequences, functions } in rows {
            if let Some(name) = names.get(&oid) {
                found.insert(oid, SchemaContents { name: (*name).clone(), tables, views, sequences, functions });
            }
        }
    }
    Ok(found)
}
