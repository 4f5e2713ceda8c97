//! What a run has done, read again.
//!
//! The row that tells of it is written in the transaction that does it, and by no other run: where the answer to a commit
//! was lost, it tells whether that came through, and whose it was.

use std::collections::HashSet;

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::{Run, TenantOutcome, schema_run_tenant};
use crate::error::Error;
use crate::postgres::CHUNK;

impl Run {
    /// Those of some tenants that it has done.
    pub(crate) fn done_among(self, conn: &mut PgConnection, tenants: &[&str]) -> Result<HashSet<String>, Error> {
        let mut done = HashSet::new();
        for chunk in tenants.chunks(CHUNK) {
            let rows: Vec<String> = schema_run_tenant::table
                .select(schema_run_tenant::tenant)
                .filter(schema_run_tenant::run.eq(self.id))
                .filter(schema_run_tenant::tenant.eq_any(chunk))
                .filter(schema_run_tenant::outcome.eq(TenantOutcome::Done.as_str()))
                .load(conn)
                .map_err(Error::doing("read in public.schema_run_tenant what the run has done"))?;
            done.extend(rows);
        }
        Ok(done)
    }
}
