//! Which folders a server uses: for itself, and for its socket.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::{Account, caller_uid};
use super::{LocalError, text};

/// The longest path a Unix socket can have, in bytes, on Linux; PostgreSQL refuses a longer one.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Room that a socket's file name takes at most, its slash included.
const SOCKET_NAME_ROOM: usize = "/.s.PGSQL.65535".len();

/// In a server's folder, the file that says where its socket folder is when that is elsewhere.
const SOCKET_RECORD: &str = "socket-folder";

/// The folder for a project's server: `<project>/.tenantry/server`.
///
/// For root that may be out of reach of the user that runs the server, as all below `/root` usually is. Then it is a
/// folder below the one for temporary files, with a name that is always the same for the same project; the system may
/// clear that one away some day, with the data.
#[must_use]
pub fn default_folder(project: &Path) -> PathBuf {
    let project = std::path::absolute(project).unwrap_or_else(|_| project.to_owned());
    let inside = project.join(".tenantry").join("server");
    match Account::for_servers() {
        Ok(account) if account.check_reach(&inside).is_err() => {
            temporary_folder(&account).join(format!("tenantry-{}", text::stable_name(&project)))
        }
        // Without an account the start itself fails, with a better message than a folder could give.
        _ => inside,
    }
}

/// The folder for temporary files: the system's, or `/tmp` where that is out of the account's reach or no place for a
/// socket.
pub(super) fn temporary_folder(account: &Account) -> PathBuf {
    let system = std::env::temp_dir();
    let serves = |folder: &Path| {
        folder.is_absolute() && account.check_reach(folder).is_ok() && fits(&folder.join(socket_folder_name(folder)))
    };
    if serves(&system) { system } else { PathBuf::from("/tmp") }
}

