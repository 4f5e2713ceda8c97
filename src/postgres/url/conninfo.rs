//! Connection strings, parsed by libpq (`PQconninfoParse`).

#![allow(unsafe_code, reason = "libpq's parser is a C function, and no crate wraps it")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use pq_sys::{PQconninfoFree, PQconninfoOption, PQconninfoParse, PQfreemem};

/// Why a connection string has no options.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The string contains a NUL character.
    Nul,
    /// The value of this option is not valid UTF-8.
    NotUtf8(String),
    /// libpq rejected the string with this message, which may quote a part of a password.
    Invalid(String),
}

/// The options that a connection string sets, with their values, in libpq's order of options.
///
/// Neither the environment nor a service file is read.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, Rejection> {
    let text = CString::new(text).map_err(|_| Rejection::Nul)?;
    let mut message = Message(ptr::null_mut());
    // SAFETY: `text` is a NUL-terminated string, and `message` is a writable pointer. libpq keeps neither of them.
    let options = ConninfoOptions(unsafe { PQconninfoParse(text.as_ptr(), &raw mut message.0) });
    if options.0.is_null() { Err(Rejection::Invalid(message.to_text())) } else { options.set() }
}

/// An array of options that libpq allocated, or null.
struct ConninfoOptions(*mut PQconninfoOption);

impl ConninfoOptions {
    /// The keywords and values of the options that are set. The array must not be null.
    fn set(&self) -> Result<Vec<(String, String)>, Rejection> {
        let mut set = Vec::new();
        let mut next = self.0;
        loop {
            // SAFETY: `next` points into the array, whose last element has a null keyword and ends the loop. `keyword` and
            // `val` are null or NUL-terminated strings that live until the array is freed.
            let (keyword, value) = unsafe { (borrow((*next).keyword), borrow((*next).val)) };
            let Some(keyword) = keyword else { return Ok(set) };
            if let Some(value) = value {
                let keyword = keyword.to_string_lossy().into_owned();
                match value.to_str() {
                    Ok(value) => set.push((keyword, value.to_owned())),
                    Err(_) => return Err(Rejection::NotUtf8(keyword)),
                }
            }
            // SAFETY: the element at `next` is not the last one of the array.
            next = unsafe { next.add(1) };
        }
    }
}

impl Drop for ConninfoOptions {
    fn drop(&mut self) {
        // SAFETY: the array comes from libpq and is freed once. A null pointer is allowed.
        unsafe { PQconninfoFree(self.0) }
    }
}

/// An error message that libpq allocated, or null.
struct Message(*mut c_char);

impl Message {
    fn to_text(&self) -> String {
        // SAFETY: the message is null or a NUL-terminated string that lives as long as `self`.
        let text = unsafe { borrow(self.0) };
        text.map_or_else(String::new, |text| text.to_string_lossy().trim_end().to_owned())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message comes from libpq and is freed once. A null pointer is allowed.
        unsafe { PQfreemem(self.0.cast::<c_void>()) }
    }
}

/// The string at a pointer, or `None` for a null pointer.
///
/// # Safety
/// The pointer must be null, or point to a NUL-terminated string that is not changed or freed during `'a`.
unsafe fn borrow<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: guaranteed by the caller.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_errors_are_reported() {
        let options = parse("dbname='a b' host=h password=''").unwrap();
        let pairs: Vec<_> = options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("password", ""), ("dbname", "a b"), ("host", "h")]);
        assert_eq!(parse(""), Ok(Vec::new()));
        assert_eq!(parse("a\0b"), Err(Rejection::Nul));
        assert_eq!(parse("postgres://%FF@h"), Err(Rejection::NotUtf8("user".to_owned())));
        assert_eq!(parse("nosuch=1"), Err(Rejection::Invalid("invalid connection option \"nosuch\"".to_owned())));
    }
}
