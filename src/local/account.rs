//! The user that a server runs as.

use std::fs::{self, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, chown, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;

use super::LocalError;

/// The user that runs a server and owns its data: the caller, or an unprivileged user if the caller is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
    name: Option<String>,
    /// Whether it is not the caller. Files are then handed over to it, and programs run under its id.
    stands_in: bool,
}

impl Account {
    /// The account for servers of the calling process: its own user, or for root `postgres`, else `nobody`.
    ///
    /// # Errors
    ///
    /// [`LocalError::NoAccount`] for root on a machine with neither user; [`LocalError::Io`] if `/etc/passwd`, which
    /// only root needs, cannot be read.
    pub fn for_servers() -> Result<Self, LocalError> {
        if !is_root() {
            return Ok(Self::caller());
        }
        let passwd = Path::new("/etc/passwd");
        let entries = fs::read_to_string(passwd).map_err(LocalError::io("read", passwd))?;
        ["postgres", "nobody"].iter().find_map(|name| entry(&entries, name)).ok_or(LocalError::NoAccount)
    }

    /// The user's name, or its id if the name is unknown.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("user `{name}`"),
            None => format!("user {}", self.uid),
        }
    }

    /// The account that owns an existing data directory, which an earlier start chose.
    pub(super) fn of_owner(folder: &Metadata) -> Self {
        if is_root() && folder.uid() != 0 {
            Self { uid: folder.uid(), gid: folder.gid(), name: None, stands_in: true }
        } else {
            Self::caller()
        }
    }

    /// Whether this is not the caller.
    pub(super) fn stands_in(&self) -> bool {
        self.stands_in
    }

    /// Whether the file or folder belongs to this account.
    pub(super) fn owns(&self, file: &Metadata) -> bool {
        file.uid() == self.uid
    }

    /// A command that runs as this account, in the root directory and with English messages.
    pub(super) fn command(&self, program: &Path) -> Command {
        // Only the variables that affect the server's settings are removed from the environment.
        const MEDDLING: [&str; 6] = ["PGDATA", "PGPORT", "PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PG_COLOR"];
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C");
        MEDDLING.iter().for_each(|name| {
            command.env_remove(name);
        });
        if self.stands_in {
            // std drops the supplementary groups as well when root sets a user id.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Creates a directory of mode 0700 that belongs to this account. The directory must not exist.
    pub(super) fn make_folder(&self, folder: &Path) -> Result<(), LocalError> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().mode(0o700).create(folder).map_err(LocalError::io("make", folder))?;
        self.adopt(folder)
    }

    /// Changes the owner of a directory to this account. The caller must have created it in a place where no other user
    /// can replace it.
    pub(super) fn adopt(&self, folder: &Path) -> Result<(), LocalError> {
        if self.stands_in {
            chown(folder, Some(self.uid), Some(self.gid)).map_err(LocalError::io("hand over", folder))?;
        }
        Ok(())
    }

    /// Writes a file of mode 0600 that belongs to this account, atomically.
    ///
    /// An existing entry of that name is replaced and not followed, so that a link in the account's directory cannot
    /// make root write elsewhere.
    pub(super) fn write(&self, file: &Path, content: &[u8]) -> Result<(), LocalError> {
        let failed = || LocalError::io("write", file);
        let folder = file.parent().unwrap_or(Path::new("/"));
        let mut draft = NamedTempFile::new_in(folder).map_err(failed())?;
        draft.write_all(content).map_err(failed())?;
        if self.stands_in {
            fchown(draft.as_file(), Some(self.uid), Some(self.gid)).map_err(failed())?;
        }
        draft.persist(file).map_err(|refusal| failed()(refusal.error))?;
        Ok(())
    }

    /// Checks that this account can enter `path`, whose last parts need not exist.
    ///
    /// # Errors
    ///
    /// [`LocalError::Unreachable`] with the outermost directory that the account cannot enter.
    pub(super) fn check_reach(&self, path: &Path) -> Result<(), LocalError> {
        match self.barrier(path) {
            None => Ok(()),
            Some(barrier) => Err(LocalError::Unreachable { account: self.label(), barrier, path: path.to_owned() }),
        }
    }

    /// The outermost existing directory of `path`, including itself, that this account cannot enter.
    ///
    /// `None` for the caller's own account, for which the system reports an error.
    fn barrier(&self, path: &Path) -> Option<PathBuf> {
        if !self.stands_in {
            return None;
        }
        let existing = path.ancestors().find_map(|folder| fs::canonicalize(folder).ok())?;
        let mut way: Vec<&Path> = existing.ancestors().collect();
        way.reverse();
        way.into_iter()
            .find(|folder| fs::metadata(folder).is_ok_and(|metadata| !self.may_enter(&metadata)))
            .map(Path::to_owned)
    }

    fn may_enter(&self, folder: &Metadata) -> bool {
        let execute = if folder.uid() == self.uid {
            0o100
        } else if folder.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        folder.mode() & execute != 0
    }

    fn caller() -> Self {
        Self { uid: caller_uid(), gid: rustix::process::getegid().as_raw(), name: None, stands_in: false }
    }
}

/// The effective user id of the calling process.
pub(super) fn caller_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn is_root() -> bool {
    caller_uid() == 0
}

/// The account named `name` in the text of `/etc/passwd`; an entry with root's id does not count.
fn entry(passwd: &str, name: &str) -> Option<Account> {
    // macOS writes the id of `nobody` as -2.
    let id = |field: &str| -> Option<u32> {
        let signed = || field.parse().ok().map(i32::cast_unsigned);
        field.parse().ok().or_else(signed)
    };
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
        (uid != 0).then(|| Account { uid, gid, name: Some(name.to_owned()), stands_in: true })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                          fake:x:0:0::/:/bin/sh\n\
                          # comment\n\
                          nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n\
                          postgresql:x:7:7::/:/bin/sh\n\
                          postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n\
                          broken:x:abc";

    #[test]
    fn passwd_entries_are_matched_by_full_name() {
        let ids = |name| entry(PASSWD, name).map(|account| (account.uid, account.gid));
        assert_eq!(ids("postgres"), Some((101, 104)));
        assert_eq!(ids("nobody"), Some((4_294_967_294, 4_294_967_294)));
        assert_eq!(ids("fake"), None, "root under another name is no plain user");
        assert_eq!(ids("broken"), None);
        assert_eq!(ids("absent"), None);
    }

    #[test]
    fn inaccessible_parent_directory_is_named() {
        let top = tempfile::tempdir().expect("a temporary folder");
        let closed = fs::canonicalize(top.path()).expect("a path").join("closed");
        fs::create_dir_all(closed.join("inner")).expect("folders");
        let set_mode =
            |folder: &Path, mode| fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("a mode");
        set_mode(top.path(), 0o755);
        set_mode(&closed.join("inner"), 0o755);
        let stranger = Account { uid: 4711, gid: 4711, name: Some("stranger".to_owned()), stands_in: true };

        set_mode(&closed, 0o711);
        assert_eq!(stranger.barrier(&closed.join("inner/not/yet")), None);
        set_mode(&closed, 0o710);
        assert_eq!(stranger.barrier(&closed.join("inner/not/yet")), Some(closed.clone()));
        assert_eq!(Account::caller().barrier(&closed), None);
    }
}
