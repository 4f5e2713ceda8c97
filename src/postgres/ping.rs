//! Whether a server accepts connections (`PQping`), as `pg_isready` finds out.

#![allow(unsafe_code, reason = "PQping is a C function, and no crate wraps it")]

use std::ffi::CString;

use pq_sys::{PGPing, PQping};

/// Whether the server is unreachable, or rejects connections because it is starting up, shutting down or in recovery.
///
/// libpq decides by the SQLSTATE of the server's answer, which does not depend on its language. A server that refuses the
/// role, the password or the database is ready.
pub(super) fn is_not_ready(conninfo: &str) -> bool {
    let Ok(conninfo) = CString::new(conninfo) else { return false };
    // SAFETY: `conninfo` is a NUL-terminated string, which libpq does not keep.
    let ping = unsafe { PQping(conninfo.as_ptr()) };
    matches!(ping, PGPing::PQPING_REJECT | PGPing::PQPING_NO_RESPONSE)
}
