//! `COPY` between a session and this program, in the text format.

#![allow(unsafe_code, reason = "libpq's functions are C functions")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::slice;

use pq_sys::{ExecStatusType, PQexec, PQfreemem, PQgetCopyData, PQputCopyData, PQputCopyEnd};

use super::{RawFailure, RawResult, RawSession};

impl RawSession {
    /// Executes statements in one message. The rows of the last one are returned.
    ///
    /// # Errors
    /// The server's error, or that the last statement is a copy.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, RawFailure> {
        match self.execute(sql, &[]) {
            super::RawAnswer::Done { rows, .. } => Ok(rows),
            super::RawAnswer::Failed(failure) => Err(failure),
            super::RawAnswer::CopyIn => Err(failure("a copy was not expected")),
        }
    }

    /// Executes `COPY … TO STDOUT`, and calls `each` with each row, which ends with a line feed. After an error, the session
    /// must be closed.
    ///
    /// # Errors
    /// The server's error, or that of `each`.
    pub(crate) fn copy_rows(
        &mut self,
        copy: &str,
        each: &mut dyn FnMut(&[u8]) -> Result<(), RawFailure>,
    ) -> Result<(), RawFailure> {
        let copy = CString::new(copy).map_err(|error| failure(&error.to_string()))?;
        // SAFETY: the connection exists, and `copy` is a NUL-terminated string, which libpq does not keep.
        let result = RawResult(unsafe { PQexec(self.0.as_ptr(), copy.as_ptr()) });
        if result.status() != ExecStatusType::PGRES_COPY_OUT {
            return Err(result.failure());
        }
        loop {
            let mut row: *mut c_char = ptr::null_mut();
            // SAFETY: the connection exists and is in a copy; libpq allocates the row.
            let length = unsafe { PQgetCopyData(self.0.as_ptr(), &raw mut row, 0) };
            let Ok(length @ 1..) = usize::try_from(length) else { break };
            // SAFETY: libpq returns as many bytes as it says.
            let done = each(unsafe { slice::from_raw_parts(row.cast::<u8>(), length) });
            // SAFETY: the row comes from libpq and is freed once.
            unsafe { PQfreemem(row.cast::<c_void>()) };
            done?;
        }
        match self.drain() {
            Some(failure) => Err(failure),
            None if self.is_lost() => Err(failure("the connection is lost")),
            None => Ok(()),
        }
    }

    /// Begins `COPY … FROM STDIN`.
    ///
    /// # Errors
    /// The server's error.
    pub(crate) fn begin_copy(&mut self, copy: &str) -> Result<(), RawFailure> {
        let copy = CString::new(copy).map_err(|error| failure(&error.to_string()))?;
        // SAFETY: the connection exists, and `copy` is a NUL-terminated string, which libpq does not keep.
        let result = RawResult(unsafe { PQexec(self.0.as_ptr(), copy.as_ptr()) });
        if result.status() == ExecStatusType::PGRES_COPY_IN { Ok(()) } else { Err(result.failure()) }
    }

    /// Sends rows of the copy.
    ///
    /// # Errors
    /// The connection is lost. An error of the server is returned by [`end_copy`](Self::end_copy).
    pub(crate) fn put_rows(&mut self, rows: &[u8]) -> Result<(), RawFailure> {
        let length = c_int::try_from(rows.len()).map_err(|error| failure(&error.to_string()))?;
        // SAFETY: the connection exists and is in a copy; libpq copies the bytes.
        let sent = unsafe { PQputCopyData(self.0.as_ptr(), rows.as_ptr().cast::<c_char>(), length) };
        if sent == 1 { Ok(()) } else { Err(failure("the connection is lost")) }
    }

    /// Ends the copy.
    ///
    /// # Errors
    /// The server's error.
    pub(crate) fn end_copy(&mut self) -> Result<(), RawFailure> {
        // SAFETY: the connection exists and is in a copy.
        let ended = unsafe { PQputCopyEnd(self.0.as_ptr(), ptr::null()) };
        match self.drain() {
            Some(failure) => Err(failure),
            None if ended != 1 || self.is_lost() => Err(failure("the connection is lost")),
            None => Ok(()),
        }
    }
}

/// A failure that the server does not report.
fn failure(message: &str) -> RawFailure {
    RawFailure { message: message.to_owned(), ..RawFailure::default() }
}
