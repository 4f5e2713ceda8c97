//! Copies rows through this program: `COPY` out of one session and into another.

use std::time::Instant;

use super::site::Site;
use super::tables::{Digests, MovedTable, RowsDigest};
use crate::database::Stop;
use crate::error::{Error, MoveError};
use crate::model::TenantName;
use crate::postgres::raw::{RawFailure, RawSession};

/// The size of a message with rows.
const MESSAGE: usize = 64 * 1024;

/// Copies the rows of tables between two open transactions. Returns their digests.
///
/// # Errors
/// [`MoveError::NoFence`] after `deadline`, [`MoveError::Interrupted`], or the error of a server. The sessions cannot be used
/// afterwards.
pub(super) fn copy(
    (source, from): (&Site, &mut RawSession),
    (target, to): (&Site, &mut RawSession),
    tenant: &TenantName,
    tables: &[MovedTable],
    deadline: Option<Instant>,
    stop: &Stop,
) -> Result<Digests, Error> {
    let mut copied = Digests::new();
    let read = source.raw_failed(tenant, "copy the rows");
    let write = target.raw_failed(tenant, "copy the rows");
    for table in tables.iter().filter(|table| table.has_rows) {
        let (mut digest, mut buffer) = (RowsDigest::default(), Vec::with_capacity(2 * MESSAGE));
        to.begin_copy(&table.copy_in(tenant.schema())).map_err(&write)?;
        // The error of the other side, which ends the reading.
        let mut failed: Option<Error> = None;
        let out = from.copy_rows(&table.copy_out(tenant.schema()), &mut |row| {
            digest.add(row);
            buffer.extend_from_slice(row);
            if buffer.len() < MESSAGE {
                return Ok(());
            }
            let sent = to.put_rows(&buffer).map_err(&write);
            buffer.clear();
            failed = sent.err().or_else(|| over(tenant, deadline, stop).err());
            if failed.is_some() { Err(RawFailure::default()) } else { Ok(()) }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        out.map_err(&read)?;
        to.put_rows(&buffer).map_err(&write)?;
        to.end_copy().map_err(&write)?;
        over(tenant, deadline, stop)?;
        copied.insert(table.name.clone(), digest);
    }
    Ok(copied)
}

/// Whether the copy has to end.
fn over(tenant: &TenantName, deadline: Option<Instant>, stop: &Stop) -> Result<(), Error> {
    if stop.is_requested() {
        return Err(MoveError::Interrupted { tenant: tenant.to_string() }.into());
    }
    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
        let reason = "copying its rows takes longer than --max-pause".to_owned();
        return Err(MoveError::NoFence { tenant: tenant.to_string(), reason }.into());
    }
    Ok(())
}
