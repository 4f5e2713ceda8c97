//! A temporary directory that is removed together with its server when its owner ends.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::{Account, LocalError, folders};

/// The script of the watchdog, with the directory as its argument.
///
/// It waits for the end of its input, whose other end only the owner holds: the kernel closes it however the owner
/// ends. Then it ends the programs of its own process group (a running initdb) and the server as in a crash (by force
/// after 3 s), and removes the directory, repeatedly if a program is still writing to it.
///
/// A killed server may remain as a zombie in a container whose first process reaps none: it counts as ended.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r line; do :; done
kill -s TERM 0
signal=QUIT tries=0
while [ "$tries" -lt 40 ] && read -r pid <"$1/data/postmaster.pid" &&
    ! grep -qs '^State:.*zombie' "/proc/$pid/status" && kill -s "$signal" "$pid"; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || signal=KILL
    sleep 0.1
done
tries=0
until rm -rf "$1" || [ "$tries" -ge 20 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
"#;

/// A directory of mode 0700 of an account, with the watchdog that removes it on drop or when this process ends.
#[derive(Debug)]
pub(super) struct WatchedFolder {
    path: PathBuf,
    watchdog: Child,
}

impl WatchedFolder {
    /// Creates the directory in the one for temporary files.
    pub(super) fn new(account: &Account) -> Result<Self, LocalError> {
        let parent = folders::temporary_folder(account);
        let folder = tempfile::Builder::new()
            .prefix("tenantry-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(LocalError::io("make a folder in", &parent))?;
        account.adopt(folder.path())?;
        let watchdog = account
            .command(Path::new("/bin/sh"))
            .args(["-c", SCRIPT, "tenantry-watchdog"])
            .arg(folder.path())
            .env("PATH", "/usr/bin:/bin:/run/current-system/sw/bin")
            // Its own process group: Ctrl-C in the owner's terminal does not reach it.
            .process_group(0)
            // Not the owner's output, whose reader would wait for the watchdog.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| LocalError::Spawn { command: "/bin/sh".to_owned(), source })?;
        Ok(Self { path: folder.keep(), watchdog })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The process group that the watchdog ends before it removes the directory.
    pub(super) fn group(&self) -> i32 {
        self.watchdog.id().cast_signed()
    }
}

impl Drop for WatchedFolder {
    fn drop(&mut self) {
        // Waiting closes the watchdog's input first, which triggers it. A failure of the watchdog cannot be handled
        // here.
        let _ = self.watchdog.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_removed_when_its_owner_exits() {
        let account = Account::for_servers().expect("an account");
        let folder = WatchedFolder::new(&account).expect("a folder");
        let path = folder.path().to_owned();
        let mode = std::fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "no one else may reach the socket");
        std::fs::create_dir(path.join("data")).expect("a folder in it");
        drop(folder);
        assert!(!path.exists());
    }
}
