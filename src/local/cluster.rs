//! Creating and starting a server: the common part of persistent and temporary servers.
//!
//! The programs run with the data directory as working directory and get `.` as its path, because `pg_ctl` inserts
//! paths into a shell command without correct quoting.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::LastLines;
use super::postmaster::{self, Postmaster};
use super::{Account, Binaries, DATABASE, LocalError, SUPERUSER, folders, text};

/// How long a server may take to accept connections, including recovery after a crash, before the start fails.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long the remaining processes of a crashed server may take to end before a start fails because of them.
const REMAINS_PATIENCE: Duration = Duration::from_secs(10);

/// The next start truncates a log that is larger than this, in bytes.
const LONGEST_LOG: u64 = 16 << 20;

/// Whether the data must survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Written to disk.
    Kept,
    /// Not flushed, because the data is temporary.
    Fleeting,
}

/// The directories and the programs of a server.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) binaries: Binaries,
    pub(super) account: Account,
    /// Contains the directory `data` and the file `server.log`.
    pub(super) folder: PathBuf,
    /// The folder of the socket, which must exist when the server starts.
    pub(super) socket_folder: PathBuf,
    /// The process group of the programs, so that they can be ended together.
    pub(super) group: Option<i32>,
}

impl Cluster {
    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Initializes `data`, an empty directory of the account, as a new cluster with the database [`DATABASE`].
    ///
    /// It accepts every connection on its socket, and none over TCP.
    pub(super) fn create(&self, data: &Path, durability: Durability) -> Result<(), LocalError> {
        let mut initdb = self.tool("initdb", data);
        initdb.args(["-U", SUPERUSER, "-E", "UTF8", "--locale=C"]);
        initdb.args(["--auth-local=trust", "--auth-host=reject"]);
        // Single-user mode needs no psql, and creates the database in the same atomic step.
        let mut single = self.tool("postgres", data);
        single.arg("--single");
        single.args(["-j", "-c", "exit_on_error=on", "-c", "log_checkpoints=off"]);
        if durability == Durability::Fleeting {
            initdb.arg("--no-sync");
            single.arg("-F");
        }
        self.run(initdb.args(["-D", "."]), "")?;
        self.run(single.args(["-D", ".", "postgres"]), &format!("CREATE DATABASE {DATABASE};\n\n"))?;

        let conf = data.join("postgresql.conf");
        let standard = fs::read_to_string(&conf).map_err(LocalError::io("read", &conf))?;
        let with_ours = format!("{standard}\ninclude = 'tenantry.conf'\n");
        self.account.write(&conf, with_ours.as_bytes())
    }

    /// Writes the settings for the next start: those of this module, then `settings`, which take precedence.
    pub(super) fn configure(&self, port: u16, settings: &[(String, String)]) -> Result<(), LocalError> {
        let port = port.to_string();
        let socket_folder = text::list_element(&self.socket_folder);
        let ours = [
            ("listen_addresses", ""),
            ("port", port.as_str()),
            ("unix_socket_directories", socket_folder.as_str()),
            ("unix_socket_permissions", "0700"),
        ];
        let given = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let conf: String = ours.into_iter().chain(given).map(|(name, value)| text::setting_line(name, value)).collect();
        self.account.write(&self.data().join("tenantry.conf"), conf.as_bytes())
    }

    /// The server, if it is running.
    pub(super) fn postmaster(&self, port: u16) -> Result<Option<Postmaster>, LocalError> {
        Postmaster::of(&self.data(), &folders::socket_file(&self.socket_folder, port))
    }

    /// Starts the server, which must not be running, and waits until it accepts connections.
    pub(super) fn start(&self, port: u16) -> Result<(), LocalError> {
        let begun = Instant::now();
        let mut disarmed = false;
        loop {
            let error = match self.start_once() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.says("already exists") && !disarmed {
                // The socket of a server that another start has just begun, or of a dead one whose process id was
                // reused.
                if let Some(postmaster) = self.postmaster(port)? {
                    return postmaster.wait_until_ready(START_PATIENCE);
                }
                let socket = folders::socket_file(&self.socket_folder, port);
                postmaster::disarm_remains(&self.data(), &socket, &self.account)?;
                disarmed = true;
            } else if error.says("is still in use") && begun.elapsed() < REMAINS_PATIENCE {
                // Backends of a crashed server need a moment to end, and use the data until then.
                sleep(Duration::from_millis(100));
            } else {
                return Err(error);
            }
        }
    }

    fn start_once(&self) -> Result<(), LocalError> {
        let log = self.log();
        let said_before = match fs::metadata(&log) {
            Ok(metadata) if metadata.len() <= LONGEST_LOG => metadata.len(),
            // Created here, because the account may not create files in the directory of a persistent server.
            _ => {
                self.account.write(&log, b"")?;
                0
            }
        };
        let mut pg_ctl = self.tool("pg_ctl", &self.data());
        pg_ctl.args(["start", "--silent", "--wait", "-D", ".", "-l", "../server.log", "-t"]);
        pg_ctl.arg(START_PATIENCE.as_secs().to_string());
        self.run(&mut pg_ctl, "").map_err(|error| match error {
            LocalError::Failed { command, status, source } => LocalError::Failed {
                command,
                status,
                source: LastLines::of([source.as_str(), &read_from(&log, said_before)]),
            },
            other => other,
        })
    }

    fn tool(&self, name: &str, data: &Path) -> Command {
        let mut command = self.account.command(&self.binaries.program(name));
        command.current_dir(data);
        if let Some(group) = self.group {
            command.process_group(group);
        }
        command
    }

    fn run(&self, command: &mut Command, input: &str) -> Result<(), LocalError> {
        let output =
            output_of(command, input).map_err(|source| LocalError::Spawn { command: command_line(command), source })?;
        if output.status.success() {
            return Ok(());
        }
        let [said, complained] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Err(LocalError::Failed {
            command: command_line(command),
            status: output.status,
            source: LastLines::of([said.as_str(), complained.as_str()]),
        })
    }
}

fn output_of(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has exited reports the reason in its output, not by the broken pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// The command as it can be typed, for messages.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    match command.get_current_dir() {
        Some(folder) => format!("cd {} && {}", folder.display(), words.join(" ")),
        None => words.join(" "),
    }
}

/// The text of a file from a position on; empty if it cannot be read.
fn read_from(file: &Path, position: u64) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(file).and_then(|mut file| {
        file.seek(SeekFrom::Start(position))?;
        file.read_to_end(&mut bytes)
    });
    String::from_utf8_lossy(&bytes).into_owned()
}
