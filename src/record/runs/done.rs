//! Finds the tenants that a run has changed.
//!
//! The row of a changed tenant is written in the transaction that changes it, and only by that run. If the answer to a commit
//! was lost, the row shows whether the transaction was committed.

use std::collections::HashSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::{Run, TenantOutcome, schema_run_tenant};
use crate::error::Error;
use crate::postgres::CHUNK;

impl Run {
    /// The tenants among `tenants` that the run has changed.
    ///
    /// # Errors
    /// The server's error.
    pub(crate) fn done_among(self, conn: &mut PgConnection, tenants: &[&str]) -> Result<HashSet<String>, Error> {
        let mut done = HashSet::new();
        for chunk in tenants.chunks(CHUNK) {
            let rows: Vec<String> = schema_run_tenant::table
                .select(schema_run_tenant::tenant)
                .filter(schema_run_tenant::run.eq(self.id))
                .filter(schema_run_tenant::tenant.eq_any(chunk))
                .filter(schema_run_tenant::outcome.eq(TenantOutcome::Done.as_str()))
                .load(conn)
                .map_err(Error::doing("read the changed tenants in public.schema_run_tenant"))?;
            done.extend(rows);
        }
        Ok(done)
    }
}
