//! `.env`: settings beside the project, in this folder or one above it.

use std::io::ErrorKind;

/// Puts what `.env` says into the environment, but for what is there already. A missing file is fine; a broken one is not
/// passed over. The message never has the line in it, which may hold a password.
pub(super) fn load() -> Result<(), String> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(dotenvy::Error::Io(error)) => Err(format!("cannot read .env: {error}")),
        Err(dotenvy::Error::LineParse(line, at)) => {
            let key = line.split('=').next().unwrap_or_default().trim();
            let key = key.strip_prefix("export ").unwrap_or(key);
            let named =
                !key.is_empty() && line.contains('=') && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let whose = if named { format!("the line of {key}") } else { "a line".to_owned() };
            Err(format!("{whose} in .env is malformed at character {at}; put the value in single quotes"))
        }
        Err(_) => Err("cannot read .env".to_owned()),
    }
}
