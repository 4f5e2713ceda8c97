//! Reads settings from `.env`, in the working directory or the nearest directory above that has one.

use std::fs;
use std::io::{self, ErrorKind};

/// Adds the settings in `.env` to the environment; variables that are set already keep their values. Returns the names of
/// the variables in the file that are no settings: they are ignored, as a file in a folder must not choose what a program
/// loads (`LD_PRELOAD`) or runs (`PATH`).
///
/// A missing file is fine, a malformed one is an error. The message never contains the line, which may hold a password.
pub(super) fn load() -> Result<Vec<String>, String> {
    let Some(text) = read().map_err(|error| format!("cannot read .env: {error}"))? else { return Ok(Vec::new()) };
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
    Ok(ignored)
}

/// Whether a variable is one that this program or libpq reads its settings from.
fn is_setting(name: &str) -> bool {
    name == "DATABASE_URL" || name.starts_with("PG") || name.starts_with("TENANTRY_")
}

/// The file in the working folder or the nearest one above it, without a byte-order mark.
fn read() -> io::Result<Option<Vec<u8>>> {
    for folder in std::env::current_dir()?.ancestors() {
        let file = folder.join(".env");
        match fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => {
                let text = fs::read(file)?;
                return Ok(Some(text.strip_prefix(b"\xEF\xBB\xBF").map(<[u8]>::to_vec).unwrap_or(text)));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

/// Sets variables that are not set yet. Setting one is `unsafe` but for dotenvy, which sets what it reads: so it reads them
/// again, without those that are ignored and with references to other variables replaced.
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
    fn only_settings_are_taken() {
        for name in ["DATABASE_URL", "PGPASSWORD", "TENANTRY_JOBS"] {
            assert!(is_setting(name), "{name}");
        }
        for name in ["LD_PRELOAD", "PATH", "HOME", "USER", "database_url", "MY_PGHOST", "NO_COLOR"] {
            assert!(!is_setting(name), "{name}");
        }
    }
}
