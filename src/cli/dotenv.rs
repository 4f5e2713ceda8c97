//! Reads settings from `.env`, in the working directory or the nearest directory above that has one.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// The `.env` that was read.
#[derive(Debug, Default)]
pub(super) struct Dotenv {
    /// Its path if it is in a directory above the working directory.
    pub(super) above: Option<PathBuf>,
    /// The variables in it that are not settings. They are ignored: a file in a directory must not choose what a program
    /// loads (`LD_PRELOAD`) or runs (`PATH`).
    pub(super) ignored: Vec<String>,
}

/// Adds the settings in `.env` to the environment; variables that are set already keep their values.
///
/// # Errors
/// The file is malformed or unreadable; a missing file is not an error. The message never contains the line, which may
/// contain a password.
pub(super) fn load() -> Result<Dotenv, String> {
    let Some((above, text)) = read().map_err(|error| format!("cannot read .env: {error}"))? else {
        return Ok(Dotenv::default());
    };
    let mut settings = Vec::new();
    let mut ignored: Vec<String> = Vec::new();
    for variable in dotenvy::from_read_iter(text.as_slice()) {
        let (name, value) = variable.map_err(|error| describe(&error))?;
        if !is_setting(&name) {
            if !ignored.contains(&name) {
                ignored.push(name);
            }
        } else if value.contains('\0') {
            return Err(format!("the value of {name} in .env contains a NUL byte"));
        } else {
            settings.push((name, value));
        }
    }
    set(&settings)?;
    Ok(Dotenv { above, ignored })
}

/// Whether a variable is one that this program or libpq reads its settings from.
fn is_setting(name: &str) -> bool {
    name == "DATABASE_URL" || name.starts_with("PG") || name.starts_with("TENANTRY_")
}

/// The text of the file in the working directory or the nearest one above it, without a byte-order mark; and the path if it
/// is above.
fn read() -> io::Result<Option<(Option<PathBuf>, Vec<u8>)>> {
    for (level, folder) in std::env::current_dir()?.ancestors().enumerate() {
        let file = folder.join(".env");
        match fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => {
                let text = fs::read(&file)?;
                let text = text.strip_prefix(b"\xEF\xBB\xBF").map(<[u8]>::to_vec).unwrap_or(text);
                return Ok(Some(((level > 0).then_some(file), text)));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

/// Sets variables that are not set yet. `std::env::set_var` is unsafe, so dotenvy sets them: it reads them a second time,
/// without the ignored ones and with references to other variables replaced.
fn set(settings: &[(String, String)]) -> Result<(), String> {
    let text: String = settings.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    let again: Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    if again.ok().as_deref() != Some(settings) {
        return Err("a value in .env cannot be used; put it in single quotes, on one line".to_owned());
    }
    dotenvy::from_read(text.as_bytes()).map_err(|error| describe(&error))
}

/// In double quotes, as dotenvy reads them.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '"' | '\\' | '$' => text.extend(['\\', c]),
            _ => text.push(c),
        }
    }
    text + "\""
}

fn describe(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(error) => format!("cannot read .env: {error}"),
        dotenvy::Error::LineParse(line, at) => {
            let key = line.split('=').next().unwrap_or_default().trim();
            let key = key.strip_prefix("export ").unwrap_or(key);
            let named =
                !key.is_empty() && line.contains('=') && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let whose = if named { format!("the line of {key}") } else { "a line".to_owned() };
            format!("{whose} in .env is malformed at character {at}; put the value in single quotes")
        }
        _ => "cannot read .env".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quoted_value_is_read_back(value in "[^\0]*") {
            let text = format!("PGX={}\n", quoted(&value));
            let read: Vec<(String, String)> = dotenvy::from_read_iter(text.as_bytes()).map(Result::unwrap).collect();
            prop_assert_eq!(read, [("PGX".to_owned(), value)]);
        }
    }

    #[test]
    fn other_variables_are_ignored() {
        for name in ["DATABASE_URL", "PGPASSWORD", "TENANTRY_JOBS"] {
            assert!(is_setting(name), "{name}");
        }
        for name in ["LD_PRELOAD", "PATH", "HOME", "USER", "database_url", "MY_PGHOST", "NO_COLOR"] {
            assert!(!is_setting(name), "{name}");
        }
    }
}
