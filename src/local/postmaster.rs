//! The running server process of a data folder.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Account, LocalError};

/// How long a server may take to stop, including its last checkpoint, before that is a failure.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// The interval of checks on a starting or stopping server.
const POLL: Duration = Duration::from_millis(10);

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Sessions are terminated, and all data is written: the next start needs no recovery.
    Fast,
    /// The server stops as in a crash, and the next start recovers.
    Immediate,
}

/// A server process that listens on its socket.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: Pid,
    pid_file: PathBuf,
}

impl Postmaster {
    /// The server of the data directory, if one is running and listens on `socket`.
    ///
    /// The process id in `postmaster.pid` is not sufficient: after a crash, or in a restarted container, it may belong
    /// to another program. An answering socket is, because no other user can create one in its private directory.
    pub(super) fn of(data: &Path, socket: &Path) -> Result<Option<Self>, LocalError> {
        let pid_file = data.join("postmaster.pid");
        let Some(pid) = read(&pid_file)?.as_deref().and_then(parse_pid) else {
            return Ok(None);
        };
        match UnixStream::connect(socket) {
            Ok(_) => Ok(Some(Self { pid, pid_file })),
            Err(error) if is_silence(&error) => Ok(None),
            Err(error) => Err(LocalError::io("connect to", socket)(error)),
        }
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the server accepts connections: a server that another process has just started may still be
    /// recovering.
    pub(super) fn wait_until_ready(&self, patience: Duration) -> Result<(), LocalError> {
        let begun = Instant::now();
        while !read(&self.pid_file)?.is_some_and(|text| is_ready(&text)) {
            if begun.elapsed() > patience {
                return Err(LocalError::StartTimeout { pid: self.pid(), waited: patience });
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Stops the server and waits until its process has ended.
    pub(super) fn stop(&self, ending: Ending) -> Result<(), LocalError> {
        let signal = match ending {
            Ending::Fast => Signal::INT,
            Ending::Immediate => Signal::QUIT,
        };
        match kill_process(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => {
                return Err(LocalError::io("stop the server of", &self.pid_file)(errno.into()));
            }
        }
        let begun = Instant::now();
        // The server removes the file last; the process is checked as well, in case it was killed.
        while self.pid_file.exists() && test_kill_process(self.pid) != Err(Errno::SRCH) {
            if begun.elapsed() > STOP_PATIENCE {
                return Err(LocalError::StopTimeout { pid: self.pid(), waited: STOP_PATIENCE });
            }
            sleep(POLL);
        }
        Ok(())
    }
}

/// Makes the files of a dead server harmless for the next start. Must be called only if nothing listens on `socket`.
///
/// PostgreSQL refuses to start if the process id in `postmaster.pid` is in use, even by another program. The file is
/// kept, because it also names the shared memory by which PostgreSQL detects remaining backends: only the id is
/// replaced, by one that no process has.
pub(super) fn disarm_remains(data: &Path, socket: &Path, account: &Account) -> Result<(), LocalError> {
    const NO_PROCESS: i32 = i32::MAX;
    let pid_file = data.join("postmaster.pid");
    if let Some((_, rest)) = read(&pid_file)?.as_deref().and_then(|text| text.split_once('\n')) {
        account.write(&pid_file, format!("{NO_PROCESS}\n{rest}").as_bytes())?;
    }
    // PostgreSQL checks the process id in the socket's lock file as well.
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    match fs::remove_file(&lock) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(LocalError::io("remove", Path::new(&lock))(error)),
        _ => Ok(()),
    }
}

/// The text of the file, or `None` if it does not exist.
fn read(file: &Path) -> Result<Option<String>, LocalError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LocalError::io("read", file)(error)),
    }
}

/// Whether the last line of the file reports that the server accepts connections.
fn is_ready(pid_file: &str) -> bool {
    pid_file.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

fn parse_pid(pid_file: &str) -> Option<Pid> {
    let number: i32 = pid_file.lines().next()?.trim().parse().ok()?;
    // A negative id is that of a single-user session.
    (number > 0).then(|| Pid::from_raw(number)).flatten()
}

/// Whether the error shows that no process is listening.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_server_counts_as_running() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (data, socket) = (folder.path(), folder.path().join(".s.PGSQL.5432"));
        let running = || Postmaster::of(data, &socket).expect("an answer");
        assert!(running().is_none(), "there is no file");

        let own_pid = std::process::id();
        fs::write(data.join("postmaster.pid"), format!("{own_pid}\n{}\n", data.display())).expect("a file");
        assert!(running().is_none(), "the process lives, but nothing listens");

        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        assert_eq!(running().map(|found| found.pid()), Some(own_pid));
        drop(listener);
        assert!(running().is_none(), "the socket is left over");
    }

    #[test]
    fn eighth_line_of_the_pid_file_shows_readiness() {
        let file = |state| format!("1\n/data\n1700000000\n5432\n/socket\n\n  123 4\n{state}\n");
        assert!(is_ready(&file("ready   ")));
        assert!(!is_ready(&file("starting")));
        assert!(!is_ready("1\n/data\n"));
    }

    #[test]
    fn stale_pid_file_keeps_all_but_the_process_id() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (pid_file, socket) = (folder.path().join("postmaster.pid"), folder.path().join("socket"));
        let account = Account::of_owner(&fs::metadata(folder.path()).expect("metadata"));
        disarm_remains(folder.path(), &socket, &account).expect("nothing to do");

        fs::write(&pid_file, "1\n/data\n1700000000\n5432\n").expect("a file");
        fs::write(folder.path().join("socket.lock"), "1\n").expect("a file");
        disarm_remains(folder.path(), &socket, &account).expect("done");
        let left = fs::read_to_string(&pid_file).expect("the file");
        assert_eq!(left, "2147483647\n/data\n1700000000\n5432\n");
        assert!(!folder.path().join("socket.lock").exists());
    }
}
