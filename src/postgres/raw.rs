//! A connection without anything between the caller and the server's protocol (libpq), for statements whose error is a
//! result: the SQLSTATE and the constraint of an error are known, and `COPY` works in both directions.

#![allow(unsafe_code, reason = "libpq's functions are C functions, and Diesel exposes no SQLSTATE")]

mod copy;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};

use pq_sys::{
    ConnStatusType, ExecStatusType, PG_DIAG_CONSTRAINT_NAME, PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_SQLSTATE,
    PG_DIAG_TABLE_NAME, PGconn, PGresult, PQclear, PQcmdTuples, PQconnectdb, PQerrorMessage, PQexec, PQexecParams,
    PQfinish, PQfreemem, PQgetCopyData, PQgetResult, PQgetisnull, PQgetvalue, PQnfields, PQntuples, PQputCopyEnd,
    PQresultErrorField, PQresultStatus, PQsetNoticeProcessor, PQstatus,
};

/// A connection.
pub(crate) struct RawSession(NonNull<PGconn>);

/// What the server answers to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawAnswer {
    /// The last statement ran.
    Done {
        /// The values of its rows.
        rows: Vec<Vec<Option<String>>>,
        /// The number of rows that it returned, changed or copied.
        affected: u64,
    },
    /// The server accepted `COPY … FROM STDIN`. Nothing was copied.
    CopyIn,
    /// A statement failed.
    Failed(RawFailure),
}

/// Whether a copy was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    Read,
    Unread,
}

/// An error of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RawFailure {
    /// Its SQLSTATE; empty if the connection was lost.
    pub(crate) sqlstate: String,
    /// Its primary message.
    pub(crate) message: String,
    /// The constraint that was violated.
    pub(crate) constraint: Option<String>,
    /// The table that it concerns; unknown for constraints of domains.
    pub(crate) table: Option<String>,
}

impl RawSession {
    /// Connects.
    ///
    /// # Errors
    /// The message of libpq, which may contain a password.
    pub(super) fn connect(conninfo: &str) -> Result<Self, String> {
        let conninfo = CString::new(conninfo).map_err(|error| error.to_string())?;
        // SAFETY: `conninfo` is a NUL-terminated string, which libpq does not keep.
        let conn = unsafe { PQconnectdb(conninfo.as_ptr()) };
        let session = Self(NonNull::new(conn).ok_or("out of memory")?);
        if session.is_lost() {
            // SAFETY: the connection exists; the message lives until it is used again.
            return Err(unsafe { text(PQerrorMessage(session.0.as_ptr())) }.unwrap_or_default());
        }
        // SAFETY: the connection exists, and the function does not use its argument.
        unsafe { PQsetNoticeProcessor(session.0.as_ptr(), Some(ignore_notice), ptr::null_mut()) };
        Ok(session)
    }

    /// Whether the connection is lost.
    pub(crate) fn is_lost(&self) -> bool {
        // SAFETY: the connection exists.
        unsafe { PQstatus(self.0.as_ptr()) != ConnStatusType::CONNECTION_OK }
    }

    /// Executes statements in one message, or one statement with parameters.
    pub(crate) fn execute(&mut self, sql: &str, parameters: &[Option<&str>]) -> RawAnswer {
        let texts: Result<Vec<Option<CString>>, _> =
            parameters.iter().map(|value| value.map(CString::new).transpose()).collect();
        let (Ok(sql), Ok(texts)) = (CString::new(sql), texts) else {
            let message = "the statement contains a NUL character".to_owned();
            return RawAnswer::Failed(RawFailure { message, ..RawFailure::default() });
        };
        let values: Vec<*const c_char> =
            texts.iter().map(|value| value.as_ref().map_or(ptr::null(), |value| value.as_ptr())).collect();
        let conn = self.0.as_ptr();
        // SAFETY: the connection exists. `sql` and the values are NUL-terminated strings or null, as many as the count gives,
        // which libpq does not keep.
        let result = unsafe {
            if values.is_empty() {
                PQexec(conn, sql.as_ptr())
            } else {
                let number = c_int::try_from(values.len()).unwrap_or(c_int::MAX);
                PQexecParams(conn, sql.as_ptr(), number, ptr::null(), values.as_ptr(), ptr::null(), ptr::null(), 0)
            }
        };
        self.answer(&RawResult(result))
    }

    /// Reads an answer. A copy is ended.
    fn answer(&mut self, result: &RawResult) -> RawAnswer {
        match result.status() {
            ExecStatusType::PGRES_TUPLES_OK => {
                let rows = result.rows();
                let affected = rows.len().try_into().unwrap_or(u64::MAX);
                RawAnswer::Done { rows, affected }
            }
            ExecStatusType::PGRES_COMMAND_OK | ExecStatusType::PGRES_EMPTY_QUERY => {
                RawAnswer::Done { rows: Vec::new(), affected: result.affected() }
            }
            ExecStatusType::PGRES_COPY_OUT => self.copy_out(),
            ExecStatusType::PGRES_COPY_IN => {
                // SAFETY: the connection exists and is in a copy. The message makes the server end it with an error.
                unsafe { PQputCopyEnd(self.0.as_ptr(), c"nothing is copied".as_ptr()) };
                self.drain();
                RawAnswer::CopyIn
            }
            _ => RawAnswer::Failed(result.failure()),
        }
    }

