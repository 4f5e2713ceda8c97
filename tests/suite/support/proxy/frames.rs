//! The part of PostgreSQL's protocol that distinguishes its messages.

use std::io::{self, Read};

/// Requests that come in place of a startup packet.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The maximum length of a message in the tests; a longer one is not this protocol.
const LONGEST: u32 = 64 << 20;

/// The first packet of a client.
pub(super) enum Opening {
    /// A request for encryption, answered by one letter.
    Encryption,
    /// A request to cancel the statement of another connection.
    Cancel(Vec<u8>),
    /// The startup packet.
    Startup(Vec<u8>),
}

/// A message after the startup, of either side.
pub(super) struct Message {
    pub(super) kind: u8,
    /// All bytes, including the type and the length.
    pub(super) bytes: Vec<u8>,
}

/// Reads the packet without a type that a connection begins with.
pub(super) fn read_opening(from: &mut impl Read) -> io::Result<Opening> {
    let mut bytes = Vec::new();
    read_body(from, &mut bytes)?;
    let code = bytes.get(4..8).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
    Ok(match code {
        SSL_REQUEST | GSS_REQUEST => Opening::Encryption,
        CANCEL_REQUEST => Opening::Cancel(bytes),
        _ => Opening::Startup(bytes),
    })
}

/// Reads a message.
pub(super) fn read_message(from: &mut impl Read) -> io::Result<Message> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    let mut bytes = kind.to_vec();
    read_body(from, &mut bytes)?;
    Ok(Message { kind: kind[0], bytes })
}

/// Reads a length, which includes itself, and that number of bytes.
fn read_body(from: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    bytes.extend_from_slice(&length);
    let rest = u32::from_be_bytes(length).checked_sub(4).filter(|rest| *rest <= LONGEST);
    let rest = rest.ok_or_else(|| io::Error::other("not PostgreSQL's protocol"))?;
    let begun = bytes.len();
    bytes.resize(begun + usize::try_from(rest).map_err(io::Error::other)?, 0);
    from.read_exact(&mut bytes[begun..])
}

impl Message {
    /// Whether the client waits for an answer to this message: `Query`, `Sync` and `FunctionCall`.
    pub(super) fn is_round_trip(&self) -> bool {
        matches!(self.kind, b'Q' | b'S' | b'F')
    }

    /// Whether the server reports with this message that it is ready for the next query.
    pub(super) fn is_ready(&self) -> bool {
        self.kind == b'Z'
    }

    /// The SQL in a `Query` or `Parse`.
    pub(super) fn sql(&self) -> Option<String> {
        let mut texts = self.bytes.get(5..)?.split(|byte| *byte == 0);
        let text = match self.kind {
            b'Q' => texts.next(),
            // The name of the prepared statement comes first.
            b'P' => texts.nth(1),
            _ => None,
        };
        text.map(|text| String::from_utf8_lossy(text).into_owned())
    }
}