/// Makes the folder of a persistent server, or sees to it that the one that is there may be used.
///
/// The folder belongs to the caller, not to the server's account: what root does in it cannot be led astray by a user
/// that the server's account is shared with, `nobody` for one.
pub(super) fn prepare_server_folder(folder: &Path, account: &Account) -> Result<(), LocalError> {
    if let Some(parent) = folder.parent() {
        make_way(parent, account)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(LocalError::io("make", folder)(error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(folder).map_err(LocalError::io("read", folder))?;
    let reason = if !metadata.is_dir() {
        "it is no folder".to_owned()
    } else if metadata.uid() != caller_uid() {
        format!("it belongs to user {}", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        "other users may write to it".to_owned()
    } else {
        if account.stands_in() {
            allow_passage(folder, metadata.mode() | 0o011)?;
        }
        return Ok(());
    };
    Err(LocalError::ForeignFolder { folder: folder.to_owned(), reason })
}

/// The folder of the socket of the server in `folder`, whether it exists or not: `socket` in it, or where that does not
/// serve a short one in the folder for temporary files.
pub(super) fn socket_folder(folder: &Path, account: &Account) -> PathBuf {
    let inside = folder.join("socket");
    if fits(&inside) {
        return inside;
    }
    // The place was recorded by the first start, because TMPDIR may differ from shell to shell. A record that came here
    // with a copy of another server's folder bears another name and does not count.
    let name = socket_folder_name(folder);
    fs::read_to_string(folder.join(SOCKET_RECORD))
        .map(PathBuf::from)
        .ok()
        .filter(|recorded| recorded.ends_with(&name))
        .unwrap_or_else(|| temporary_folder(account).join(name))
}

/// Makes the socket folder, or sees to it that the one that is there is the account's alone.
pub(super) fn prepare_socket_folder(folder: &Path, account: &Account) -> Result<(), LocalError> {
    let socket_folder = socket_folder(folder, account);
    match account.make_folder(&socket_folder) {
        Err(LocalError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
            check_private(&socket_folder, account)?;
        }
        outcome => outcome?,
    }
    if socket_folder.starts_with(folder) {
        return Ok(());
    }
    let record = folder.join(SOCKET_RECORD);
    fs::write(&record, socket_folder.as_os_str().as_bytes()).map_err(LocalError::io("write", &record))
}

/// The path of the socket for a port.
pub(super) fn socket_file(socket_folder: &Path, port: u16) -> PathBuf {
    socket_folder.join(format!(".s.PGSQL.{port}"))
}

fn check_private(folder: &Path, account: &Account) -> Result<(), LocalError> {
    let metadata = fs::symlink_metadata(folder).map_err(LocalError::io("read", folder))?;
    if metadata.is_dir() && account.owns(&metadata) && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(LocalError::ForeignFolder {
        folder: folder.to_owned(),
        reason: format!("it has to be a folder of mode 0700 of {}", account.label()),
    })
}

/// Makes the folders that are missing on the way. Another account that is to pass is let through whatever the umask.
fn make_way(folder: &Path, account: &Account) -> Result<(), LocalError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|part| !part.exists()).collect();
    for part in missing.into_iter().rev() {
        match fs::create_dir(part) {
            Ok(()) if account.stands_in() => allow_passage(part, 0o755)?,
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(LocalError::io("make", part)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn allow_passage(folder: &Path, mode: u32) -> Result<(), LocalError> {
    fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777)).map_err(LocalError::io("open up", folder))
}

fn socket_folder_name(folder: &Path) -> String {
    format!("tenantry-socket-{}", text::stable_name(folder))
}

/// Whether a socket in the folder can be reached: its path has to be short enough, and free of commas, at which libpq
/// parts a list of hosts.
fn fits(folder: &Path) -> bool {
    let path = folder.as_os_str().as_bytes();
    path.len() + SOCKET_NAME_ROOM <= LONGEST_SOCKET_PATH && !path.contains(&b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_account() -> Account {
        Account::of_owner(&fs::metadata(std::env::temp_dir()).expect("metadata"))
    }

    fn deep(top: &Path) -> PathBuf {
        let folder = top.join("d".repeat(60)).join("e".repeat(60));
        fs::create_dir_all(&folder).expect("folders");
        folder
    }

    #[test]
    fn short_path_contains_its_socket() {
        let account = own_account();
        assert_eq!(socket_folder(Path::new("/srv/a"), &account), Path::new("/srv/a/socket"));
    }

    #[test]
    fn path_with_a_comma_has_its_socket_elsewhere() {
        let chosen = socket_folder(Path::new("/srv/a,b"), &own_account());
        assert!(fits(&chosen) && !chosen.starts_with("/srv"));
    }

    #[test]
    fn long_path_has_a_stable_socket_directory_elsewhere() {
        let (top, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (folder, account) = (deep(top.path()), own_account());
        let chosen = socket_folder(&folder, &account);
        assert!(fits(&chosen) && !chosen.starts_with(&folder));

        let recorded = elsewhere.path().join(chosen.file_name().expect("a name"));
        fs::write(folder.join(SOCKET_RECORD), recorded.as_os_str().as_bytes()).expect("a record");
        assert_eq!(socket_folder(&folder, &account), recorded);

        fs::write(folder.join(SOCKET_RECORD), "/tmp/tenantry-socket-of-another").expect("a record");
        assert_eq!(socket_folder(&folder, &account), chosen, "a copied record does not count");
    }

    #[test]
    fn socket_directory_of_another_user_is_refused() {
        let (top, planted) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (folder, account) = (deep(top.path()), own_account());
        let socket_folder = planted.path().join(socket_folder_name(&folder));
        fs::write(folder.join(SOCKET_RECORD), socket_folder.as_os_str().as_bytes()).expect("a record");

        fs::create_dir(&socket_folder).expect("a folder");
        fs::set_permissions(&socket_folder, fs::Permissions::from_mode(0o755)).expect("a mode");
        let refusal = prepare_socket_folder(&folder, &account).expect_err("others may read it");
        assert!(matches!(refusal, LocalError::ForeignFolder { .. }));

        fs::remove_dir(&socket_folder).expect("removed");
        std::os::unix::fs::symlink("/tmp", &socket_folder).expect("a link");
        prepare_socket_folder(&folder, &account).expect_err("a link leads elsewhere");
    }

    #[test]
    fn server_directory_writable_by_others_is_refused() {
        let top = tempfile::tempdir().expect("a folder");
        let (folder, account) = (top.path().join("a/b"), own_account());
        prepare_server_folder(&folder, &account).expect("made");
        prepare_server_folder(&folder, &account).expect("found again");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a mode");
        prepare_server_folder(&folder, &account).expect_err("open to all");
    }
}