    /// Reads and counts the rows of a copy.
    fn copy_out(&mut self) -> RawAnswer {
        let mut affected = 0;
        loop {
            let mut row: *mut c_char = ptr::null_mut();
            // SAFETY: the connection exists and is in a copy; libpq allocates the row.
            let length = unsafe { PQgetCopyData(self.0.as_ptr(), &raw mut row, 0) };
            // SAFETY: the row comes from libpq or is null, and is freed once.
            unsafe { PQfreemem(row.cast::<c_void>()) };
            if length <= 0 {
                break;
            }
            affected += 1;
        }
        match self.drain() {
            Some(failure) => RawAnswer::Failed(failure),
            None => RawAnswer::Done { rows: Vec::new(), affected },
        }
    }

    /// The first row of `COPY … TO STDOUT`, in its text format. A copy of a table evaluates no expression of its indexes,
    /// unlike a query, which the server plans. If more than `most` rows follow, the session must be closed.
    pub(crate) fn first_copied(&mut self, copy: &str, most: usize) -> (Option<String>, CopyEnd) {
        let Ok(copy) = CString::new(copy) else { return (None, CopyEnd::Read) };
        // SAFETY: the connection exists, and `copy` is a NUL-terminated string, which libpq does not keep.
        let result = RawResult(unsafe { PQexec(self.0.as_ptr(), copy.as_ptr()) });
        if result.status() != ExecStatusType::PGRES_COPY_OUT {
            return (None, CopyEnd::Read);
        }
        let mut first = None;
        for _ in 0..most {
            let mut row: *mut c_char = ptr::null_mut();
            // SAFETY: the connection exists and is in a copy; libpq allocates the row, which is freed once.
            let length = unsafe { PQgetCopyData(self.0.as_ptr(), &raw mut row, 0) };
            if length <= 0 {
                self.drain();
                return (first, CopyEnd::Read);
            }
            if first.is_none() {
                // SAFETY: libpq ends the row with NUL.
                first = unsafe { text(row) };
            }
            // SAFETY: the row comes from libpq and is freed once.
            unsafe { PQfreemem(row.cast::<c_void>()) };
        }
        (first, CopyEnd::Unread)
    }

    /// Reads the results that are left. Returns the error, if one of them is one.
    fn drain(&mut self) -> Option<RawFailure> {
        let mut failure = None;
        loop {
            // SAFETY: the connection exists.
            let result = RawResult(unsafe { PQgetResult(self.0.as_ptr()) });
            if result.0.is_null() {
                return failure;
            }
            if result.status() == ExecStatusType::PGRES_FATAL_ERROR {
                failure = Some(result.failure());
            }
        }
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        // SAFETY: the connection exists and is closed once.
        unsafe { PQfinish(self.0.as_ptr()) }
    }
}

/// A result of libpq, or null if it has no memory or the connection is lost.
struct RawResult(*mut PGresult);

impl RawResult {
    fn status(&self) -> ExecStatusType {
        // SAFETY: the result exists or is null, which counts as a fatal error.
        unsafe { PQresultStatus(self.0) }
    }

    fn rows(&self) -> Vec<Vec<Option<String>>> {
        // SAFETY: the result exists; rows and columns are within its bounds.
        unsafe {
            let (rows, columns) = (PQntuples(self.0), PQnfields(self.0));
            let value =
                |row, column| (PQgetisnull(self.0, row, column) == 0).then(|| text(PQgetvalue(self.0, row, column)));
            (0..rows).map(|row| (0..columns).map(|column| value(row, column).flatten()).collect()).collect()
        }
    }

    fn affected(&self) -> u64 {
        // SAFETY: the result exists; the text lives as long as the result.
        unsafe { text(PQcmdTuples(self.0)) }.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    fn failure(&self) -> RawFailure {
        // SAFETY: the result exists or is null, which has no fields; the text lives as long as the result.
        let field = |code: u8| unsafe { text(PQresultErrorField(self.0, c_int::from(code))) };
        RawFailure {
            sqlstate: field(PG_DIAG_SQLSTATE).unwrap_or_default(),
            message: field(PG_DIAG_MESSAGE_PRIMARY).unwrap_or_default(),
            constraint: field(PG_DIAG_CONSTRAINT_NAME),
            table: field(PG_DIAG_TABLE_NAME),
        }
    }
}

impl Drop for RawResult {
    fn drop(&mut self) {
        // SAFETY: the result comes from libpq or is null, and is cleared once.
        unsafe { PQclear(self.0) }
    }
}

/// The text at a pointer, or `None` for a null pointer.
///
/// # Safety
/// The pointer must be null, or point to a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: guaranteed by the caller.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// libpq would print notices to standard error.
unsafe extern "C" fn ignore_notice(_: *mut c_void, _: *const c_char) {}
