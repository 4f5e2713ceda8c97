//! The directories of a server and of its socket.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::{Account, caller_uid};
use super::{LocalError, text};

/// The maximum length of a Unix socket's path in bytes, on Linux; PostgreSQL refuses longer ones.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The maximum length of a socket's file name, including the slash.
const SOCKET_NAME_ROOM: usize = "/.s.PGSQL.65535".len();

/// A file in a server's directory that contains the path of its socket directory, if that is elsewhere.
const SOCKET_RECORD: &str = "socket-folder";

/// The directory of a project's server: `<project>/.tenantry/server`.
///
/// If root runs the command, the user that runs the server may be unable to enter that directory, for example below
/// `/root`. Then it is a directory below the temporary one, with a name that is stable for the project; the system may
/// delete it, with the data.
#[must_use]
pub fn default_folder(project: &Path) -> PathBuf {
    let project = std::path::absolute(project).unwrap_or_else(|_| project.to_owned());
    let inside = project.join(".tenantry").join("server");
    match Account::for_servers() {
        Ok(account) if account.check_reach(&inside).is_err() => {
            temporary_folder(&account).join(format!("tenantry-{}", text::stable_name(&project)))
        }
        // Without an account, the start fails with a better message.
        _ => inside,
    }
}

/// The directory for temporary files: the system's, or `/tmp` if the account cannot enter that one or a socket cannot
/// be in it.
pub(super) fn temporary_folder(account: &Account) -> PathBuf {
    let system = std::env::temp_dir();
    let serves = |folder: &Path| {
        folder.is_absolute() && account.check_reach(folder).is_ok() && fits(&folder.join(socket_folder_name(folder)))
    };
    if serves(&system) { system } else { PathBuf::from("/tmp") }
}

/// Creates the directory of a persistent server, or checks that the existing one may be used.
///
/// The directory belongs to the caller, not to the server's account: other users of that account, such as `nobody`,
/// cannot redirect what root does in it.
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

/// The socket directory of the server in `folder`, existing or not: `socket` in it, or a short path in the directory
/// for temporary files if that is unsuitable.
pub(super) fn socket_folder(folder: &Path, account: &Account) -> PathBuf {
    let inside = folder.join("socket");
    if fits(&inside) {
        return inside;
    }
    // The first start recorded the path, because TMPDIR may differ between shells. A record copied from another
    // server's directory contains another name and is ignored.
    let name = socket_folder_name(folder);
    fs::read_to_string(folder.join(SOCKET_RECORD))
        .map(PathBuf::from)
        .ok()
        .filter(|recorded| recorded.ends_with(&name))
        .unwrap_or_else(|| temporary_folder(account).join(name))
}

/// Creates the socket directory, or checks that the existing one belongs to the account alone.
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

/// Creates the missing parent directories. Another account that needs to pass gets access, regardless of the umask.
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

/// Whether a socket in the directory can be used: its path is short enough, and contains no comma, at which libpq
/// splits a list of hosts.
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
