//! The keys that sign tenant contexts.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use diesel::prelude::*;
use diesel::query_builder::SqlQuery;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer, Text};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::model::TenantId;

/// The block size of SHA-256, which is the length of the pads of HMAC (RFC 2104).
const BLOCK: usize = 64;

/// The length of a key in bytes, as long as the output of SHA-256: RFC 2104, section 3, advises against a shorter one.
pub const KEY_BYTES: usize = 32;

/// A key that signs tenant contexts. The application has it, and the database has what verifies its signatures.
///
/// `Debug` does not show it. Only [`reveal`](Self::reveal) does.
#[derive(Clone, PartialEq, Eq)]
pub struct ContextKey([u8; KEY_BYTES]);

/// A text that is not a [`ContextKey`]. It does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a context key: expected {} hexadecimal digits", 2 * KEY_BYTES)]
pub struct ContextKeyError;

/// What a signature is valid for: one transaction of one session.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub(crate) struct TransactionIdentity {
    /// `session_user`
    #[diesel(sql_type = Text)]
    pub(crate) role: String,
    /// The process id of the server process.
    #[diesel(sql_type = Integer)]
    pub(crate) pid: i32,
    /// The start of the transaction, in microseconds since 1970.
    #[diesel(sql_type = BigInt)]
    pub(crate) started: i64,
}

impl TransactionIdentity {
    /// The query that reads it.
    pub(crate) fn query() -> SqlQuery {
        sql_query(
            "SELECT session_user::pg_catalog.text AS role, pg_catalog.pg_backend_pid() AS pid, \
             (extract(epoch FROM pg_catalog.transaction_timestamp()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 \
             AS started",
        )
    }
}

impl ContextKey {
    /// A random key.
    ///
    /// # Panics
    /// If the operating system has no random numbers.
    pub fn generate() -> Self {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).expect("the operating system provides random numbers");
        Self(key)
    }

    /// The id of the key, which is not secret: 16 hexadecimal digits of a hash over the key. Contexts name it, so that several
    /// keys can be valid at once.
    pub fn id(&self) -> String {
        let hash = Sha256::new().chain_update(b"tenantry/1 key id").chain_update(self.0).finalize();
        hex(&hash[..8])
    }

    /// The key in hexadecimal digits, which [`from_str`](Self::from_str) reads.
    pub fn reveal(&self) -> String {
        hex(&self.0)
    }

    /// The inner and the outer pad of HMAC: what the database needs to verify signatures.
    pub(crate) fn pads(&self) -> ([u8; BLOCK], [u8; BLOCK]) {
        let pad = |byte: u8| std::array::from_fn(|i| self.0.get(i).copied().unwrap_or(0) ^ byte);
        (pad(0x36), pad(0x5c))
    }

    /// The context that lets a transaction work for a tenant: the id of the key, the tenant and the signature.
    pub(crate) fn sign(&self, transaction: &TransactionIdentity, tenant: TenantId) -> String {
        let TransactionIdentity { role, pid, started } = transaction;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("tenantry/1 {role} {pid} {started} {tenant}").as_bytes());
        format!("{}.{tenant}.{}", self.id(), hex(&mac.finalize().into_bytes()))
    }
}

impl ContextKeyError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-context-key"
    }
}

impl FromStr for ContextKey {
    type Err = ContextKeyError;

    /// Reads 64 hexadecimal digits. White space around them is ignored, as a file may end with a line break.
    fn from_str(text: &str) -> Result<Self, ContextKeyError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return Err(ContextKeyError);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut key = [0; KEY_BYTES];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(ContextKeyError) };
            *byte = high << 4 | low;
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextKey({})", self.id())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_printed() {
        let key = ContextKey::generate();
        assert_eq!(format!("{}\n", key.reveal()).parse(), Ok(key.clone()));
        assert_ne!(ContextKey::generate(), key);
        for invalid in ["", "abc", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert_eq!(invalid.parse::<ContextKey>(), Err(ContextKeyError), "{invalid}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key: ContextKey = "ab".repeat(32).parse().unwrap();
        let shown = format!("{key:?} {ContextKeyError}");
        assert!(!shown.contains("abab") && shown.contains(&key.id()), "{shown}");
    }

    /// The pads and the signature agree as RFC 2104 defines HMAC.
    #[test]
    fn the_pads_verify_a_signature() {
        let key = ContextKey::generate();
        let transaction = TransactionIdentity { role: "app".to_owned(), pid: 7, started: 1_700_000_000_000_001 };
        let context = key.sign(&transaction, TenantId::Number(5));
        let (inner, outer) = key.pads();
        let inner = Sha256::new().chain_update(inner).chain_update(b"tenantry/1 app 7 1700000000000001 5").finalize();
        let expected = Sha256::new().chain_update(outer).chain_update(inner).finalize();
        assert_eq!(context, format!("{}.5.{}", key.id(), hex(&expected)));
    }
}
