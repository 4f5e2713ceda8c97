//! Text formats of a local server: connection URIs, configuration values, names derived from paths.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::SUPERUSER;

/// The libpq URI for a database on the socket in `folder`.
///
/// The port is always included: it is part of the socket's name, and `PGPORT` would override it.
pub(super) fn socket_uri(folder: &Path, port: u16, database: &str) -> String {
    format!(
        "postgresql://{SUPERUSER}@/{}?host={}&port={port}",
        percent_encoded(database.as_bytes()),
        percent_encoded(folder.as_os_str().as_bytes()),
    )
}

/// The libpq URI for a database behind a port of 127.0.0.1.
pub(super) fn tcp_uri(port: u16, database: &str) -> String {
    format!("postgresql://{SUPERUSER}@127.0.0.1:{port}/{}", percent_encoded(database.as_bytes()))
}

/// A line of postgresql.conf. The value may contain any text; the name is not quoted.
pub(super) fn setting_line(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('\'', "''").replace('\n', r"\n");
    format!("{name} = '{value}'\n")
}

/// A directory as a value of `unix_socket_directories`, which is a list: unquoted, a comma would split it.
pub(super) fn list_element(folder: &Path) -> String {
    format!("\"{}\"", folder.to_string_lossy().replace('"', "\"\""))
}

/// A short name for a path, stable across runs and releases, unlike std's hashers: FNV-1a, 64 bits.
pub(super) fn stable_name(path: &Path) -> String {
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}"); // writing to a String cannot fail
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_percent_encoded() {
        assert_eq!(
            socket_uri(Path::new("/tmp/a b/é"), 5432, "my/db?"),
            "postgresql://postgres@/my%2Fdb%3F?host=%2Ftmp%2Fa%20b%2F%C3%A9&port=5432"
        );
        assert_eq!(tcp_uri(4711, "a@b"), "postgresql://postgres@127.0.0.1:4711/a%40b");
    }

    #[test]
    fn settings_are_quoted() {
        assert_eq!(setting_line("search_path", "\"$user\", 'a\\b'\nc"), "search_path = '\"$user\", ''a\\\\b''\\nc'\n");
        assert_eq!(list_element(Path::new("/a,b\"c")), "\"/a,b\"\"c\"");
    }

    #[test]
    fn paths_are_unchanged() {
        assert_eq!(stable_name(Path::new("")), "cbf29ce484222325");
        assert_eq!(stable_name(Path::new("a")), "af63dc4c8601ec8c");
    }
}
