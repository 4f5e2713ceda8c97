//! Passwords of roles. The server receives a SCRAM verifier and never the password, so that no log contains it.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The iterations of the verifier: the server's default.
const ITERATIONS: u32 = 4096;

/// The password of a role. `Debug` does not show it. Only [`reveal`](Self::reveal) does.
#[derive(Clone, PartialEq, Eq)]
pub struct RolePassword(String);

/// A text that is not a [`RolePassword`]. It does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid password: expected 8 to 256 printable ASCII characters")]
pub struct InvalidPassword;

impl InvalidPassword {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-password"
    }
}

impl RolePassword {
    /// A random password of 160 bits.
    ///
    /// # Panics
    /// If the operating system has no random numbers.
    pub fn generate() -> Self {
        let mut bytes = [0; 20];
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Self(bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// The password.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the server stores (RFC 5803), with a random salt.
    pub(crate) fn verifier(&self) -> String {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).expect("the operating system provides random numbers");
        self.verifier_with(&salt)
    }

    fn verifier_with(&self, salt: &[u8]) -> String {
        let salted = self.salted(salt);
        let client = hmac(&salted, &[b"Client Key"]);
        let server = hmac(&salted, &[b"Server Key"]);
        let stored = Sha256::digest(client);
        format!("SCRAM-SHA-256${ITERATIONS}:{}${}:{}", base64(salt), base64(&stored), base64(&server))
    }

    /// `Hi` of RFC 5802: PBKDF2 with HMAC and a block of output.
    fn salted(&self, salt: &[u8]) -> [u8; 32] {
        let keyed = keyed(self.0.as_bytes());
        let mut block = finish(keyed.clone(), &[salt, &1_u32.to_be_bytes()]);
        let mut result = block;
        for _ in 1..ITERATIONS {
            block = finish(keyed.clone(), &[&block]);
            result.iter_mut().zip(block).for_each(|(byte, other)| *byte ^= other);
        }
        result
    }
}

impl FromStr for RolePassword {
    type Err = InvalidPassword;

    /// Reads a password. It is ASCII, because other characters would have to be normalized first (RFC 4013).
    fn from_str(text: &str) -> Result<Self, InvalidPassword> {
        let is_valid = (8..=256).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidPassword) }
    }
}

impl fmt::Debug for RolePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RolePassword")
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    finish(keyed(key), parts)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let number = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            text.push(if shown { char::from(DIGITS[(number >> (18 - 6 * digit)) as usize & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_the_one_of_the_rfc() {
        // RFC 7677, section 3: user, pencil. Its ServerSignature is over this ServerKey.
        let password = RolePassword("pencil".to_owned());
        let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
        assert_eq!(
            password.verifier_with(&salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn base64_is_padded() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }

    #[test]
    fn a_password_is_not_shown_and_is_printable() {
        let password = RolePassword::generate();
        assert!(!format!("{password:?}").contains(password.reveal()));
        assert_eq!((password.reveal().len(), password.reveal().parse()), (40, Ok(password.clone())));
        for invalid in ["", "short", "pässword", "with\ttab", &"x".repeat(257)] {
            assert_eq!(invalid.parse::<RolePassword>(), Err(InvalidPassword), "{invalid}");
        }
    }
}
